"""How full the queue is, looked at often but read seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from sockudo.clock import Clock
from sockudo.push.queue import Depth, PushQueue, Stage

__all__ = ["QueueReadings"]

_SECONDS: Final = 0.25


class QueueReadings:
    """The depths of every stage, at most a quarter of a second old; those who ask at once share one question."""

    def __init__(self, queue: PushQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._read_at = float("-inf")
        self._depths: Mapping[Stage, Depth] = {}
        self._lock = asyncio.Lock()

    async def depths(self) -> Mapping[Stage, Depth]:
        """Raises errors.SERVICE_UNAVAILABLE when the queue does not answer."""
        if self._fresh():
            return self._depths
        async with self._lock:
            if not self._fresh():
                self._depths = await self._queue.depths(int(self._clock.time() * 1000))
                self._read_at = self._clock.monotonic()
        return self._depths

    def _fresh(self) -> bool:
        return self._clock.monotonic() - self._read_at < _SECONDS
