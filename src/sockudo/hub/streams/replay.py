"""The hot replay buffer: the newest messages of each channel of one app, kept in memory for clients that were cut off
(spec: history § 3.1 and 3.2).

Where a channel is durable the store owns its stream and the buffer follows it; elsewhere the buffer owns the stream,
which lives as long as the buffer does. Among several nodes one of them holds such a stream, and the buffers of the
others follow it.

A channel that was never published to has no buffer, however many subscribe to it: the id of the stream that its first
message will begin follows from its name, so a client can get its place, and be found there again, without anything
being kept. What a channel has had before is kept instead, as a number per channel that was published to: the stream
that follows one that has ended has another id.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from sockudo.base.ids import derived_id
from sockudo.base.stream_records import Position
from sockudo.protocol.frames import Frame

__all__ = ["Kept", "Lookup", "ReplayBuffer", "ReplayBuffers"]

# Buffers looked at in one turn of the loop: about a millisecond.
_SWEPT_AT_ONCE = 2000
# Channels of one app whose ended streams are counted, about 1.5 MB. Past that all streams to come get new ids.
_MAX_ENDED = 10_000


class Lookup(NamedTuple):
    """What the buffer knows about a position; ``frames`` are those after it, when it is ``recovered``.

    ``head`` is None only when there is no buffer.
    """

    outcome: Literal["recovered", "expired", "reset", "ahead", "gap"]
    head: Position | None = None
    frames: tuple[Frame, ...] = ()


Kept = tuple[float, Frame, str | None]
"""A message in a buffer: the second since which it is there, and the socket that does not get it."""


class ReplayBuffer:
    """One channel's stream; ``held``: it is numbered here. Times are monotonic seconds."""

    __slots__ = ("_messages", "held", "next_serial", "stream_id", "touched_at")

    def __init__(self, stream_id: str, now: float, *, held: bool = False) -> None:
        self.stream_id = stream_id
        self.held = held
        self.next_serial = 1
        self.touched_at = now
        self._messages: deque[Kept] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def head(self) -> Position:
        """The place of the newest message."""
        return Position(self.stream_id, self.next_serial - 1)

    def number(self, frame: Frame) -> None:
        """Gives the frame the next serial of this stream."""
        frame.stream_id = self.stream_id
        frame.serial = self.next_serial

    def append(self, frame: Frame, max_size: int, now: float, exclude: str | None = None) -> None:
        """Keeps a frame that has its position; one of another stream replaces everything there was."""
        if frame.stream_id != self.stream_id:
            self.restart(frame.stream_id or "", now)
        self._messages.append((now, frame, exclude))
        if len(self._messages) > max_size:
            self._messages.popleft()
        self.next_serial = (frame.serial or 0) + 1
        self.touched_at = now

    def restart(self, stream_id: str, now: float, next_serial: int = 1) -> None:
        """Forgets everything and goes on as another stream, or as another place of the same."""
        self._messages.clear()
        self.stream_id = stream_id
        self.next_serial = next_serial
        self.touched_at = now

    def fill(self, kept: Iterable[Kept]) -> None:
        """Keeps messages that come before the place where the stream goes on."""
        self._messages.extend(kept)

    def trim(self, before_serial: int | None) -> None:
        """Forgets the messages before a serial, or all; the numbering stays."""
        messages = self._messages
        while messages and (before_serial is None or (messages[0][1].serial or 0) < before_serial):
            messages.popleft()

    def prune(self, until: float) -> None:
        """Forgets what was kept before ``until``."""
        messages = self._messages
        while messages and messages[0][0] < until:
            messages.popleft()

    def after(self, serial: int) -> Iterator[Kept]:
        """The messages beyond a serial that are still kept, oldest first."""
        return (kept for kept in self._messages if (kept[1].serial or 0) > serial)

    def lookup(self, stream_id: str | None, serial: int) -> Lookup:
        """What came after a position, in the order of spec: history § 3.2; None for a stream that is not known."""
        head = self.head
        if stream_id is not None and stream_id != self.stream_id:
            return Lookup("reset", head)
        if serial > head.serial:
            return Lookup("ahead", head)
        if serial == head.serial:
            return Lookup("recovered", head)
        missed = head.serial - serial
        if missed > len(self._messages):
            return Lookup("expired", head)
        frames = tuple(frame for _, frame, _ in list(self._messages)[-missed:])
        if any(frame.serial != serial + number for number, frame in enumerate(frames, 1)):
            return Lookup("gap", head)
        return Lookup("recovered", head, frames)


class ReplayBuffers:
    """The buffers of one app, by channel. ``ttl`` is how long a message is kept, in seconds."""

    __slots__ = ("_buffers", "_ended", "_key", "_sweep_at", "_to_sweep", "ttl")

    def __init__(self, ttl: float = 120) -> None:
        self.ttl = ttl
        self._buffers: dict[str, ReplayBuffer] = {}
        # What ids of streams are made from, and how many streams of a channel have ended under it.
        self._key = secrets.token_bytes(32)
        self._ended: dict[str, int] = {}
        self._sweep_at = 0.0
        self._to_sweep: list[str] = []

    def __len__(self) -> int:
        return len(self._buffers)

    def get(self, channel: str) -> ReplayBuffer | None:
        """The channel's buffer, if there is one."""
        return self._buffers.get(channel)

    def number(self, frame: Frame, max_size: int, now: float) -> None:
        """Gives a frame of a channel that is not durable its position, and keeps it."""
        buffer = self._buffer(frame.channel or "", now)
        buffer.number(frame)
        buffer.append(frame, max_size, now)

    def store(self, frame: Frame, max_size: int, now: float) -> None:
        """Keeps a frame that the durable store has numbered."""
        buffer = self._buffers.get(frame.channel or "")
        if buffer is None:
            buffer = self._buffers[frame.channel or ""] = ReplayBuffer(frame.stream_id or "", now)
        buffer.append(frame, max_size, now)

    def position(self, channel: str) -> Position:
        """Where the channel is; one that was not published to is at the beginning of its next stream."""
        buffer = self._buffers.get(channel)
        return Position(self._next_id(channel), 0) if buffer is None else buffer.head

    def align(self, channel: str, head: Position, now: float) -> None:
        """Sets the place of the durable stream; a buffer of another stream, or one left behind, starts over.

        None is made for a stream that nothing was written to.
        """
        buffer = self._buffers.get(channel)
        if buffer is None:
            if not head.serial:
                return
            buffer = self._buffers[channel] = ReplayBuffer(head.stream_id, now)
            buffer.next_serial = head.serial + 1
        elif buffer.stream_id != head.stream_id or buffer.next_serial <= head.serial:
            buffer.restart(head.stream_id, now, head.serial + 1)
        buffer.touched_at = now

    # ---- among several nodes ----

    def begin(self, channel: str, now: float) -> ReplayBuffer:
        """The channel's stream, which is numbered here from now on: a new one unless it was already."""
        buffer = self._buffer(channel, now)
        if not buffer.held:
            buffer.restart(self._next_id(channel), now)
            buffer.held = True
        return buffer

    def take(
        self, channel: str, stream_id: str, next_serial: int, kept: Sequence[tuple[Frame, str | None]], now: float
    ) -> ReplayBuffer:
        """The channel's stream, which another node held and which is numbered here from now on.

        ``kept`` are its messages with the socket that does not get each; without any those that are here stay.
        """
        buffer = self._buffer(channel, now)
        buffer.held = True
        if kept or buffer.stream_id != stream_id or buffer.next_serial != next_serial:
            buffer.restart(stream_id, now, next_serial)
            buffer.fill((now, frame, exclude) for frame, exclude in kept)
        return buffer

    def give(self, channel: str) -> None:
        """The stream is not numbered here any more, for good; its messages stay."""
        buffer = self._buffers.get(channel)
        if buffer is not None and buffer.held:
            buffer.held = False
            # What is numbered here later has another id.
            self._end(channel)

    def follow(self, channel: str, head: Position, now: float) -> None:
        """Tells the buffer where the stream is that another node holds, also before its first message."""
        self.give(channel)
        if channel not in self._buffers:
            buffer = self._buffers[channel] = ReplayBuffer(head.stream_id, now)
            buffer.next_serial = head.serial + 1
        self.align(channel, head, now)

    def channels(self, *, held: bool) -> list[str]:
        """The channels whose streams are numbered here, or those of the others."""
        return [channel for channel, buffer in self._buffers.items() if buffer.held is held]

    # ---- for all ----

    def lookup(self, channel: str, stream_id: str | None, serial: int, now: float) -> Lookup:
        """What came after a position, as far as it is kept."""
        buffer = self._buffers.get(channel)
        if buffer is None:
            if stream_id != self._next_id(channel):
                return Lookup("expired")
            return Lookup("ahead" if serial else "recovered", Position(stream_id, 0))
        buffer.prune(now - self.ttl)
        return buffer.lookup(stream_id, serial)

    def drop(self, channel: str) -> None:
        """Forgets a channel's buffer, and with it a stream that it owned."""
        if self._buffers.pop(channel, None) is not None:
            self._end(channel)

    def sweep(self, now: float, occupied: Collection[str]) -> Sequence[str]:
        """Forgets old messages, and buffers that hold none and were not used for as long; returns which.

        Called every second; looks at some of the buffers each time and at each one at least every ``ttl`` / 4 seconds.
        """
        if not self._to_sweep:
            if now < self._sweep_at:
                return ()
            self._sweep_at = now + self.ttl / 4
            self._to_sweep = list(self._buffers)
        until = now - self.ttl
        gone: list[str] = []
        for channel in self._to_sweep[-_SWEPT_AT_ONCE:]:
            buffer = self._buffers.get(channel)
            if buffer is None:
                continue
            buffer.prune(until)
            if channel in occupied:
                buffer.touched_at = now
            elif not buffer and buffer.touched_at < until:
                self.drop(channel)
                gone.append(channel)
        del self._to_sweep[-_SWEPT_AT_ONCE:]
        return gone

    def _buffer(self, channel: str, now: float) -> ReplayBuffer:
        buffer = self._buffers.get(channel)
        if buffer is None:
            buffer = self._buffers[channel] = ReplayBuffer(self._next_id(channel), now, held=True)
        return buffer

    def _next_id(self, channel: str) -> str:
        return derived_id(self._key, channel, str(self._ended.get(channel, 0)))

    def _end(self, channel: str) -> None:
        self._ended[channel] = self._ended.get(channel, 0) + 1
        if len(self._ended) > _MAX_ENDED:
            self._key = secrets.token_bytes(32)
            self._ended.clear()
