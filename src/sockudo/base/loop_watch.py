"""How long the event loop was blocked: what clients feel as latency, from any cause."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Final

import structlog

__all__ = ["LoopWatch"]

_log = structlog.get_logger("sockudo.loop")

# Waking up more often would cost an idle server more than all else it does.
_INTERVAL = 0.025
_WARN = 0.05
# A block is seen short by up to an interval, as it may begin right after a look: by half of one on average.
_STALL = _WARN - _INTERVAL / 2
_UNNOTICED = 0.1 - _INTERVAL / 2
_WARN_AT_MOST_EVERY = 10.0
_OWN_WORK: Final = "the server's own work"
_NO_CPU: Final = "the machine gave it no CPU: other processes, a limit, or a paused virtual machine"
_REMEDIES: Final = {
    _OWN_WORK: "fewer connections or messages for this node, or cheaper filters and deltas",
    _NO_CPU: "give the server a core of its own",
}

# Measurements that are remembered: those of about ten seconds.
_RECENT: Final = 400


class LoopWatch:
    """Sleeps for a moment again and again and measures how much later than asked it wakes. Milliseconds.

    ``now`` is real time even where the server runs on another clock: it is the machine that is watched. ``busy`` is the
    CPU time of the loop's thread: a block in which it had little of it is the machine's. ``waiting`` counts who would
    have noticed, the connections; without any only a long block is worth a line.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        busy: Callable[[], float] = time.thread_time,
        waiting: Callable[[], int] = lambda: 1,
    ) -> None:
        self._now = now
        self._busy = busy
        self._waiting = waiting
        self.worst_since_read_ms = 0.0
        self._warned_at = -_WARN_AT_MOST_EVERY
        self._unsaid = 0
        self.worst_ms = 0.0
        self.stalls = 0
        # The last measurements, the newest last, and how many there ever were.
        self.recent: deque[float] = deque(maxlen=_RECENT)
        self.measured = 0

    async def run(self) -> None:
        """Watches until cancelled; a block of about 50 ms or more is a warning, at most one every ten seconds.

        Without connections it has to be about 100 ms.
        """
        while True:
            before, worked = self._now(), self._busy()
            await asyncio.sleep(_INTERVAL)
            self.note(self._now() - before - _INTERVAL, self._busy() - worked)

    def note(self, late: float, worked: float | None = None) -> None:
        """Takes in one measurement, in seconds; ``worked`` is the CPU time of the loop's thread meanwhile."""
        milliseconds = max(0.0, late * 1000)
        self.worst_since_read_ms = max(self.worst_since_read_ms, milliseconds)
        self.worst_ms = max(self.worst_ms, milliseconds)
        self.recent.append(milliseconds)
        self.measured += 1
        if late <= _STALL:
            return
        self.stalls += 1
        self._unsaid += 1
        if late <= _UNNOTICED and not self._waiting():
            return
        now = self._now()
        if now - self._warned_at >= _WARN_AT_MOST_EVERY:
            hint = {}
            if worked is not None:
                cause = _OWN_WORK if worked >= late / 2 else _NO_CPU
                hint = {"cause": cause, "remedy": _REMEDIES[cause]}
            _log.warning("the event loop was blocked", milliseconds=round(milliseconds), times=self._unsaid, **hint)
            self._warned_at, self._unsaid = now, 0

    def p99_ms(self) -> float | None:
        """What 99 of 100 measurements of the last ten seconds stayed below; None before the first one."""
        ordered = sorted(self.recent)
        return ordered[ceil(0.99 * len(ordered)) - 1] if ordered else None

    def take_worst_ms(self) -> float:
        """The worst since the last call: what a scrape reports, so that no stall falls between two scrapes."""
        worst, self.worst_since_read_ms = self.worst_since_read_ms, 0.0
        return worst
