"""The subscribers of a channel that get the same bytes, and the frames that wait for the end of this turn of the loop.

The rule of delivery
--------------------

What is published within one turn is joined and written once to each subscriber at the end of the turn. The order in
which frames were appended is the order in which every subscriber gets them. Who hears what is settled at the moment of
appending: a connection that joins later gets nothing from before it came, one that leaves has got all of it
while it was there. So joining remembers a place in the pending frames (``_since``) and leaving writes the rest at once
(`catch_up`), and neither has to flush the whole channel.

A round over many subscribers is cut into slices (`deliver` with a budget), so that no turn lasts. While a round is
under way new frames gather for the next one.

A round over many takes much longer than a look for what else has arrived. So it begins when a few turns of the loop
brought no more frames for it, and after a millisecond if they keep coming: publishes that arrive together are one write
to each subscriber, though they are read in several turns.

Where several rounds running were followed by more frames at once, the next one is held for a millisecond or two, less
than it takes, and so are those after it until nothing came meanwhile. Nodes that hear of each other's messages write
together then what each of them was sent.

Bytes for many go to their sockets with one call (`BulkWriter`), past the connections' own ``write``. What a socket does
not take goes there, and so does everything for a connection without a descriptor: one that reads too slowly, or
whose transport has no socket of its own.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Generic, Protocol, TypeVar

from sockudo.base.measures import Latency
from sockudo.hub.delivery import GATHERING, HELD, Deliveries
from sockudo.hub.outgoing import EVERYTHING, Outgoing, Wants
from sockudo.hub.traffic import Traffic, size_bucket
from sockudo.protocol.delta import ChannelDeltas, DeltaChannel
from sockudo.protocol.filters import SharedBudget
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import ChannelKind
from sockudo.protocol.shapes import Shape

__all__ = ["ChannelApp", "Fanout", "Listeners", "Receiver"]

# Below this a round is never cut: the bookkeeping would cost more than the wait.
_WHOLE = 500
# Bytes that take as long as a further write.
_LONG = 16 * 1024
# Below this each write is a call of its own: what one call for all needs beside it would cost more.
_MANY = 5
# From so many subscribers on a round waits for frames that come within the next turns. It looks once for each so many,
# at most so often: less than a hundredth of what the round takes.
_LARGE = 100
_MOST_LOOKS = 4
# Seconds after which it begins, however much comes.
_GATHERED_WITHIN = 0.001
# Rounds that are followed by more within a millisecond have the next ones held: each counts for two, one that is not
# takes one away, and so does a hold that brought nothing. What has been counted is bounded, so that holding ends soon.
_AT_ONCE = 0.001
_OFTEN = 4
_MOST_FOLLOWS = 16
# A round is held for a millisecond for each so many subscribers, at most so long: less than it takes.
_HELD_FROM = 200
_LONGEST_HOLD = 0.002


class Receiver:
    """What is delivered to: a connection, as far as a delivery knows it.

    ``write`` is the transport's own method while the peer keeps up; the watcher of the peer's buffer replaces it while
    it does not. ``descriptor`` is the socket that takes what is written to many at once, past ``write``; -1 while
    nothing may go past it.
    """

    # The connection has the slots: a slot is read faster the nearer its class, and these are read for every delivery.
    __slots__ = ()

    write: Callable[[bytes], None]
    descriptor: int


C = TypeVar("C", bound=Receiver)


class ChannelApp(Protocol):
    """What a channel asks of its app."""

    app_id: str
    hub: Deliveries
    deltas: ChannelDeltas
    traffic: Traffic

    def predicate_failed(self, reason: str, predicate_id: str) -> None:
        """An expression could not be asked of a message, which counts as no match."""

    def filter_budget(self, frame: Frame) -> SharedBudget:
        """The work that is left for expressions on this frame, in all of its subscriptions."""
        ...

    def delta_channel(self, name: str) -> DeltaChannel:
        """What all delta tracks of a channel have in common, in all of its subscriptions."""
        ...

    def drop_delta_channel(self, name: str) -> None:
        """Forgets it when the channel is gone and no pattern's subscribers get differences of it."""


class Listeners(Generic[C]):
    """Those who hear one channel, by its name or by one pattern, grouped by what they want to get."""

    __slots__ = ("_deltas", "app", "fanouts", "kind", "name")

    def __init__(self, name: str, kind: ChannelKind, app: ChannelApp) -> None:
        self.name = name
        self.kind = kind
        self.app = app
        # By what their subscribers want: nearly always one, all of V1.
        self.fanouts: dict[Hashable, Fanout[C]] = {}
        self._deltas: DeltaChannel | None = None

    def delta_channel(self) -> DeltaChannel:
        """What the channel's delta tracks have in common."""
        if self._deltas is None:
            self._deltas = self.app.delta_channel(self.name)
        return self._deltas

    def put(self, fanout: Fanout[C]) -> Fanout[C]:
        """Puts a fan-out of one subscriber in place, such as a gate."""
        self.fanouts[fanout.key] = fanout
        return fanout

    def remove(self, receiver: C, fanout: Fanout[C]) -> None:
        """Takes a subscriber out of the fan-out that it is in."""
        fanout.remove(receiver)
        if not fanout.subscribers:
            self.fanouts.pop(fanout.key, None)


class Fanout(Generic[C]):
    """Everyone on one channel who wants one wire shape of the same frames.

    ``wants`` determines which of the channel's messages, and how. ``key`` is its place among the channel's fan-outs.
    """

    __slots__ = (
        "_descriptors",
        "_ended",
        "_excluded",
        "_follows",
        "_gathered",
        "_held",
        "_hub",
        "_looks",
        "_pending",
        "_rest",
        "_round",
        "_round_frames",
        "_since",
        "_traffic",
        "_waiting_since",
        "channel",
        "key",
        "pace",
        "predicate",
        "queued",
        "shape",
        "subscribers",
        "wants",
    )

    def __init__(self, channel: Listeners[C], shape: Shape, wants: Wants = EVERYTHING, key: Hashable = None) -> None:
        self.channel = channel
        self._hub = channel.app.hub
        self._traffic = channel.app.traffic
        self.shape = shape
        self.wants = wants
        self.predicate = wants.predicate
        self.pace = wants.pace
        self.key = shape if key is None else key
        self.subscribers: dict[C, None] = {}
        self.queued = False
        # Those of the subscribers, in their order; None when they are not known any more.
        self._descriptors: array[int] | None = None
        self._pending: list[bytes] = []
        # When the oldest frame that is not written yet was published.
        self._waiting_since = 0.0
        # How many frames waited at the last look, and how many looks are left before they are written.
        self._gathered = self._looks = 0
        # When the last round ended, how many rounds running were followed by more, and how many frames waited when this
        # one was held.
        self._ended = 0.0
        self._follows = self._held = 0
        # Places in the pending frames from which a newcomer listens; None while there is none this turn.
        self._since: dict[C, int] | None = None
        # Which connections must not get which pending frame; None while nothing is excluded.
        self._excluded: list[tuple[C, int]] | None = None
        # A round in several slices: its bytes, its number of frames and who has not got it yet.
        self._round = b""
        self._round_frames = 0
        self._rest: dict[C, None] | None = None

    @property
    def unfinished(self) -> bool:
        """True while something waits to be written."""
        return bool(self._rest or self._pending)

    def accepts(self, message: Outgoing) -> bool:
        """Whether those who are here want this message."""
        return self.predicate is None or message.matches(self.predicate)

    def say(self, message: Outgoing, exclude: Collection[C]) -> None:
        """Delivers the message to all subscribers here but ``exclude``, if they want it."""
        if self.predicate is None or message.matches(self.predicate):
            self.append(message.encoded(self.shape), exclude)
        else:
            self._traffic.filtered += self.listeners(exclude)

    def listeners(self, exclude: Collection[C]) -> int:
        """How many are here but ``exclude``."""
        count = len(self.subscribers)
        return count - len(self._excluded_here(exclude)) if exclude else count

    def append(self, data: bytes, exclude: Collection[C] = ()) -> None:
        """Has ``data``, one encoded frame, written to everyone who is here now but ``exclude``."""
        if exclude:
            self._leave_out(exclude)
        if not self._pending and self._rest is None:
            self._waiting_since = now = self._hub.now()
            if self._follows < _OFTEN:
                self._follows += 2 if now - self._ended < _AT_ONCE else -1 if self._follows else 0
        self._pending.append(data)
        if not self.queued:
            self._hub.enqueue(self)

    def _leave_out(self, exclude: Collection[C]) -> None:
        for connection in self._excluded_here(exclude):
            if self._excluded is None:
                self._excluded = []
            self._excluded.append((connection, len(self._pending)))

    def _excluded_here(self, exclude: Collection[C]) -> Collection[C]:
        """Those of ``exclude`` who are here, at the cost of the smaller of the two."""
        return self.subscribers.keys() & exclude if isinstance(exclude, set) else self.subscribers.keys() & set(exclude)

    def add(self, connection: C) -> None:
        """Subscribes; the connection gets what is published from now on."""
        self.subscribers[connection] = None
        self._descriptors = None
        if self._pending:
            self._listen_from_here(connection)

    def forget_descriptors(self) -> None:
        """A subscriber's socket takes no bytes past its ``write`` any more, or does again."""
        self._descriptors = None

    def remove(self, connection: C) -> None:
        """Unsubscribes; what was published before has been written by `catch_up` or does not matter any more."""
        self.subscribers.pop(connection, None)
        self._descriptors = None
        if self._rest is not None:
            self._rest.pop(connection, None)
        if self._since is not None:
            self._since.pop(connection, None)

    def rejoin(self, connection: C) -> None:
        """The subscriber has lost the bases of its deltas; here it has none."""

    def catch_up(self, connection: C) -> None:
        """Writes now what was delivered to ``connection`` so far and would be written at the end of the turn."""
        if self._rest is not None and connection in self._rest:
            del self._rest[connection]
            connection.write(self._round)
        if self._pending:
            frames = self._frames_for(connection)
            if frames:
                connection.write(b"".join(frames))
            self._listen_from_here(connection)

    def _listen_from_here(self, connection: C) -> None:
        if self._since is None:
            self._since = {}
        self._since[connection] = len(self._pending)

    def _frames_for(self, connection: C) -> list[bytes]:
        start = self._since.get(connection, 0) if self._since is not None else 0
        if self._excluded is None:
            return self._pending[start:]
        skipped = {place for excluded, place in self._excluded if excluded is connection}
        return [self._pending[place] for place in range(start, len(self._pending)) if place not in skipped]

    def deliver(self, budget: int) -> int:
        """Writes what waits to at most about ``budget`` subscribers, and returns how many writes that took; long ones
        count for several; `GATHERING` or `HELD` when it waits for what comes meanwhile.
        """
        if self._rest is not None:
            return self._deliver_slice(self._rest, budget)
        pending = self._pending
        if not pending:
            return 0
        subscribers = self.subscribers
        count = len(subscribers)
        if count >= _LARGE and (waits := self._gathers(count)):
            return waits
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        cost = count * (1 + len(data) // _LONG)
        if cost > budget and cost > _WHOLE:
            # To begin a round takes as long as many writes.
            return self._deliver_slice(self._start_round(data), budget // 2)
        frames = len(pending)
        self._hub.frames_in_write = frames
        if self._since is None and self._excluded is None:
            if self._descriptors is None and count >= _MANY:
                self._descriptors = _descriptors_of(subscribers)
            self._write_to(subscribers, data, self._descriptors)
        else:
            special = self._write_special()
            self._write_to([connection for connection in subscribers if connection not in special], data)
        self._pending = []
        self._account(count, frames, len(data))
        self._note_latency(count)
        return cost

    def _gathers(self, count: int) -> int:
        """`GATHERING` or `HELD` while it is worth to wait for what comes with the pending frames, then 0."""
        frames = len(self._pending)
        if self._held:
            self._follows = max(min(self._follows + (1 if frames > self._held else -1), _MOST_FOLLOWS), 0)
            self._held = self._gathered = 0
            return 0
        if frames > self._gathered:
            self._gathered, self._looks = frames, min(count // _LARGE, _MOST_LOOKS)
        if self._looks and self._hub.now() - self._waiting_since < _GATHERED_WITHIN:
            self._looks -= 1
            return GATHERING
        self._gathered = 0
        if self._follows >= _OFTEN and count >= _HELD_FROM:
            seconds = min(count // _HELD_FROM / 1000, _LONGEST_HOLD)
            if self._hub.deliver_later(self, seconds):
                self._held = frames
                return HELD
        return 0

    def _write_to(self, connections: Collection[C], data: bytes, descriptors: array[int] | None = None) -> None:
        """``descriptors`` are theirs, where they are known."""
        bulk = self._hub.bulk
        if bulk is None or len(connections) < _MANY:
            for connection in connections:
                connection.write(data)
            return
        refused = bulk.write(_descriptors_of(connections) if descriptors is None else descriptors, data)
        if refused:
            among = tuple(connections)
            for place, taken in refused:
                among[place].write(data[taken:])

    def _write_special(self) -> set[C]:
        """Writes to those who do not get all frames, and returns them."""
        hub = self._hub
        special = set(self._since or ())
        special.update(connection for connection, _ in self._excluded or () if connection in self.subscribers)
        for connection in special:
            frames = self._frames_for(connection)
            if frames:
                hub.frames_in_write = len(frames)
                connection.write(b"".join(frames))
        hub.frames_in_write = len(self._pending)
        self._since = self._excluded = None
        return special

    def _start_round(self, data: bytes) -> dict[C, None]:
        rest = dict(self.subscribers)
        if self._since is not None or self._excluded is not None:
            for connection in self._write_special():
                rest.pop(connection, None)
        self._round = data
        self._round_frames = len(self._pending)
        self._pending = []
        self._rest = rest
        self._account(len(self.subscribers), self._round_frames, len(self._round))
        return rest

    def _deliver_slice(self, rest: dict[C, None], budget: int) -> int:
        data = self._round
        self._hub.frames_in_write = self._round_frames
        cost = 1 + len(data) // _LONG
        recipients = [rest.popitem()[0] for _ in range(min(max(budget // cost, 1), len(rest)))]
        self._write_to(recipients, data)
        if not rest:
            self._rest = None
            self._round = b""
            self._note_latency(len(self.subscribers))
        return len(recipients) * cost

    def _account(self, connections: int, frames: int, size: int) -> None:
        traffic = self._traffic
        traffic.messages_sent += connections * frames
        traffic.bytes_sent += connections * size

    def _note_latency(self, recipients: int) -> None:
        now = self._hub.now()
        key = (self.channel.kind.label, size_bucket(recipients))
        latency = self._traffic.latency.get(key)
        if latency is None:
            latency = self._traffic.latency[key] = Latency()
        latency.note(now - self._waiting_since)
        self._waiting_since = self._ended = now
        if self._pending and self._follows < _OFTEN:
            self._follows += 2


def _descriptors_of(connections: Iterable[Receiver]) -> array[int]:
    return array("i", [connection.descriptor for connection in connections])
