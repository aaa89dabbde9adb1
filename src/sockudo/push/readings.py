"""How full the queue is, looked at often but read seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from sockudo.base.clock import Clock
from sockudo.jobs.ports import Depth, JobQueue
from sockudo.push.queue import Stage

__all__ = ["QueueReadings"]

_SECONDS: Final = 0.25
_SHARES_SECONDS: Final = 1.0


class QueueReadings:
    """The depths of every stage, at most a quarter of a second old; those who ask at once share one question."""

    def __init__(self, queue: JobQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._read_at = float("-inf")
        self._depths: Mapping[str, Depth] = {}
        self._shares: dict[Stage, tuple[float, Mapping[str, Depth]]] = {}
        self._lock = asyncio.Lock()

    async def depths(self) -> Mapping[str, Depth]:
        """Raises errors.SERVICE_UNAVAILABLE when the queue does not answer."""
        if self._fresh():
            return self._depths
        async with self._lock:
            if not self._fresh():
                self._depths = await self._queue.depths(int(self._clock.time() * 1000))
                self._read_at = self._clock.monotonic()
        return self._depths

    async def shares(self, stage: Stage) -> Mapping[str, Depth]:
        """Of each app in a stage, at most a second old. Raises errors.SERVICE_UNAVAILABLE when the queue does not
        answer.
        """
        async with self._lock:
            read_at, shares = self._shares.get(stage, (float("-inf"), {}))
            if self._clock.monotonic() - read_at >= _SHARES_SECONDS:
                shares = await self._queue.shares(stage, int(self._clock.time() * 1000))
                self._shares[stage] = self._clock.monotonic(), shares
        return shares

    def _fresh(self) -> bool:
        return self._clock.monotonic() - self._read_at < _SECONDS
