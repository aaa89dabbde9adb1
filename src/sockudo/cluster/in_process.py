"""A cluster inside one process: what one node alone runs on, and how tests join several nodes.

Items are passed on as they are, at the end of the turn of the loop in which they were published. A node that is alone
publishes, asks and owns without anything being made, scheduled or waited for (spec: platform § 10).
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any

import structlog

from sockudo.cluster.items import Item, Request
from sockudo.cluster.ports import Answers, Node, NodeChange, Received, Receiver

__all__ = ["InProcessBus", "InProcessMembership", "Network", "join_network", "ranked_owners"]

Schedule = Callable[[Callable[[], None]], object]

_log = structlog.get_logger("sockudo.cluster")


def ranked_owners(key: str, nodes: Sequence[Node]) -> list[Node]:
    """The nodes in the order in which they take a key, by rendezvous hashing: the first owns it, the second follows.

    Every node that sees the same nodes computes the same order, without asking; when a node comes or goes only the keys
    that it gains or loses move.
    """
    text = key.encode()
    return sorted(nodes, key=lambda node: blake2b(text, key=node.id.encode(), digest_size=16).digest(), reverse=True)


class Network:
    """The nodes that are joined in this process, and who subscribed to what."""

    def __init__(self) -> None:
        self.members: dict[str, tuple[InProcessBus, InProcessMembership]] = {}
        self.subscribers: defaultdict[str, dict[str, InProcessBus]] = defaultdict(dict)
        self.asking: set[_Asking] = set()
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
        self.members[membership.me.id] = (bus, membership)
        self._changed(NodeChange(membership.me, "up"))

    def _changed(self, change: NodeChange) -> None:
        alone = len(self.members) == 1
        for bus, membership in tuple(self.members.values()):
            bus.alone = alone
            if membership.me.id != change.node.id:
                membership.tell(change)


def join_network(
    schedule: Schedule, network: Network | None = None, name: str = ""
) -> tuple[InProcessBus, InProcessMembership]:
    """A new node with its two ports, on a network of its own unless one is given.

    ``schedule`` runs a callback at the end of this turn of the loop.
    """
    network = Network() if network is None else network
    me = Node(secrets.token_hex(16), 1, name)
    bus, membership = InProcessBus(me, network, schedule), InProcessMembership(me, network)
    network.add(bus, membership)
    return bus, membership


class InProcessMembership:
    """`Membership` of a node in a network of one process: nodes come by joining and go by leaving, never by silence."""

    def __init__(self, me: Node, network: Network) -> None:
        self.me = me
        self._network = network
        self._observers: list[Callable[[NodeChange], None]] = []

    def live(self) -> Sequence[Node]:
        return self._network.live()

    def is_alive(self, node_id: str) -> bool:
        return node_id in self._network.members

    def owner(self, key: str) -> Node:
        if len(self._network.members) <= 1:
            return self.me
        return ranked_owners(key, self._network.live())[0]

    def fenced(self) -> bool:
        return self.me.id not in self._network.members

    def watch(self, observer: Callable[[NodeChange], None]) -> None:
        self._observers.append(observer)

    def leave(self) -> None:
        """Ends this node's part in the network."""
        self._network.leave(self.me)

    def tell(self, change: NodeChange) -> None:
        """Calls the observers."""
        for observer in tuple(self._observers):
            observer(change)


class InProcessBus:
    """`Bus` of a node in a network of one process. Nothing is lost, and every subscription is confirmed at once."""

    def __init__(self, me: Node, network: Network, schedule: Schedule) -> None:
        self.alone = True
        self.topics: set[str] = set()
        self._me = me
        self._network = network
        self._schedule = schedule
        self._receiver: Receiver | None = None
        self._sent: Counter[str] = Counter()
        self._inbox: deque[Received] = deque()

    def attach(self, receiver: Receiver) -> None:
        self._receiver = receiver

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
        asking = _Asking(asked, self._network.answering)
        for node_id in asked:
            asking.take(node_id, members[node_id][0].answer(request))
        if asking.left:
            self._network.asking.add(asking)
            try:
                await asking.wait(deadline)
            finally:
                self._network.asking.discard(asking)
        return Answers(asking.values, not asking.failed)

    def answer(self, request: Request) -> Awaitable[Any] | Any:
        """What this node answers; None before something is attached."""
        return None if self._receiver is None else self._receiver.answer(request)


class _Asking:
    """One request that is being answered: which nodes are still waited for, and the answers of the others."""

    def __init__(self, nodes: Sequence[str], answering: set[asyncio.Future[Any]]) -> None:
        self.left = set(nodes)
        self.values: dict[str, Any] = {}
        self.failed = False
        self._answering = answering
        self._done = asyncio.Event()

    def take(self, node_id: str, answer: Awaitable[Any] | Any) -> None:
        if not inspect.isawaitable(answer):
            self.values[node_id] = answer
            self.left.discard(node_id)
            return
        task = asyncio.ensure_future(answer)
        self._answering.add(task)
        task.add_done_callback(lambda done: self._answered(node_id, done))

    def forget(self, node_id: str) -> None:
        """The node went: its answer is not waited for."""
        self.left.discard(node_id)
        if not self.left:
            self._done.set()

    async def wait(self, deadline: float) -> None:
        try:
            await asyncio.wait_for(self._done.wait(), deadline)
        except TimeoutError:
            _log.warning("nodes did not answer in time", nodes=sorted(self.left), deadline=deadline)
            self.failed = True
            self.left.clear()

    def _answered(self, node_id: str, task: asyncio.Future[Any]) -> None:
        self._answering.discard(task)
        if node_id not in self.left:
            # Too late, or of a node that went: its failure is dropped.
            if not task.cancelled():
                task.exception()
            return
        self.left.discard(node_id)
        if task.cancelled() or (problem := task.exception()) is not None:
            self.failed = True
            _log.error("a node could not answer", node=node_id, exc_info=None if task.cancelled() else problem)
        else:
            self.values[node_id] = task.result()
        if not self.left:
            self._done.set()
