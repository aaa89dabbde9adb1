"""What a part of the server gives to the metrics: counters, gauges and distributions, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

__all__ = ["Buckets", "Distribution", "Labels", "MeasureSource", "Numbers"]

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
