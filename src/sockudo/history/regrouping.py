"""Whether a commit had better wait a moment for the publishers that the one before has answered."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from sockudo.base.clock import Clock
from sockudo.history.calls import Sleep

__all__ = ["Regrouping"]

_LONGEST: Final = 0.05
_SHORTEST: Final = 0.001


class Regrouping:
    """Brings publishers together that each wait for an answer before they publish again.

    Without it they fall into two groups that take turns: while the messages of one are committed, the other waits. When
    those who were answered are seen to come back in less than half the time of a commit, the next one waits for them:
    then one commit takes all, and everybody waits for one instead of two. Where they need longer, or are others every
    time, nothing ever waits.
    """

    def __init__(self, clock: Clock, sleep: Sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._arrivals = 0
        # The number of arrivals at which all that were answered last are back, and when they were answered.
        self._expected = 0
        self._answered_at = 0.0
        self._way_back = math.inf
        self._until = -math.inf
        self._all_back: asyncio.Future[None] | None = None

    def arrived(self) -> None:
        """Somebody has published."""
        self._arrivals += 1
        if self._arrivals == self._expected:
            self._way_back = self._clock.monotonic() - self._answered_at
            if self._all_back is not None and not self._all_back.done():
                self._all_back.set_result(None)

    def answered(self, publishers: int, took: float) -> None:
        """A commit has ended that took so many seconds."""
        if self._arrivals < self._expected:
            self._way_back = math.inf
        self._expected = self._arrivals + publishers
        self._answered_at = self._clock.monotonic()
        self._until = self._answered_at + min(took / 2, _LONGEST) if self._way_back < took / 2 else -math.inf

    async def wait(self) -> None:
        """Returns when the next commit should begin."""
        if self._arrivals >= self._expected:
            return
        left = self._until - self._clock.monotonic()
        if left <= 0:
            return
        self._all_back = asyncio.get_running_loop().create_future()
        timer = asyncio.ensure_future(self._sleep(max(left, _SHORTEST)))
        try:
            await asyncio.wait({timer, self._all_back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            self._all_back = None
