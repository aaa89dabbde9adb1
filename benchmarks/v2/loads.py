"""The loads of one generator each: which server, what the subscribers ask for, and in which rows the figure stands."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CASES", "DOCUMENT", "FILTERS", "SHAPES", "STREAM", "WINDOWS", "Case"]

WINDOWS = (1, 16, 64)
FILTERS = 50
# Bytes of the document that is sent as differences.
DOCUMENT = 4096
# The channel of the long history.
STREAM = "long"
SHAPES = "protocol=7,protocol=2,protocol=2&format=msgpack,protocol=2&format=protobuf"

_V1 = ("--query", "protocol=7")
_V2 = ("--query", "protocol=2")


@dataclass(frozen=True)
class Case:
    """``subject`` under ``load``; cases of one load are measured one after the other. ``groups`` are those of its rows."""

    subject: str
    load: str
    server: str
    arguments: tuple[str, ...]
    groups: tuple[str, ...]
    payload: int = 100


def _fan(window: int) -> list[Case]:
    load, size = f"fan-{window}", ("-c", "1000", "-w", str(window))
    return [
        Case("v1", load, "plain", (*size, *_V1), ("fan", "shapes")),
        Case("v2", load, "plain", (*size, *_V2), ("fan", "recovery")),
        Case("shapes", load, "plain", (*size, "--query", SHAPES), ("shapes",)),
        Case("recovery", load, "recovery", (*size, *_V2), ("recovery",)),
    ]


def _filtered(window: int) -> list[Case]:
    load, size = f"filter-{window}", ("-c", "1000", "-w", str(window), *_V2)
    return [
        Case("unfiltered", load, "filters", (*size, "--tags"), ("filters",)),
        Case("filtered", load, "filters", (*size, "--filters", str(FILTERS)), ("filters",)),
    ]


_DOCUMENT = ("-c", "1000", "-w", "16", "--document", *_V2)

CASES = [
    *(case for window in WINDOWS for case in _fan(window)),
    *(Case(f"v{version}", "channels", "plain", ("-n", "1000", "-c", "3000", "-w", "16", "--query", query), ("fan",)) for version, query in ((1, "protocol=7"), (2, "protocol=2"))),
    Case("v2", "publish", "plain", ("-x", "-w", "16"), ("recovery",)),
    Case("recovery", "publish", "recovery", ("-x", "-w", "16"), ("recovery",)),
    *(case for window in WINDOWS for case in _filtered(window)),
    Case("whole", "delta", "plain", _DOCUMENT, ("delta",), DOCUMENT),
    Case("delta", "delta", "plain", (*_DOCUMENT, "--delta"), ("delta",), DOCUMENT),
]
