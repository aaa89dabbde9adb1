"""The last events of cache channels in a store outside of the nodes (spec: platform § 4.1).

They are written behind the publish, the last one of each channel: a publisher never waits for the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import blake2b
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.owners import OwnerCounts, Sleep
from sockudo.cluster.stores import CacheStore, StoredEvent
from sockudo.errors import SockudoError
from sockudo.protocol.frames import Frame
from sockudo.publishing.nodes import Message
from sockudo.publishing.topics import Place

__all__ = ["StoredEvents"]

# Channels whose event waits for the store, those that are written at once, and the seconds after a failure.
_MOST: Final = 20_000
_AT_ONCE: Final = 500
_PAUSE: Final = 1.0
# Seconds for what waits at the end.
_LAST: Final = 2.0

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Message).decode


class _Waiting(NamedTuple):
    frame: Frame
    until: float


class StoredEvents:
    """The events of all cache channels, as far as this node publishes or asks for them."""

    def __init__(
        self, store: CacheStore, now: Callable[[], float], counts: OwnerCounts, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._store = store
        self._now = now
        self._counts = counts
        self._sleep = sleep
        self._waiting: dict[Place, _Waiting] = {}
        self._writing: list[asyncio.Task[None]] = []

    async def close(self) -> None:
        """Writes what waits, if the store takes it within two seconds."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=_LAST)
        await end_tasks(self._writing)

    def put(self, place: Place, frame: Frame, ttl: float) -> None:
        """Keeps an event as the last one of its channel, soon. A store that is away gets those that came last."""
        self._waiting.pop(place, None)
        if len(self._waiting) >= _MOST:
            del self._waiting[next(iter(self._waiting))]
            self._counts.events_left_out += 1
        self._waiting[place] = _Waiting(frame, self._now() + ttl)
        if not self._writing or self._writing[0].done():
            self._writing = start_tasks(self._write())

    async def get(self, place: Place) -> tuple[Message, float] | None:
        """The last event of a channel, and the seconds that it is still kept; None where there is none or no answer."""
        try:
            found = await self._store.get(_hash(place))
            return None if found is None else (_decode(found[0]), found[1])
        except (SockudoError, msgspec.DecodeError):
            # The check of the store says why; what another version wrote may not be readable.
            self._counts.events_unanswered += 1
            return None

    async def _write(self) -> None:
        while self._waiting:
            batch = dict(islice(self._waiting.items(), _AT_ONCE))
            for place in batch:
                del self._waiting[place]
            written = await asyncio.gather(*(self._put(*each) for each in batch.items()))
            failed = {place: batch[place] for place, was in zip(batch, written, strict=True) if not was}
            if failed:
                # What came since then is newer.
                self._waiting = failed | self._waiting
                await self._sleep(_PAUSE)

    async def _put(self, place: Place, waiting: _Waiting) -> bool:
        left = waiting.until - self._now()
        if left <= 0:
            return True
        frame = waiting.frame
        event = StoredEvent(_encode(Message(place.app_id, frame).packed()), frame.stream_id or "", frame.serial or 0)
        try:
            await self._store.put(_hash(place), event, left)
        except SockudoError:
            return False
        return True


def _hash(place: Place) -> bytes:
    return blake2b("\0".join(("event", *place)).encode(), digest_size=16).digest()
