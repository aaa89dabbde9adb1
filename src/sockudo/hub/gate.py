"""Holds back live messages to one subscriber while it receives earlier ones (spec: history § 3.5)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from sockudo.base.stream_records import Position
from sockudo.hub.connection import Connection
from sockudo.hub.fanout import Fanout, Listeners
from sockudo.hub.outgoing import Outgoing, Wants
from sockudo.hub.streams.replay import ReplayBuffers
from sockudo.protocol.frames import INTERRUPTED, Frame

__all__ = ["Gate", "GateLimits"]


class GateLimits(NamedTuple):
    """How much may be held back for one subscriber, and what to do when it is more; see `Gate`."""

    messages: int
    max_bytes: int | None
    overflow: Callable[[], None]


class Gate(Fanout[Connection]):
    """Stands in the place of a shared fan-out for one connection until `sockudo.hub.Hub.open`.

    It is in place before the past is looked up, so that nothing falls between the two. Past ``limit`` messages or
    ``max_bytes`` nothing is held any more and ``overflow`` is called, once: what was lost cannot be identified later.
    """

    __slots__ = ("_limit", "_max_bytes", "_overflow", "_size", "connection", "held")

    def __init__(
        self,
        channel: Listeners[Connection],
        connection: Connection,
        wants: Wants,
        limit: int,
        max_bytes: int | None,
        overflow: Callable[[], None],
    ) -> None:
        # A key that is like no other. Not the gate: what holds itself only the garbage collector frees.
        super().__init__(channel, connection.shape, wants, key=object())
        self.connection = connection
        self.held: list[Frame] = []
        # Each by itself: some of them may have been sent already when the gate opens.
        self.pace = 0
        self._limit = limit
        self._max_bytes = max_bytes
        self._size = 0
        self._overflow: Callable[[], None] | None = overflow
        self.subscribers[connection] = None

    def say(self, message: Outgoing, exclude: Collection[Connection]) -> None:
        if self._overflow is None or self.connection in exclude or not self.accepts(message):
            return
        if self._max_bytes is not None:
            self._size += len(message.encoded(self.shape))
        self.held.append(message.shown())
        if len(self.held) > self._limit or (self._max_bytes is not None and self._size > self._max_bytes):
            overflow, self._overflow = self._overflow, None
            self.held.clear()
            overflow()

    def catch_up(self, connection: Connection) -> None:
        """What is held has its time when the gate opens."""

    def news(self, after: Mapping[str, Position], replay: ReplayBuffers) -> list[Frame]:
        """What was held and is new to a connection at these places of its channels, in the order of serials."""
        held = [frame for frame in self.held if _is_news(frame, after.get(frame.channel or ""), replay)]
        if not any(frame.event == INTERRUPTED for frame in held):
            held.sort(key=lambda frame: frame.serial or 0)
        return held


def _is_news(frame: Frame, place: Position | None, replay: ReplayBuffers) -> bool:
    """Whether a frame is new to a connection that is at ``place`` of its channel."""
    if place is None or (frame.serial is None and frame.event != INTERRUPTED):
        return True
    if frame.serial is not None and frame.stream_id == place.stream_id:
        return frame.serial > place.serial
    # Of another stream: the one before, or one that has followed meanwhile.
    buffer = replay.get(frame.channel or "")
    current = buffer.stream_id if buffer is not None else place.stream_id
    return current != place.stream_id and frame.stream_id in (None, current)
