"""What the server has to reach: one row of the table for each promise, with the figures that decide it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Results
from benchmarks.stalled import LIMIT_MESSAGES, PAYLOAD

__all__ = ["ROWS", "Check", "Row"]

Figure = Callable[[Results], float | None]
Cell = Callable[[Results, str], str]

_RATE = "per_server_cpu_second"
# Of the stalled subscriber's queue, and what a process's memory moves by without it.
_QUEUE_MB = LIMIT_MESSAGES * (PAYLOAD + 100) / 2**20
_MEMORY_NOISE_MB = 4


@dataclass(frozen=True)
class Check:
    """One figure and its limit; ``unit`` follows the number in both cells."""

    unit: str
    limit: float
    figure: Figure
    at_most: bool = False
    digits: int = 2

    def found(self, results: Results) -> str:
        value = self.figure(results)
        return "-" if value is None else f"{value:,.{self.digits}f} {self.unit}"

    def wanted(self) -> str:
        limit = f"{self.limit:,.{self.digits}f}".rstrip("0").rstrip(".") if self.digits else f"{self.limit:,.0f}"
        return f"{'at most ' if self.at_most and self.limit else ''}{limit} {self.unit}"

    def holds(self, results: Results) -> bool | None:
        value = self.figure(results)
        if value is None:
            return None
        return value <= self.limit if self.at_most else value >= self.limit


@dataclass(frozen=True)
class Row:
    """A promise: the load it is measured with, how a peer's own figure is written, and the checks that decide it."""

    load: str
    work: str
    figure: Cell
    checks: tuple[Check, ...]

    def reached(self, results: Results) -> list[str]:
        """For each check ``yes``, ``no``, ``OUT`` when a run failed, or ``-`` when a figure is missing."""
        if results.fault("sockudo", self.load):
            return ["OUT"]
        words = {True: "yes", False: "no", None: "-"}
        return [words[check.holds(results)] for check in self.checks]


def _written(value: float | None, text: str, scale: float = 1.0) -> str:
    return "-" if value is None else text.format(value / scale)


def _rate(load: str, digits: int = 0) -> Cell:
    return lambda results, peer: _written(results.median(peer, load, _RATE), "{:,.%df} k/s" % digits, 1000)


def _to_uws(load: str, at_least: float, unit: str = "× uWS") -> Check:
    return Check(unit, at_least, lambda results: results.ratio(("sockudo", load), ("uws", load), _RATE))


def _fan(window: int, *checks: Check) -> Row:
    load = f"fan-{window}"
    return Row(load, f"fan-out to 1,000 subscribers, {window} in flight", _rate(load), checks)


def _open_cost(results: Results) -> float | None:
    return results.ratio(("uws", "open"), ("sockudo", "open"), _RATE)


def _open_cell(results: Results, peer: str) -> str:
    busy, p99 = results.median(peer, "open", "server_busy"), results.median(peer, "open", "latency_ms", "p99")
    return "-" if busy is None or p99 is None else f"{busy * 1000:.0f} ms/s, p99 {p99:.1f} ms"


def _crowd_cell(results: Results, peer: str) -> str:
    return _written(results.median(peer, "crowd", "latency_ms", "p99"), "p99 {:.1f} ms")


def _stalled_cell(results: Results, peer: str) -> str:
    runs = results.of(peer, "stalled")
    if not runs:
        return "-"
    closed = ", ".join(dict.fromkeys(str(run.get("closed")) for run in runs))
    return f"closed {closed}"


def _closed_wrongly(results: Results) -> float | None:
    runs = results.of("sockudo", "stalled")
    return sum(run.get("closed") != "4100" for run in runs) if runs else None


def _of_sockudo(load: str, *path: str, scale: float = 1.0) -> Figure:
    def figure(results: Results) -> float | None:
        value = results.median("sockudo", load, *path)
        return None if value is None else value / scale

    return figure


ROWS = [
    _fan(
        1,
        _to_uws("fan-1", 0.75),
        Check("× the floor's CPU", 1.5, lambda results: results.ratio(("floor", "fan-1"), ("sockudo", "fan-1"), _RATE), at_most=True),
    ),
    _fan(4, _to_uws("fan-4", 0.8)),
    _fan(16, _to_uws("fan-16", 0.8)),
    _fan(
        64,
        _to_uws("fan-64", 8),
        Check("× our own for 1", 15, lambda results: results.ratio(("sockudo", "fan-64"), ("sockudo", "fan-1"), _RATE)),
    ),
    Row("channels", "1,000 channels of 3, 16 in flight", _rate("channels"), (_to_uws("channels", 0.45),)),
    Row(
        "open",
        "open loop, 100/s to 500 subscribers",
        _open_cell,
        (
            Check("× uWS's CPU", 1.2, _open_cost, at_most=True),
            Check("× uWS's p99", 2, lambda results: results.ratio(("sockudo", "open"), ("uws", "open"), "latency_ms", "p99"), at_most=True),
        ),
    ),
    Row(
        "publish",
        "signed publishes nobody reads, 16 in flight",
        _rate("publish", 1),
        (
            _to_uws("publish", 0.4, "× uWS's unsigned"),
            Check("× a Starlette route", 3, lambda results: results.ratio(("sockudo", "publish"), ("starlette", "publish"), _RATE)),
        ),
    ),
    Row(
        "connections",
        "connect and subscribe",
        lambda results, peer: _written(results.median(peer, "connections", "connect_cpu_us"), "{:.0f} µs"),
        (Check("µs each", 300, _of_sockudo("connections", "connect_cpu_us"), at_most=True, digits=0),),
    ),
    Row(
        "connections",
        "idle connection, at 5,000",
        lambda results, peer: _written(results.median(peer, "connections", "rss_kb_per_connection"), "{:.1f} KB"),
        (Check("KB each", 14, _of_sockudo("connections", "rss_kb_per_connection"), at_most=True, digits=1),),
    ),
    Row(
        "crowd",
        "small channel beside a busy one of 15,000",
        _crowd_cell,
        (
            Check("ms longest loop turn", 30, lambda results: results.lowest("sockudo", "crowd", "longest_turn_ms"), at_most=True, digits=0),
            Check("ms p99", 50, _of_sockudo("crowd", "latency_ms", "p99"), at_most=True, digits=0),
        ),
    ),
    Row(
        "stalled",
        "a subscriber that stops reading among 1,000",
        _stalled_cell,
        (
            Check("lost", 0, _of_sockudo("stalled", "lost"), at_most=True, digits=0),
            Check("% slower", 10, _of_sockudo("stalled", "slower", scale=0.01), at_most=True, digits=0),
            Check("closed otherwise", 0, _closed_wrongly, at_most=True, digits=0),
            Check("MB more", round(_QUEUE_MB + _MEMORY_NOISE_MB, 1), _of_sockudo("stalled", "growth_mb"), at_most=True, digits=1),
        ),
    ),
]
