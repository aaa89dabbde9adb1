"""The metrics of push (spec: push § 11): what was counted, under names of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sockudo.base.measures import Buckets, Distribution, Labels, Numbers
from sockudo.push.counters import FAMILIES, PushCounters, Spread

__all__ = ["push_measures"]

_PREFIX: Final = "sockudo_push_"
"""Of every name, also where another prefix is configured."""


def push_measures(counters: PushCounters) -> Iterator[Numbers | Distribution]:
    """All that have a value; those without labels have one from the start."""
    counts: dict[str, list[tuple[Labels, float]]] = {}
    for found in (counters.counts, counters.gauges):
        for (name, values), value in list(found.items()):
            counts.setdefault(name, []).append((_labels(name, values), float(value)))
    spreads: dict[str, list[tuple[Labels, Buckets]]] = {}
    for (name, values), spread in list(counters.spreads.items()):
        spreads.setdefault(name, []).append((_labels(name, values), _buckets(spread)))
    for name, family in FAMILIES.items():
        if family.kind == "histogram":
            if name in spreads:
                yield Distribution(name, family.text, spreads[name], _PREFIX)
        elif name in counts or not family.labels:
            yield Numbers(name, family.kind, family.text, counts.get(name, [({}, 0.0)]), _PREFIX)


def _buckets(spread: Spread) -> Buckets:
    return Buckets((*map(str, spread.bounds), "+Inf"), list(spread.counts), spread.total)


def _labels(name: str, values: tuple[str, ...]) -> Labels:
    return dict(zip(FAMILIES[name].labels, values, strict=True))
