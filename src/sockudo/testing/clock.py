"""A clock for tests: it stands still until it is moved."""

from __future__ import annotations

import time as system

__all__ = ["FakeClock"]


class FakeClock:
    """A `sockudo.base.clock.Clock` that only `advance` moves.

    It begins at the real time of day, so that requests which others sign with the real time are accepted; pass ``time``
    for a fixed one. May be read and moved from any thread.
    """

    def __init__(self, time: float | None = None) -> None:
        self._time = system.time() if time is None else time
        self._monotonic = 0.0

    def monotonic(self) -> float:
        """Seconds since the clock was made, as far as it was moved."""
        return self._monotonic

    def time(self) -> float:
        """Unix seconds."""
        return self._time + self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both readings forward; raises ValueError for a step back."""
        if seconds < 0:
            raise ValueError(f"time does not go back ({seconds} s)")
        self._monotonic += seconds
