"""How long the event loop was blocked: what clients feel as latency, whatever the cause."""

from __future__ import annotations

import asyncio

import structlog

from sockudo.clock import Clock

__all__ = ["LoopWatch"]

_log = structlog.get_logger("sockudo.loop")

_INTERVAL = 0.025
_WARN = 0.05
_WARN_AT_MOST_EVERY = 10.0


class LoopWatch:
    """Sleeps for a moment again and again and measures how much later than asked it wakes. Milliseconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._worst_since_read = 0.0
        self._warned_at = -_WARN_AT_MOST_EVERY
        self.last_ms = 0.0
        self.worst_ms = 0.0
        self.stalls = 0

    async def run(self) -> None:
        """Watches until cancelled; a block of over 50 ms is a warning, at most one every ten seconds."""
        while True:
            before = self._clock.monotonic()
            await asyncio.sleep(_INTERVAL)
            self.note(self._clock.monotonic() - before - _INTERVAL)

    def note(self, late: float) -> None:
        """Takes in one measurement, in seconds."""
        self.last_ms = max(0.0, late * 1000)
        self._worst_since_read = max(self._worst_since_read, self.last_ms)
        self.worst_ms = max(self.worst_ms, self.last_ms)
        if late > _WARN:
            self.stalls += 1
            now = self._clock.monotonic()
            if now - self._warned_at >= _WARN_AT_MOST_EVERY:
                self._warned_at = now
                _log.warning("the event loop was blocked", milliseconds=round(self.last_ms), stalls=self.stalls)

    def take_worst_ms(self) -> float:
        """The worst since the last call: what a scrape reports, so that no stall falls between two scrapes."""
        worst, self._worst_since_read = self._worst_since_read, 0.0
        return worst
