"""The metrics of push (spec: push § 11): what was counted, under names of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from sockudo.push.counters import FAMILIES, PushCounters, Spread

__all__ = ["PREFIX", "PushNumbers", "PushSpread", "push_numbers"]

Labels = dict[str, str]

PREFIX: Final = "sockudo_push_"
"""Of every name, also where another prefix is configured."""


class PushNumbers(NamedTuple):
    """One counter or gauge."""

    name: str
    kind: str
    text: str
    samples: list[tuple[Labels, float]]


class PushSpread(NamedTuple):
    """One histogram."""

    name: str
    text: str
    samples: list[tuple[Labels, Spread]]


def push_numbers(counters: PushCounters) -> Iterator[PushNumbers | PushSpread]:
    """All that have a value; those without labels have one from the start."""
    counts: dict[str, list[tuple[Labels, float]]] = {}
    for found in (counters.counts, counters.gauges):
        for (name, values), value in list(found.items()):
            counts.setdefault(name, []).append((_labels(name, values), float(value)))
    spreads: dict[str, list[tuple[Labels, Spread]]] = {}
    for (name, values), spread in list(counters.spreads.items()):
        spreads.setdefault(name, []).append((_labels(name, values), spread))
    for name, family in FAMILIES.items():
        if family.kind == "histogram":
            if name in spreads:
                yield PushSpread(name, family.text, spreads[name])
        elif name in counts or not family.labels:
            yield PushNumbers(name, family.kind, family.text, counts.get(name, [({}, 0.0)]))


def _labels(name: str, values: tuple[str, ...]) -> Labels:
    return dict(zip(FAMILIES[name].labels, values, strict=True))
