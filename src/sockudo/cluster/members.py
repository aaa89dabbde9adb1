"""Which nodes live, from what arrives over a carrier (spec: platform § 10.8).

Each node judges for itself, by its own clock: another one is alive while something of it arrives. A node that does not
hear itself is deaf: it judges no other node, and keeps what it knows. When it has been deaf for so long that the others
may hold it dead, it is fenced and publishes nothing. What was held dead stays so: the process comes back as its next
incarnation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, log2
from typing import Final, Literal, NamedTuple

import structlog

from sockudo.cluster.items import ALL, Item, node_topic
from sockudo.cluster.owners import ranked_owners
from sockudo.cluster.ports import Node, NodeChange
from sockudo.cluster.wire import OLDEST_VERSION, VERSION, Beat, Bye, Dead, Ping

__all__ = ["NetworkMembership", "Peer", "Timing"]

_MOST_GUESTS: Final = 10_000
_MANY_NODES: Final = 64
# How often a node that was held dead is answered, in seconds.
_DEAD_EVERY: Final = 1.0
# Apps whose connections a beat tells.
_LARGEST_APPS: Final = 1000
# Seconds between two beats at least, where a change is announced at once.
_HURRY: Final = 0.1

_log = structlog.get_logger("sockudo.cluster")


class Timing(NamedTuple):
    """How often a node sends beats, and when it counts as dead, in seconds; ``timeout`` is at least five beats."""

    beat: float = 2.0
    timeout: float = 10.0

    @property
    def deaf(self) -> float:
        """A node that missed its own beats for so long is deaf."""
        return 2 * self.beat

    @property
    def fence(self) -> float:
        """A node that missed its own beats for so long may count as dead soon."""
        return self.timeout - 2 * self.beat

    def among(self, nodes: int) -> Timing:
        """Beats are rarer among many nodes, as all of them hear each one."""
        factor = 2 ** max(ceil(log2(max(nodes, 1) / _MANY_NODES)), 0)
        return self if factor == 1 else Timing(self.beat * factor, self.timeout * factor)


class Peer:
    """Another node as it is known here. Times are in seconds of this node's clock."""

    __slots__ = ("beat", "node", "seen_at", "valid_beat_at")

    def __init__(self, node: Node, beat: Beat, now: float) -> None:
        self.node = node
        self.beat = beat
        self.seen_at = self.valid_beat_at = now


class NetworkMembership:
    """`Membership` of a node on a carrier. Its owner passes in what arrives, and calls `tick` several times a beat.

    ``send`` sends an item of the nodes themselves; ``resync`` is called when everything that is known of other nodes
    has to be read anew, ``reconnect`` when the carrier looks well and carries nothing. A ``guest`` hears of the others
    and asks them, and is no live node to any of them.
    """

    def __init__(
        self,
        me: Node,
        timing: Timing,
        clock: Callable[[], float],
        send: Callable[[str, Item], None],
        resync: Callable[[], None],
        reconnect: Callable[[], None],
        *,
        guest: bool = False,
    ) -> None:
        self.me = me
        self._guest = guest
        # Nodes that own nothing and count nowhere.
        self._guests: dict[str, Peer] = {}
        # Nodes of a version that does not fit; they count nowhere.
        self._strangers: dict[str, Peer] = {}
        self.timing = timing
        self.deaf = False
        self.draining = False
        # It looks for the others: an owner that does not know all of them would begin what one of them has.
        self._joining = False
        self.round_trip = 0.0
        self.connections: Callable[[], Mapping[str, int]] = dict
        self._base = timing
        self._clock = clock
        self._send = send
        self._resync = resync
        self._reconnect = reconnect
        self._peers: dict[str, Peer] = {}
        self._live: list[Node] = [me]
        # Node ids with the last incarnation of each that was held dead, and when it was last answered.
        self._buried: dict[str, int] = {}
        self._answered_dead: dict[str, float] = {}
        now = clock()
        # When this node last got a beat of its own, and when it last did so without being fenced.
        self._heard_self = self._well = now
        self._beat_back = self._ping_back = -1.0
        self._fenced_until = 0.0
        self._next_beat = now
        self._last_beat = -_HURRY
        self._reconnect_at = 0.0
        self._gone = False
        self._observers: list[Callable[[NodeChange], None]] = []
        self._drain_observers: list[Callable[[], None]] = []

    # ---- what the port promises ----

    def live(self) -> Sequence[Node]:
        return self._live

    def is_alive(self, node_id: str) -> bool:
        return node_id == self.me.id or node_id in self._peers

    def owner(self, key: str) -> Node:
        return self.me if len(self._live) == 1 else self.ranked(key)[0]

    def ranked(self, key: str) -> Sequence[Node]:
        peers = [peer.node for peer in self._peers.values() if peer.beat.role == "full"]
        mine = [] if self.draining or self._guest or self._joining else [self.me]
        # When all of them go, each key has one owner still.
        return ranked_owners(key, [*mine, *peers] or self._live)

    def hears(self, node_id: str) -> bool:
        guest = self._guests.get(node_id)
        return self.is_alive(node_id) or (guest is not None and self._clock() - guest.seen_at <= self.timing.timeout)

    def elsewhere(self, app_id: str) -> int:
        return sum(peer.beat.connections.get(app_id, 0) for peer in self._peers.values())

    def hurry(self) -> None:
        now = self._clock()
        if self._peers and now - self._last_beat >= _HURRY:
            self._beat(now)
        else:
            self._next_beat = min(self._next_beat, self._last_beat + _HURRY)

    def fenced(self) -> bool:
        now = self._clock()
        return self._gone or now < self._fenced_until or now - self._heard_self > self.timing.fence

    def beat_age(self, node_id: str) -> float:
        peer = self._peers.get(node_id)
        return 0.0 if peer is None else max(self._clock() - peer.valid_beat_at, 0.0)

    def unheard(self) -> float:
        # `deaf` follows with the next tick only.
        now = self._clock()
        lost = self.deaf or self.fenced() or now - self._heard_self > self.timing.deaf
        return max(now - self._well, 0.0) if lost else 0.0

    def drain(self) -> None:
        if not self.draining:
            self.draining = True
            self._beat(self._clock())
            self._drained()

    def watch(self, observer: Callable[[NodeChange], None]) -> None:
        self._observers.append(observer)

    def watch_drains(self, observer: Callable[[], None]) -> None:
        self._drain_observers.append(observer)

    def _drained(self) -> None:
        for observer in tuple(self._drain_observers):
            observer()

    def peers(self) -> Sequence[Peer]:
        """The other live nodes with what their last beats say."""
        return tuple(self._peers.values())

    def others(self) -> Sequence[Peer]:
        """The same, with those that count nowhere."""
        return (*self._peers.values(), *self._guests.values())

    def strangers(self) -> Sequence[Peer]:
        """Those that this node does not understand, or that do not understand it; they are no live nodes."""
        return tuple(self._strangers.values())

    def node(self, node_id: str, incarnation: int) -> Node:
        """The node of an item; one that sends no beats has no name."""
        peer = self._peers.get(node_id)
        return (
            peer.node if peer is not None and peer.node.incarnation == incarnation else Node(node_id, incarnation, "")
        )

    @property
    def misses_nodes(self) -> bool:
        """Whether a node that is known here sees more of them than this one."""
        return max((peer.beat.nodes for peer in self._peers.values()), default=0) > len(self._peers)

    @property
    def heard_itself(self) -> bool:
        """Whether what it sends has come back since the start, on both of its topics."""
        return self._beat_back >= 0 and self._ping_back >= 0

    # ---- what arrives ----

    def accepts(self, node_id: str, incarnation: int) -> bool:
        """Whether an item of this node counts; what comes from a dead incarnation is answered and dropped."""
        now = self._clock()
        if incarnation <= self._buried.get(node_id, 0):
            if now - self._answered_dead.get(node_id, -_DEAD_EVERY) >= _DEAD_EVERY:
                self._answered_dead[node_id] = now
                self._send(node_topic(node_id), Dead(incarnation))
            return False
        peer = self._peers.get(node_id)
        if peer is not None:
            if incarnation < peer.node.incarnation:
                return False
            peer.seen_at = now
        return True

    def take_beat(self, node_id: str, incarnation: int, beat: Beat) -> None:
        """A node lives. One that was not known yet hears of this one at once."""
        if not _understands(beat):
            self.take_stranger(node_id, incarnation, beat)
            return
        now = self._clock()
        if beat.role in ("api", "joining"):
            self._take_guest(Node(node_id, incarnation, beat.name), beat, now)
            return
        peer = self._peers.get(node_id)
        if peer is not None and peer.node.incarnation == incarnation:
            drains = beat.role != peer.beat.role
            peer.beat = beat
            peer.valid_beat_at = now
            if drains:
                self._drained()
            return
        node = Node(node_id, incarnation, beat.name)
        self._peers[node_id] = Peer(node, beat, now)
        self._refresh()
        # One that was joining has had its answer.
        if peer is None and self._guests.pop(node_id, None) is None:
            self._beat(now)
        _log.info("a node joined", node=node.name, node_id=node.id, incarnation=node.incarnation)
        self._changed(NodeChange(node, "up"))

    def _take_guest(self, node: Node, beat: Beat, now: float) -> None:
        if not self.hears(node.id):
            until = now - self.timing.timeout
            self._guests = {key: guest for key, guest in self._guests.items() if guest.seen_at >= until}
            self._beat(now)
        if node.id in self._guests or len(self._guests) < _MOST_GUESTS:
            self._guests[node.id] = Peer(node, beat, now)

    def take_stranger(self, node_id: str, incarnation: int, beat: Beat) -> None:
        """A node of a version that does not fit lives. It hears of this one at once, and does not start then."""
        now = self._clock()
        stranger = self._strangers.get(node_id)
        if stranger is not None:
            stranger.beat, stranger.seen_at = beat, now
        elif len(self._strangers) < _MOST_GUESTS:
            self._strangers[node_id] = Peer(Node(node_id, incarnation, beat.name), beat, now)
            _log.error(
                "a node speaks versions of the protocol between nodes that do not fit those of this one: they are "
                "not joined",
                node=beat.name,
                versions=beat.versions,
                own_versions=(OLDEST_VERSION, VERSION),
            )
            self._beat(now)

    def is_stranger(self, node_id: str) -> bool:
        """Whether the node is of a version that does not fit."""
        return node_id in self._strangers

    def take_own_beat(self, beat: Beat) -> None:
        """This node's own beat came back."""
        self._beat_back = max(self._beat_back, beat.sent)
        self._hear_self()

    def take_own_ping(self, ping: Ping) -> None:
        """What this node sent to itself came back."""
        self._ping_back = max(self._ping_back, ping.sent)
        self.round_trip = max(self._clock() - ping.sent, 0.0)
        self._hear_self()

    def take_dead(self, dead: Dead) -> None:
        """Another node held this incarnation dead: this one goes on as the next."""
        if dead.incarnation != self.me.incarnation:
            return
        self.me = self.me._replace(incarnation=self.me.incarnation + 1)
        self._refresh()
        _log.warning("other nodes held this one dead, it joins anew", incarnation=self.me.incarnation)
        self._changed(NodeChange(self.me, "up"))
        self._beat(self._clock())
        self._resync()

    def take_bye(self, node_id: str, incarnation: int) -> None:
        """A node goes in an orderly way."""
        self._guests.pop(node_id, None)
        self._strangers.pop(node_id, None)
        peer = self._peers.get(node_id)
        if peer is not None and peer.node.incarnation == incarnation:
            self._bury(peer, "left")

    def take_end(self, peer: Peer) -> None:
        """The process of a node has ended, for certain."""
        self._bury(peer, "has ended")

    # ---- time ----

    def begin(self) -> None:
        """What this node sends can come back from now on. Until `join` it is no live node to the others."""
        self._heard_self = self._well = self._next_beat = self._clock()
        self._joining = True

    def join(self) -> None:
        """Becomes one of the live nodes, and may own what they own."""
        self._joining = False
        self._beat(self._clock())
        self._drained()

    def tick(self) -> None:
        """Sends a beat when it is due, and judges who is alive."""
        now = self._clock()
        self.timing = self._base.among(len(self._live))
        if now - self._heard_self > self.timing.deaf:
            self._be_deaf(now)
        else:
            for peer in tuple(self._peers.values()):
                if now - peer.seen_at > max(self.timing.timeout, 5 * peer.beat.interval):
                    self._bury(peer, "is silent")
        if self._strangers:
            timeout = self.timing.timeout
            self._strangers = {key: peer for key, peer in self._strangers.items() if now - peer.seen_at <= timeout}
        if now >= self._next_beat:
            self._beat(now)

    def leave(self) -> None:
        """Ends this node's part: the others hear so, and nothing more of it counts."""
        if self._gone:
            return
        self._send(ALL, Bye())
        self._gone = True
        for peer in tuple(self._peers.values()):
            del self._peers[peer.node.id]
        self._refresh()

    def _beat(self, now: float) -> None:
        if self._gone:
            return
        self._last_beat = now
        self._next_beat = now + self.timing.beat
        role = "api" if self._guest else "joining" if self._joining else "draining" if self.draining else "full"
        largest = sorted(self.connections().items(), key=lambda one: -one[1])[:_LARGEST_APPS]
        beat = Beat(
            now, self.me.name, self.timing.beat, (OLDEST_VERSION, VERSION), role, dict(largest), len(self._live)
        )
        self._send(ALL, beat)
        self._send(node_topic(self.me.id), Ping(now))

    def _be_deaf(self, now: float) -> None:
        if not self.deaf:
            self.deaf = True
            _log.error(
                "pings of this node do not come back through the bus: it keeps its state and delivers here alone"
            )
            self._reconnect_at = now
        if now >= self._reconnect_at:
            self._reconnect_at = now + self.timing.deaf
            self._reconnect()

    def _hear_self(self) -> None:
        sent = min(self._beat_back, self._ping_back)
        if sent <= self._heard_self:
            return
        now = self._clock()
        if now - self._heard_self > self.timing.fence:
            # The others may hold this node dead, and say so within two beats.
            self._fenced_until = now + 2 * self.timing.beat
        self._heard_self = sent
        if self.deaf and now - sent < self.timing.deaf:
            self.deaf = False
            for peer in self._peers.values():
                peer.seen_at = peer.valid_beat_at = now
            _log.warning("pings of this node come back again")
            self._resync()
        if not self.deaf and now >= self._fenced_until:
            self._well = sent

    def _bury(self, peer: Peer, why: Literal["left", "is silent", "has ended"]) -> None:
        node = peer.node
        self._buried[node.id] = node.incarnation
        del self._peers[node.id]
        self._refresh()
        _log.log(20 if why == "left" else 40, f"a node {why}", node=node.name, node_id=node.id)
        self._changed(NodeChange(node, "down"))

    def _refresh(self) -> None:
        self._live = sorted([self.me, *(peer.node for peer in self._peers.values())])

    def _changed(self, change: NodeChange) -> None:
        for observer in tuple(self._observers):
            observer(change)


def _understands(beat: Beat) -> bool:
    oldest, newest = beat.versions
    return oldest <= VERSION and newest >= OLDEST_VERSION
