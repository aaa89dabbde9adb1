"""How long something takes, as a histogram."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

__all__ = ["BUCKETS_MS", "Latency"]

BUCKETS_MS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0)


class Latency:
    """Counts per bucket of `BUCKETS_MS` and one for everything above; the sum in milliseconds."""

    __slots__ = ("counts", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_MS) + 1)
        self.sum_ms = 0.0

    def note(self, seconds: float) -> None:
        milliseconds = seconds * 1000
        self.counts[bisect_left(BUCKETS_MS, milliseconds)] += 1
        self.sum_ms += milliseconds
