"""What the history has done so far, as plain numbers (contract 30 § 9)."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

__all__ = ["WRITE_BUCKETS_MS", "HistoryCounters"]

WRITE_BUCKETS_MS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0)


@dataclass(slots=True)
class HistoryCounters:
    """Everything only grows. Messages are counted in ``writes`` and ``write_failures``, transactions in the latency.

    ``latency`` has the commits per bucket of `WRITE_BUCKETS_MS` and one for everything above, ``latency_sum_ms`` the
    time they took. ``evictions`` are rows and keys that the background removed, ``refused_busy`` publishes that found
    the queue full, ``degradations`` and ``healings`` changes of a stream's state.
    """

    writes: int = 0
    write_failures: int = 0
    refused_busy: int = 0
    evictions: int = 0
    degradations: int = 0
    healings: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * (len(WRITE_BUCKETS_MS) + 1))
    latency_sum_ms: float = 0.0

    def note_commit(self, seconds: float) -> None:
        """A transaction was confirmed."""
        milliseconds = seconds * 1000
        self.latency[bisect_left(WRITE_BUCKETS_MS, milliseconds)] += 1
        self.latency_sum_ms += milliseconds
