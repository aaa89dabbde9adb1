"""Time, passed in: the domain never asks the system what time it is."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Both readings of time that the server needs."""

    def monotonic(self) -> float:
        """Seconds that never go back: for intervals and deadlines."""
        ...

    def time(self) -> float:
        """Unix seconds: for timestamps that others see or sent."""
        ...


class SystemClock:
    """The machine's own clock, without a call in between: it is read for every message."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
