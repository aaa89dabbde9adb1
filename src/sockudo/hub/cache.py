"""The last event of each cache channel (spec: websocket § 6.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from sockudo.protocol.formats import for_v1
from sockudo.protocol.frames import Frame

__all__ = ["CachedEvent", "ChannelCache"]


_encode = msgspec.json.Encoder().encode


class CachedEvent(NamedTuple):
    """An event, the monotonic second at which it is forgotten, and the one since which it is the last."""

    frame: Frame
    expires_at: float
    kept_at: float

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
        self._put(channel, CachedEvent(frame, now + self.ttl, now))

    def offer(self, channel: str, frame: Frame, kept_at: float, now: float) -> None:
        """Keeps an event that was the last one elsewhere since ``kept_at``, unless there is a newer one here."""
        known = self.get(channel, now)
        if kept_at + self.ttl > now and (known is None or _is_newer(frame, kept_at, known)):
            self._put(channel, CachedEvent(frame, kept_at + self.ttl, kept_at))

    def _put(self, channel: str, event: CachedEvent) -> None:
        self._events.pop(channel, None)
        if len(self._events) >= self._capacity:
            del self._events[next(iter(self._events))]
        self._events[channel] = event

    def events(self, now: float) -> Iterator[tuple[str, CachedEvent]]:
        """Every event by its channel; they must not change while they are walked."""
        return ((channel, event) for channel, event in self._events.items() if event.expires_at > now)

    def get(self, channel: str, now: float) -> CachedEvent | None:
        """The event, unless there is none or its time has passed."""
        event = self._events.get(channel)
        if event is None:
            return None
        if event.expires_at <= now:
            del self._events[channel]
            return None
        return event


def _is_newer(frame: Frame, kept_at: float, known: CachedEvent) -> bool:
    if frame.serial is not None and known.frame.serial is not None and frame.stream_id == known.frame.stream_id:
        return frame.serial > known.frame.serial
    return kept_at > known.kept_at
