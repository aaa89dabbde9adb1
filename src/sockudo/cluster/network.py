"""A node among others on a carrier: its bus and its membership (spec: platform § 10.7).

What is published in one turn of the loop on one topic leaves in one envelope at the end of it. Interest in a topic ends
some seconds after its last reason, so that coming back costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from time import monotonic
from typing import Final, NamedTuple

import structlog

from sockudo import errors
from sockudo.cluster.carrier import Carrier
from sockudo.cluster.items import ALL, Item, Request, node_topic
from sockudo.cluster.members import NetworkMembership, Timing
from sockudo.cluster.ports import Answers, Node, NodeChange, Received, Receiver
from sockudo.cluster.quiet import QuietTopics
from sockudo.cluster.requests import RequestCounts, Requests
from sockudo.cluster.wire import (
    OLDEST_VERSION,
    VERSION,
    Answer,
    Ask,
    Beat,
    Bye,
    Dead,
    ItemReader,
    Opened,
    Ping,
    Quiet,
    encode,
    envelopes,
)

__all__ = ["NetworkBus", "join_carrier"]

# Seconds that a topic without a reason is still subscribed to, and how many of these there may be.
_IDLE: Final = 5.0
_MOST_IDLE: Final = 20_000
# Topics whose numbers are remembered; a topic that was forgotten goes on behind all of those.
_MOST_NUMBERED: Final = 100_000
# Seconds that the start waits to hear itself, and then, at least and at most, for the nodes that are there already.
_HEARD_WITHIN: Final = 5.0
_DISCOVERY: Final = (0.1, 1.0)

_log = structlog.get_logger("sockudo.cluster")


class _Place(NamedTuple):
    """How far items of a sender have come on a topic."""

    incarnation: int
    number: int


class Counts:
    """What a node's bus has carried since the start, for metrics."""

    __slots__ = ("fenced", "gaps", "received", "reconnects", "repeated", "sent")

    def __init__(self) -> None:
        self.sent = self.received = self.gaps = self.repeated = self.fenced = self.reconnects = 0


class NetworkBus:
    """`Bus` of a node on a carrier, and what the carrier tells its observer."""

    def __init__(
        self, carrier: Carrier, me: Node, timing: Timing, clock: Callable[[], float], *, guest: bool = False
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.carrier = carrier
        self.alone = True
        self.networked = True
        # In the order of their subscription: what is done for all of them is done in one order everywhere.
        self.topics: dict[str, None] = {}
        self.counts = Counts()
        self.membership = NetworkMembership(me, timing, clock, self._send, self._resync, carrier.reconnect, guest=guest)
        self.membership.watch(self._nodes_changed)
        self._receiver: Receiver | None = None
        self._reader = ItemReader(())
        # Items of this turn by topic, those of the nodes themselves apart.
        self._outbox: dict[str, list[bytes]] = {}
        self._system: dict[str, list[bytes]] = {}
        self._flushing = False
        self._latest: tuple[Item | None, bytes] = (None, b"")
        self._sent: OrderedDict[str, int] = OrderedDict()
        self._floor = 0
        # Topics that are subscribed to, and how far each sender has come there; two of them since the node opened.
        self._places: dict[str, dict[str, _Place]] = {topic: {} for topic in (ALL, node_topic(me.id))}
        self.quiet = QuietTopics(self.membership, self._send, self._places.__contains__, self._gap, clock, guest=guest)
        self._wanted = carrier.interested or self.quiet.wanted
        self._confirming: dict[str, asyncio.Future[None]] = {}
        self._idle: OrderedDict[str, float] = OrderedDict()
        self._requests = Requests(self.membership, self._put)
        self._timer: asyncio.TimerHandle | None = None
        self._up = asyncio.Event()

    @property
    def unreadable(self) -> int:
        """Envelopes and items that were not understood, since the start: of another version, or no node's."""
        return self._reader.unreadable

    @property
    def request_counts(self) -> Mapping[str, RequestCounts]:
        """What was asked of other nodes, and by them, by app."""
        return self._requests.counts

    # ---- life ----

    def attach(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._reader = ItemReader(receiver.items)
        self._requests.attach(receiver)

    async def open(self) -> None:
        """Connects the node and finds the others; from then on it counts as one of them.

        Raises ``errors.SockudoError`` when the carrier cannot be used or carries nothing back, and when there are nodes
        that this one cannot understand, or that cannot understand it.
        """
        await self.carrier.open(self)
        await asyncio.gather(*map(self.carrier.subscribe, tuple(self._places)))
        self.membership.begin()
        self._tick()
        try:
            async with asyncio.timeout(_HEARD_WITHIN):
                while not self.membership.heard_itself:
                    self._up.clear()
                    await self._up.wait()
        except TimeoutError:
            await self.close()
            raise errors.SERVICE_UNAVAILABLE(
                f"{self.carrier.name} takes what this node publishes, but nothing of it comes back"
            ) from None
        least, most = _DISCOVERY
        # They answer the first beat at once: that is one way there and one back.
        await asyncio.sleep(min(max(least, 3 * self.membership.round_trip), most))
        with contextlib.suppress(TimeoutError):
            # One that died lately is missing for longer: those that live have shown it within a beat.
            async with asyncio.timeout(self.membership.timing.beat):
                while self.membership.misses_nodes:
                    self._up.clear()
                    await self._up.wait()
        strangers = self.membership.strangers()
        if strangers:
            await self.close()
            names = ", ".join(f"{peer.node.name} ({'–'.join(map(str, peer.beat.versions))})" for peer in strangers)
            raise errors.SERVICE_UNAVAILABLE(
                f"This node speaks the versions {OLDEST_VERSION}–{VERSION} of the protocol between nodes, which do not "
                f"fit those of {names}. Go over a version in between, or stop the others first"
            )
        self.membership.join()

    async def close(self) -> None:
        """Says goodbye, ends what is under way, and disconnects."""
        self.membership.leave()
        self._flush()
        self.alone = True
        if self._timer is not None:
            self._timer.cancel()
        self._requests.close()
        for confirming in self._confirming.values():
            confirming.cancel()
        await self.carrier.close()

    def leave(self) -> None:
        """Ends this node's part at once: the others hear so, it hears nothing more."""
        self.membership.leave()
        self._flush()
        self.topics.clear()

    def _tick(self) -> None:
        self.membership.tick()
        self.quiet.tick()
        self._end_idle()
        self._timer = self._loop.call_later(self.membership.timing.beat / 4, self._tick)

    # ---- items out ----

    def publish(self, topic: str, item: Item) -> None:
        if self.alone:
            return
        latest, encoded = self._latest
        if item is not latest:
            encoded = encode(item)
            self._latest = (item, encoded)
        self._outbox.setdefault(topic, []).append(encoded)
        self._schedule()

    def _put(self, topic: str, item: Item) -> None:
        self._outbox.setdefault(topic, []).append(encode(item))
        self._schedule()

    def _send(self, topic: str, item: Item) -> None:
        self._system.setdefault(topic, []).append(encode(item))
        self._schedule()

    def _schedule(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._latest = (None, b"")
        outbox, self._outbox = self._outbox, {}
        system, self._system = self._system, {}
        self._send_all(system)
        if outbox and self.membership.fenced():
            # Others may hold this node dead: what it made meanwhile shows as a jump.
            for topic, items in outbox.items():
                self._number(topic, len(items))
                self.counts.fenced += len(items)
            return
        self._send_all(outbox)

    def _send_all(self, outbox: Mapping[str, Sequence[bytes]]) -> None:
        me = self.membership.me
        node, publish = bytes.fromhex(me.id), self.carrier.publish
        for topic, items in outbox.items():
            first = self._number(topic, len(items))
            for payload in envelopes(node, me.incarnation, first, items):
                publish(topic, payload)
            self.counts.sent += len(items)

    def _number(self, topic: str, count: int) -> int:
        """The number of the first of ``count`` items on the topic."""
        sent = self._sent.pop(topic, self._floor)
        self._sent[topic] = sent + count
        if len(self._sent) > _MOST_NUMBERED:
            _, forgotten = self._sent.popitem(last=False)
            self._floor = max(self._floor, forgotten)
        return sent + 1

    # ---- interest ----

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        self.topics[topic] = None
        self._idle.pop(topic, None)
        if topic in self._places:
            return self._confirming.get(topic)
        self._places[topic] = {}
        waits = self.quiet.confirm(topic, self.carrier.subscribe(topic))
        confirming = self._confirming[topic] = asyncio.ensure_future(waits)
        confirming.add_done_callback(lambda done: self._confirmed(topic, done))
        return confirming

    def _confirmed(self, topic: str, done: asyncio.Future[None]) -> None:
        if self._confirming.get(topic) is done:
            del self._confirming[topic]

    def unsubscribe(self, topic: str) -> None:
        if topic not in self.topics:
            return
        self.topics.pop(topic, None)
        if topic == ALL:
            return
        self._idle[topic] = self._loop.time() + _IDLE
        if len(self._idle) > _MOST_IDLE:
            self._drop(self._idle.popitem(last=False)[0])

    def _end_idle(self) -> None:
        now = self._loop.time()
        while self._idle:
            topic, until = next(iter(self._idle.items()))
            if until > now:
                return
            del self._idle[topic]
            self._drop(topic)

    def _drop(self, topic: str) -> None:
        self._places.pop(topic, None)
        confirming = self._confirming.pop(topic, None)
        if confirming is not None:
            confirming.cancel()
        self.carrier.unsubscribe(topic)

    def interested(self, topic: str) -> bool:
        return not self.alone and self._wanted(topic)

    # ---- what the carrier tells ----

    def connected(self) -> None:
        if self.membership.heard_itself:
            # Not at the start: nothing is known then that could be old.
            self._resync()

    def disconnected(self, reason: str) -> None:
        self.counts.reconnects += 1
        _log.warning("the connection to other nodes is lost", carrier=self.carrier.name, reason=reason)

    def lost(self, topics: Sequence[str] | None) -> None:
        self._gap(self.topics if topics is None else topics)

    def gone(self, topics: Collection[str]) -> None:
        for peer in self.membership.peers():
            # Nothing else subscribes to the topic of a node.
            if node_topic(peer.node.id) in topics:
                self.membership.take_end(peer)

    def arrived(self, topic: str, payload: bytes) -> None:
        opened = self._reader.open(payload)
        if opened is None:
            return
        members = self.membership
        if opened.node_id == members.me.id:
            self._arrived_back(opened.items)
            return
        if opened.foreign or members.is_stranger(opened.node_id):
            self._arrived_from_stranger(opened)
            return
        if not members.accepts(opened.node_id, opened.incarnation):
            # After a split each half holds the other one dead: it learns that by this alone.
            for item in opened.items:
                if isinstance(item, Dead):
                    self._take_dead(item)
            return
        places = self._places.get(topic)
        if places is None:
            return
        known = places.get(opened.node_id)
        last = known.number if known is not None and known.incarnation == opened.incarnation else opened.first - 1
        places[opened.node_id] = _Place(opened.incarnation, max(last, opened.first + len(opened.items) - 1))
        if opened.first > last + 1:
            self._gap((topic,))
        sender = members.node(opened.node_id, opened.incarnation)
        for number, item in enumerate(opened.items, opened.first):
            if number <= last:
                self.counts.repeated += 1
            elif item is not None:
                self._take(sender, topic, number, item)

    def _arrived_from_stranger(self, opened: Opened) -> None:
        for item in opened.items:
            if isinstance(item, Beat):
                self.membership.take_stranger(opened.node_id, opened.incarnation, item)
            elif isinstance(item, Bye):
                self.membership.take_bye(opened.node_id, opened.incarnation)

    def _arrived_back(self, items: Sequence[Item | None]) -> None:
        for item in items:
            if isinstance(item, Beat):
                self.membership.take_own_beat(item)
                self._up.set()
            elif isinstance(item, Ping):
                self.membership.take_own_ping(item)
                self._up.set()

    def _take(self, sender: Node, topic: str, number: int, item: Item) -> None:
        members = self.membership
        match item:
            case Beat():
                members.take_beat(sender.id, sender.incarnation, item)
            case Bye():
                members.take_bye(sender.id, sender.incarnation)
                self.quiet.forget(sender.id)
            case Dead():
                self._take_dead(item)
            case Ask():
                self._requests.take_ask(sender, item)
            case Answer():
                self._requests.take_answer(sender, item)
            case Quiet():
                self.quiet.take(sender, item)
            case _:
                if topic in self.topics and self._receiver is not None:
                    self.counts.received += 1
                    self._receiver.receive(Received(sender, topic, number, item))

    def _take_dead(self, dead: Dead) -> None:
        if dead.incarnation == self.membership.me.incarnation:
            # The next incarnation counts from 1 again.
            self._sent.clear()
            self._floor = 0
        self.membership.take_dead(dead)

    def _resync(self) -> None:
        self._gap(self.topics)

    def _gap(self, topics: Iterable[str]) -> None:
        wanted = [topic for topic in topics if topic in self.topics]
        if wanted and self._receiver is not None:
            self.counts.gaps += 1
            self._receiver.gap(wanted)

    def _nodes_changed(self, change: NodeChange) -> None:
        self._up.set()
        self.alone = len(self.membership.live()) == 1
        if change.what == "down":
            self._requests.forget(change.node.id)
            for places in self._places.values():
                places.pop(change.node.id, None)

    # ---- requests ----

    async def ask(self, request: Request, *, deadline: float, nodes: Sequence[str] | None = None) -> Answers:
        return await self._requests.ask(request, deadline, nodes)


def join_carrier(
    carrier: Carrier,
    name: str,
    timing: Timing | None = None,
    clock: Callable[[], float] = monotonic,
    *,
    guest: bool = False,
    node_id: str | None = None,
) -> NetworkBus:
    """A new node on a carrier, not opened yet; ``name`` is for people, a ``guest`` is no live node to the others.

    ``clock`` must not stand still while the process is stopped, as the clock of an event loop may. ``node_id`` is a new
    one unless a simulation gives it.
    """
    me = Node(node_id or secrets.token_hex(16), 1, name)
    return NetworkBus(carrier, me, timing or Timing(), clock, guest=guest)
