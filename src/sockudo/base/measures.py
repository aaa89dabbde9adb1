"""What a part of the server gives to the metrics: counters, gauges and distributions, as values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

__all__ = ["BUCKETS_MS", "Buckets", "Distribution", "Labels", "Latency", "MeasureSource", "Numbers"]

Labels = dict[str, str]


class Numbers(NamedTuple):
    """One counter or gauge with its samples. ``prefix`` stands before the name; None is the configured one."""

    name: str
    kind: str
    text: str
    samples: Sequence[tuple[Labels, float]]
    prefix: str | None = None


class Buckets(NamedTuple):
    """Upper bounds as text, the last one ``+Inf``; how many values fell into each; the sum of all values."""

    bounds: Sequence[str]
    counts: Sequence[int]
    total: float


class Distribution(NamedTuple):
    """One histogram with its samples; ``prefix`` as of `Numbers`."""

    name: str
    text: str
    samples: Sequence[tuple[Labels, Buckets]]
    prefix: str | None = None


MeasureSource = Callable[[], Iterable[Numbers | Distribution]]
"""Everything that a part measures, when it is asked; nothing while the part is not open."""


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
