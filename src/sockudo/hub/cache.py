"""The last event of each cache channel (spec: websocket § 6.6)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from sockudo.protocol.formats import for_v1
from sockudo.protocol.frames import Frame

__all__ = ["CachedEvent", "ChannelCache"]


_encode = msgspec.json.Encoder().encode


class CachedEvent(NamedTuple):
    """An event, and the monotonic second at which it is forgotten."""

    frame: Frame
    expires_at: float

    @property
    def shown(self) -> Frame:
        """What a newcomer gets: the event without a place in a stream (spec: websocket § 6.6)."""
        return for_v1(self.frame)

    @property
    def text(self) -> bytes:
        """Its JSON text, with nothing that only protocol V2 has."""
        return _encode(for_v1(self.frame))


class ChannelCache:
    """Keeps one event per cache channel for ``ttl`` seconds; at ``capacity`` the one written longest ago goes.

    ``ttl`` may change; it holds for what is kept from then on.
    """

    __slots__ = ("_capacity", "_events", "ttl")

    def __init__(self, ttl: float, capacity: int) -> None:
        self.ttl = ttl
        self._capacity = capacity
        self._events: dict[str, CachedEvent] = {}

    def __len__(self) -> int:
        return len(self._events)

    def put(self, channel: str, frame: Frame, now: float) -> None:
        """The last write wins."""
        self._events.pop(channel, None)
        if len(self._events) >= self._capacity:
            del self._events[next(iter(self._events))]
        self._events[channel] = CachedEvent(frame, now + self.ttl)

    def get(self, channel: str, now: float) -> CachedEvent | None:
        """The event, unless there is none or its time has passed."""
        event = self._events.get(channel)
        if event is None:
            return None
        if event.expires_at <= now:
            del self._events[channel]
            return None
        return event
