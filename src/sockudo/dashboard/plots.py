"""Which numbers the overview shows, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from sockudo.dashboard.ring import Rows

__all__ = ["PLOTS", "TILES", "Figures", "Line", "Numbers", "Plot", "Tile", "numbers", "shown"]

Unit = Literal["count", "rate", "bytes", "byte rate", "ms"]


class Line(NamedTuple):
    """A line of a plot: the series of a sample, and what it is called."""

    series: str
    label: str


class Plot(NamedTuple):
    """One plot; its lines share an axis."""

    id: str
    title: str
    unit: Unit
    lines: tuple[Line, ...]


class Tile(NamedTuple):
    """The newest value of a series, large; ``link`` is the page with details."""

    title: str
    unit: Unit
    series: str
    link: str | None = None


class Figures(NamedTuple):
    """The numbers of a wing: ``read`` gives a value for each of its ``series``, NaN for what is not known.

    It is called every two seconds, and waits for nothing.
    """

    series: tuple[str, ...]
    read: Callable[[], tuple[float, ...]]
    tiles: tuple[Tile, ...] = ()
    plots: tuple[Plot, ...] = ()


class Numbers(NamedTuple):
    """A line in three values, for readers who do not see it."""

    now: float | None
    lowest: float | None
    highest: float | None


TILES: Final = (
    Tile("Connections", "count", "connections", "/dashboard/connections"),
    Tile("Channels", "count", "channels", "/dashboard/channels"),
    Tile("Messages", "rate", "messages_per_second", "/dashboard/inspector"),
    Tile("Deliveries", "rate", "deliveries_per_second"),
    Tile("Errors", "rate", "errors_per_second", "/dashboard/why"),
    Tile("Loop lag, p99", "ms", "loop_lag_p99_ms"),
    Tile("Memory", "bytes", "memory_bytes"),
)

PLOTS: Final = (
    Plot("connections", "Connections", "count", (Line("connections", "Connections"),)),
    Plot("channels", "Channels", "count", (Line("channels", "Channels"),)),
    Plot("messages", "Messages", "rate", (Line("messages_per_second", "Published"),)),
    Plot("deliveries", "Deliveries", "rate", (Line("deliveries_per_second", "Delivered"),)),
    Plot(
        "traffic",
        "Traffic of connections",
        "byte rate",
        (Line("bytes_sent_per_second", "Sent"), Line("bytes_received_per_second", "Received")),
    ),
    Plot("requests", "HTTP API requests", "rate", (Line("requests_per_second", "Requests"),)),
    Plot(
        "errors",
        "Errors",
        "rate",
        (Line("errors_per_second", "Errors"), Line("rate_limited_per_second", "Rate limited")),
    ),
    Plot("lag", "Event loop lag", "ms", (Line("loop_lag_p99_ms", "p99 of 10 s"), Line("loop_lag_max_ms", "Longest"))),
    Plot("memory", "Resident memory", "bytes", (Line("memory_bytes", "Memory"),)),
)


def numbers(rows: Rows) -> dict[str, Numbers]:
    """By series."""
    return {series: _numbers(column) for series, column in rows.series.items()}


def _numbers(column: Sequence[float]) -> Numbers:
    known = [value for value in column if not isnan(value)]
    if not known:
        return Numbers(None, None, None)
    return Numbers(None if isnan(column[-1]) else column[-1], min(known), max(known))


def shown(value: float | None, unit: Unit) -> str:
    """As people read it; the script of the page writes the same."""
    if value is None:
        return "–"
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "ms":
        return f"{_short(value)} ms"
    if unit == "rate":
        return f"{_short(value)}/s"
    for prefix in ("", "Ki", "Mi", "Gi"):
        if value < 1024 or prefix == "Gi":
            break
        value /= 1024
    return f"{_short(value)} {prefix}B{'/s' if unit == 'byte rate' else ''}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"
