"""A cluster inside one process: what one node alone runs on, and how tests join several nodes.

Items are passed on as they are, at the end of the turn of the loop in which they were published. A node that is alone
publishes, asks and owns without anything being made, scheduled or waited for (spec: platform § 10).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sockudo.cluster.asking import Asking
from sockudo.cluster.items import Item, Request
from sockudo.cluster.owners import ranked_owners
from sockudo.cluster.ports import Answers, Node, NodeChange, Received, Receiver

__all__ = ["InProcessBus", "InProcessMembership", "Network", "join_network"]

Schedule = Callable[[Callable[[], None]], object]


class Network:
    """The nodes that are joined in this process, and who subscribed to what."""

    def __init__(self) -> None:
        self.members: dict[str, tuple[InProcessBus, InProcessMembership]] = {}
        self.subscribers: defaultdict[str, dict[str, InProcessBus]] = defaultdict(dict)
        self.asking: set[Asking] = set()
        # Answers under way, which go on when their question has ended: an order is carried out all the same.
        self.answering: set[asyncio.Future[Any]] = set()

    def live(self) -> list[Node]:
        """The joined nodes, ordered by id."""
        return sorted(membership.me for _, membership in self.members.values())

    def leave(self, node: Node) -> None:
        """Takes a node out: it hears nothing more, and the others learn that it went. One that left is ignored."""
        gone = self.members.pop(node.id, None)
        if gone is None:
            return
        bus, _ = gone
        for topic in tuple(bus.topics):
            bus.unsubscribe(topic)
        bus.alone = True
        self._changed(NodeChange(node, "down"))
        for asking in tuple(self.asking):
            asking.forget(node.id)

    def add(self, bus: InProcessBus, membership: InProcessMembership) -> None:
        """Lets a node take part from now on."""
        others = [other.me for _, other in self.members.values()]
        self.members[membership.me.id] = (bus, membership)
        self._changed(NodeChange(membership.me, "up"))
        for other in others:
            membership.tell(NodeChange(other, "up"))

    def _changed(self, change: NodeChange) -> None:
        alone = len(self.members) == 1
        for bus, membership in tuple(self.members.values()):
            bus.alone = alone
            if membership.me.id != change.node.id:
                membership.tell(change)


def join_network(
    schedule: Schedule, network: Network | None = None, name: str = "", *, opened: bool = True
) -> tuple[InProcessBus, InProcessMembership]:
    """A new node with its two ports, on a network of its own unless one is given.

    ``schedule`` runs a callback at the end of this turn of the loop. Unless it is ``opened`` at once the node
    takes part from `InProcessBus.open` on.
    """
    network = Network() if network is None else network
    me = Node(secrets.token_hex(16), 1, name)
    membership = InProcessMembership(me, network)
    bus = InProcessBus(membership, network, schedule)
    if opened:
        network.add(bus, membership)
    return bus, membership


class InProcessMembership:
    """`Membership` of a node in a network of one process: nodes come by joining and go by leaving, never by silence."""

    def __init__(self, me: Node, network: Network) -> None:
        self.me = me
        self.draining = False
        self.round_trip = 0.0
        self.deaf = False
        self.connections: Callable[[], Mapping[str, int]] = dict
        self._network = network
        self._observers: list[Callable[[NodeChange], None]] = []
        self._drain_observers: list[Callable[[], None]] = []

    def live(self) -> Sequence[Node]:
        return self._network.live()

    def is_alive(self, node_id: str) -> bool:
        return node_id in self._network.members

    def hears(self, node_id: str) -> bool:
        return self.is_alive(node_id)

    def owner(self, key: str) -> Node:
        if len(self._network.members) <= 1:
            return self.me
        return self.ranked(key)[0]

    def ranked(self, key: str) -> Sequence[Node]:
        nodes = [membership.me for _, membership in self._network.members.values() if not membership.draining]
        return ranked_owners(key, nodes or self._network.live() or [self.me])

    def elsewhere(self, app_id: str) -> int:
        others = (membership for _, membership in self._network.members.values() if membership is not self)
        return sum(membership.connections().get(app_id, 0) for membership in others)

    def hurry(self) -> None:
        """The others look for themselves."""

    def fenced(self) -> bool:
        return self.me.id not in self._network.members

    def beat_age(self, node_id: str) -> float:
        return 0.0

    def unheard(self) -> float:
        return 0.0

    def drain(self) -> None:
        self.draining = True
        for _, membership in tuple(self._network.members.values()):
            membership.drained()

    def watch(self, observer: Callable[[NodeChange], None]) -> None:
        self._observers.append(observer)

    def watch_drains(self, observer: Callable[[], None]) -> None:
        self._drain_observers.append(observer)

    def drained(self) -> None:
        """Calls the observers of drains."""
        for observer in tuple(self._drain_observers):
            observer()

    def leave(self) -> None:
        """Ends this node's part in the network."""
        self._network.leave(self.me)

    def tell(self, change: NodeChange) -> None:
        """Calls the observers."""
        for observer in tuple(self._observers):
            observer(change)


class InProcessBus:
    """`Bus` of a node in a network of one process. Nothing is lost, and every subscription is confirmed at once."""

    def __init__(self, membership: InProcessMembership, network: Network, schedule: Schedule) -> None:
        self.alone = True
        self.networked = False
        self.topics: set[str] = set()
        self._me = membership.me
        self._membership = membership
        self._network = network
        self._schedule = schedule
        self._receiver: Receiver | None = None
        self._sent: Counter[str] = Counter()
        self._inbox: deque[Received] = deque()

    def attach(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def open(self) -> None:
        if self._me.id not in self._network.members:
            self._network.add(self, self._membership)

    async def close(self) -> None:
        self._network.leave(self._me)

    # ---- items ----

    def publish(self, topic: str, item: Item) -> None:
        if self.alone or self._me.id not in self._network.members:
            return
        self._sent[topic] += 1
        received = Received(self._me, topic, self._sent[topic], item)
        for node_id, bus in self._network.subscribers.get(topic, {}).items():
            if node_id != self._me.id:
                bus.put(received)

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        self.topics.add(topic)
        self._network.subscribers[topic][self._me.id] = self
        return None

    def unsubscribe(self, topic: str) -> None:
        self.topics.discard(topic)
        nodes = self._network.subscribers.get(topic)
        if nodes is not None:
            nodes.pop(self._me.id, None)
            if not nodes:
                del self._network.subscribers[topic]

    def interested(self, topic: str) -> bool:
        if self.alone:
            return False
        nodes = self._network.subscribers.get(topic)
        return nodes is not None and (len(nodes) > 1 or self._me.id not in nodes)

    def put(self, received: Received) -> None:
        """Takes an item that another node published; it is handed over at the end of this turn."""
        if not self._inbox:
            self._schedule(self._hand_over)
        self._inbox.append(received)

    def _hand_over(self) -> None:
        # What is published meanwhile belongs to the next turn.
        for _ in range(len(self._inbox)):
            received = self._inbox.popleft()
            if self._receiver is not None and received.topic in self.topics:
                self._receiver.receive(received)
        if self._inbox:
            self._schedule(self._hand_over)

    # ---- requests ----

    async def ask(self, request: Request, *, deadline: float, nodes: Sequence[str] | None = None) -> Answers:
        members = self._network.members
        asked = [node_id for node_id in (members if nodes is None else nodes) if node_id in members]
        asking = Asking(asked, self._network.answering)
        for node_id in asked:
            asking.take(node_id, members[node_id][0].answer(request))
        self._network.asking.add(asking)
        try:
            await asking.wait(deadline)
        finally:
            self._network.asking.discard(asking)
        return Answers(asking.values, not asking.failed)

    def answer(self, request: Request) -> Awaitable[Any] | Any:
        """What this node answers; None before something is attached."""
        return None if self._receiver is None else self._receiver.answer(request)
