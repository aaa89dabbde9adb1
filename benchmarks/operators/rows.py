"""What operators' work may cost: the rows of the table, by groups that can be measured alone."""

from __future__ import annotations

from benchmarks.operators.loads import CHANGES, MESSAGES
from benchmarks.results import Results
from benchmarks.targets import Check
from benchmarks.v2.rows import Row

__all__ = ["GROUPS", "ROWS", "table"]

_TOLD, _UNTOLD = ("webhooks", "webhooks"), ("no webhooks", "webhooks")
_WATCHED, _UNWATCHED = ("one watcher", "inspector"), ("nobody", "inspector")
_FULL = ("dashboard", "dashboard")


def _written(text: str, *values: float | None) -> str:
    return "-" if None in values else text.format(*values)


def _publishes(results: Results, run: tuple[str, str], name: str = "") -> str:
    return _written(f"{name}p50 {{:.1f}} ms, p99 {{:.1f}} ms", results.median(*run, "ack_ms", "p50"), results.median(*run, "ack_ms", "p99"))


def _messages(results: Results, run: tuple[str, str], name: str = "") -> str:
    busy, rate = results.median(*run, "server_busy"), results.median(*run, "per_server_cpu_second")
    return _written(f"{name}{{:.1f}} k/s\n{{:.0f}} ms CPU a second", rate and rate / 1000, busy and busy * 1000)


def _pages(results: Results) -> str:
    text = "p50 {:.1f} ms, p99 of the slowest {:.1f} ms\n{:,.0f} connections, {:,.0f} channels\n"
    figures = [results.median(*_FULL, name) for name in ("p50", "p99", "connections", "channels")]
    slowest = dict.fromkeys(str(run.get("slowest")) for run in results.of(*_FULL))
    return _written(text, *figures) + ", ".join(slowest)


GROUPS = {
    "webhooks": [
        Row(
            f"publishes to a presence channel under {CHANGES:,} joins and leaves a second, with three webhooks: one dead, one that takes 5 s",
            (_TOLD, _UNTOLD),
            lambda results: _publishes(results, _TOLD),
            lambda results: _publishes(results, _UNTOLD, "without webhooks: "),
            (Check("× the p99 without", 1.2, lambda results: results.ratio(_TOLD, _UNTOLD, "ack_ms", "p99"), at_most=True),),
        )
    ],
    "inspector": [
        Row(
            f"{MESSAGES:,} messages a second while one watches the inspector",
            (_WATCHED, _UNWATCHED),
            lambda results: _messages(results, _WATCHED),
            lambda results: _messages(results, _UNWATCHED, "unwatched: "),
            (Check("× unwatched", 0.85, lambda results: results.ratio(_WATCHED, _UNWATCHED, "per_server_cpu_second")),),
        )
    ],
    "dashboard": [
        Row(
            "every page and list of the dashboard, on a full server",
            (_FULL,),
            _pages,
            lambda _: "-",
            (Check("ms p99", 100, lambda results: results.median(*_FULL, "p99"), at_most=True, digits=0),),
        )
    ],
}
ROWS = [row for rows in GROUPS.values() for row in rows]


def table(results: Results) -> list[list[str]]:
    """One row for each promise that was measured."""
    head = ["work", "found", "beside", "decides", "must reach", "reached"]
    return [head, *(row.cells(results) for row in ROWS if row.measured(results))]
