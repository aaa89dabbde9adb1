"""What protocol V2 has to reach: the rows of its table, by groups that can be measured alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Results
from benchmarks.targets import Check
from benchmarks.v2.durable import MESSAGES, STORM
from benchmarks.v2.loads import DOCUMENT, FILTERS, WINDOWS

__all__ = ["GROUPS", "ROWS", "Row", "table"]

Run = tuple[str, str]
Cell = Callable[[Results], str]

_RATE = "per_server_cpu_second"


@dataclass(frozen=True)
class Row:
    """A promise. ``runs`` (subject, load) decide it: when one of them failed there is no figure.

    ``ours`` and ``beside`` write the figure, and what it is compared with.
    """

    work: str
    runs: tuple[Run, ...]
    ours: Cell
    beside: Cell
    checks: tuple[Check, ...]

    def measured(self, results: Results) -> bool:
        return all(results.of(*run) for run in self.runs)

    def cells(self, results: Results) -> list[str]:
        fault = next(filter(None, (results.fault(*run) for run in self.runs)), "")
        words = {True: "yes", False: "no", None: "-"}
        found = [] if fault else self.checks
        return [
            self.work,
            fault or self.ours(results),
            "" if fault else self.beside(results),
            "\n".join(check.found(results) for check in found),
            "\n".join(check.wanted() for check in self.checks),
            "OUT" if fault else "\n".join(words[check.holds(results)] for check in found),
        ]


def _nothing(_: Results) -> str:
    return "-"


def _cell(text: str, *figures: tuple[Run, tuple[str, ...], float]) -> Cell:
    """The text with medians in it, each divided by its scale; ``-`` when one is missing."""

    def cell(results: Results) -> str:
        values = [(results.median(*run, *path), scale) for run, path, scale in figures]
        return "-" if any(value is None for value, _ in values) else text.format(*(value / scale for value, scale in values if value is not None))

    return cell


def _rate(run: Run, name: str = "", digits: int = 0) -> Cell:
    text = "{:,.%df} k/s" % digits
    return _cell(f"{name}: {text}" if name else text, (run, (_RATE,), 1000))


def _of(run: Run, *path: str, scale: float = 1.0) -> Callable[[Results], float | None]:
    def figure(results: Results) -> float | None:
        value = results.median(*run, *path)
        return None if value is None else value / scale

    return figure


def _ratio(unit: str, at_least: float, over: Run, under: Run, *path: str) -> Check:
    return Check(unit, at_least, lambda results: results.ratio(over, under, *(path or (_RATE,))))


def _beside(work: str, ours: Run, other: Run, name: str, at_least: float, digits: int = 0) -> Row:
    return Row(work, (ours, other), _rate(ours, digits=digits), _rate(other, name, digits), (_ratio(f"× {name}", at_least, ours, other),))


def _each(rows: Callable[[int], Row]) -> list[Row]:
    return [rows(window) for window in WINDOWS]


# ---- fan-out ----

_FAN = [
    *_each(lambda window: _beside(f"V2 JSON, 1,000 subscribers, {window} in flight", ("v2", f"fan-{window}"), ("v1", f"fan-{window}"), "V1", 0.85)),
    _beside("V2 JSON, 1,000 channels of 3, 16 in flight", ("v2", "channels"), ("v1", "channels"), "V1", 0.85),
]
_SHAPES = _each(
    lambda window: _beside(
        f"V1 JSON, V2 JSON, MessagePack and Protobuf, 250 subscribers each, {window} in flight", ("shapes", f"fan-{window}"), ("v1", f"fan-{window}"), "V1", 0.7
    )
)
_RECOVERY = [
    *_each(lambda window: _beside(f"recoverable, 1,000 subscribers, {window} in flight", ("recovery", f"fan-{window}"), ("v2", f"fan-{window}"), "plain V2", 0.85)),
    _beside("recoverable publishes nobody reads, 16 in flight", ("recovery", "publish"), ("v2", "publish"), "plain V2", 0.85, 1),
]


# ---- filters and deltas ----


def _filter_row(window: int) -> Row:
    ours, other = ("filtered", f"filter-{window}"), ("unfiltered", f"filter-{window}")
    row = _beside(f"{FILTERS} different tag filters, 1,000 subscribers, {window} in flight", ours, other, "unfiltered", 0.6)
    if window != 16:
        return row
    once = Check("evaluations for each publish", FILTERS, _of(("counted", "filter-16"), "evaluations"), at_most=True, digits=1)
    return Row(row.work, (*row.runs, ("counted", "filter-16")), row.ours, row.beside, (*row.checks, once))


def _fewer(results: Results) -> float | None:
    """What share of the bytes of a whole message a difference saves; as they are delivered, in per cent."""
    part, whole = results.median("delta", "delta", "bytes_per_delta"), results.median("whole", "delta", "bytes_per_delivery")
    return None if part is None or not whole else 100 * (1 - part / whole)


_WHOLE, _DELTA = ("whole", "delta"), ("delta", "delta")
_DELTAS = [
    Row(
        f"one changed field of {DOCUMENT:,} bytes of JSON as Fossil deltas, 1,000 subscribers, 16 in flight",
        (_DELTA, _WHOLE, ("counted", "delta")),
        _cell(
            "{:,.0f} B a delta\n{:,.0f} B a delivery, whole ones between\n{:,.0f} µs CPU a publish",
            (_DELTA, ("bytes_per_delta",), 1),
            (_DELTA, ("bytes_per_delivery",), 1),
            (_DELTA, ("server_cpu_us_per_publish",), 1),
        ),
        _cell("whole: {:,.0f} B\n{:,.0f} µs CPU a publish", (_WHOLE, ("bytes_per_delivery",), 1), (_WHOLE, ("server_cpu_us_per_publish",), 1)),
        (
            Check("% fewer bytes in a delta", 90, _fewer, digits=1),
            Check("encodings for each publish", 1, _of(("counted", "delta"), "encodings"), at_most=True),
        ),
    )
]


# ---- on disk ----


def _publishes(run: Run) -> Cell:
    return _cell("{:,.0f}/s, p99 {:.1f} ms\n{:,.0f} µs CPU each", (run, ("per_second",), 1), (run, ("ack_ms", "p99"), 1), (run, ("server_cpu_us_per_publish",), 1))


def _pace(run: Run, at_least: int) -> Check:
    return Check("/s", at_least, _of(run, "per_second"), digits=0)


def _patience(run: Run) -> Check:
    return Check("ms p99", 50, _of(run, "ack_ms", "p99"), at_most=True, digits=1)


_GROUPED, _SINGLE, _BARE, _POSTGRES = ("grouped", "sqlite"), ("single", "sqlite"), ("bare", "sqlite"), ("grouped", "postgres")
_SQLITE = [
    Row(
        "durable publishes, SQLite, 64 in flight",
        (_GROUPED, _SINGLE, _BARE),
        _publishes(_GROUPED),
        _cell("one a commit: {:,.0f}/s\na bare program: {:,.0f}/s", (_SINGLE, ("per_second",), 1), (_BARE, ("per_second",), 1)),
        (_pace(_GROUPED, 8000), _patience(_GROUPED), _ratio("× one a commit", 5, _GROUPED, _SINGLE, "per_second")),
    )
]
_POSTGRESQL = [Row("durable publishes, PostgreSQL here, 64 in flight", (_POSTGRES,), _publishes(_POSTGRES), _nothing, (_pace(_POSTGRES, 4000),))]

_PAGES = ("pages", "pages")


_PAGES_CELL = _cell(
    "p50 {:.1f} ms, p99 {:.1f} ms\nof {:,.0f} messages\n{:.2f} ms CPU each",
    (_PAGES, ("p50",), 1),
    (_PAGES, ("p99",), 1),
    (_PAGES, ("messages",), 1),
    (_PAGES, ("cpu_ms_per_page",), 1),
)
_HISTORY = [
    Row(
        "history page of 100, anywhere in a long stream",
        (_PAGES,),
        _PAGES_CELL,
        _nothing,
        (Check("ms p99", 20, _of(_PAGES, "p99"), at_most=True, digits=1),),
    )
]


def _resume(subject: str, work: str) -> Row:
    run = (subject, subject)
    cell = _cell("p50 {:.1f} ms, p99 {:.1f} ms, 8 at a time", (run, ("answer_ms", "p50"), 1), (run, ("answer_ms", "p99"), 1))
    return Row(work, (run,), cell, _nothing, (Check("ms CPU each", 2, _of(run, "cpu_ms_per_resume"), at_most=True),))


_RESUMES = [_resume("hot", f"resume of {MESSAGES} messages, from the replay buffer"), _resume("cold", f"resume of {MESSAGES} messages, from SQLite")]

_STORM = ("storm", "storm")
_RESTART = [
    Row(
        f"{STORM:,} connect and resume at once after a restart",
        (_STORM,),
        _cell("all in {:.2f} s\nlive p50 {:.1f} ms", (_STORM, ("seconds",), 1), (_STORM, ("live", "latency_ms", "p50"), 1)),
        _nothing,
        (
            Check("s until the last answer", 3, _of(_STORM, "seconds"), at_most=True),
            Check("ms p99 of live traffic", 250, _of(_STORM, "live", "latency_ms", "p99"), at_most=True, digits=0),
        ),
    )
]

GROUPS = {
    "fan": _FAN,
    "shapes": _SHAPES,
    "recovery": _RECOVERY,
    "filters": [_filter_row(window) for window in WINDOWS],
    "delta": _DELTAS,
    "sqlite": _SQLITE,
    "postgres": _POSTGRESQL,
    "pages": _HISTORY,
    "resume": _RESUMES,
    "restart": _RESTART,
}
ROWS = [row for rows in GROUPS.values() for row in rows]


def table(results: Results) -> list[list[str]]:
    """One row for each promise that was measured."""
    head = ["work", "found", "beside", "decides", "must reach", "reached"]
    return [head, *(row.cells(results) for row in ROWS if row.measured(results))]
