"""What several nodes may cost: the rows of the table, by groups that can be measured alone."""

from __future__ import annotations

from benchmarks.cluster.loads import CHANGES, CHANNELS
from benchmarks.results import Results
from benchmarks.targets import Check
from benchmarks.v2.rows import Row

__all__ = ["GROUPS", "ROWS", "table"]

_RATE = "per_server_cpu_second"
_LATENCY = {"redis": ("Redis", 2, 10), "nats": ("NATS", 2, 10), "postgres": ("PostgreSQL", None, 50)}
_CHANGING = ("three nodes", "changes")

Run = tuple[str, str]


def _written(text: str, *values: float | None) -> str:
    return "-" if None in values else text.format(*values)


def _each(results: Results, run: Run, name: str = "") -> str:
    """The CPU of a delivery, and how many messages a subscriber gets with one write."""
    rate, joined = results.median(*run, _RATE), results.median(*run, "deliveries_per_segment")
    return _written(f"{name}{{:.2f}} µs of CPU, {{:.1f}} in a write", rate and 1e6 / rate, joined)


def _beside(work: str, load: str, ours: str, other: str, check: Check) -> Row:
    return Row(
        work,
        ((ours, load), (other, load)),
        lambda results: _each(results, (ours, load)),
        lambda results: _each(results, (other, load), f"{other}: "),
        (check,),
    )


def _cost(unit: str, limit: float, load: str, ours: str, other: str) -> Check:
    return Check(unit, limit, lambda results: results.ratio((other, load), (ours, load), _RATE), at_most=True)


def _workers(window: int) -> Row:
    load = f"fan-{window}"
    check = _cost("× one worker's", 1.15, load, "two workers", "one worker")
    return _beside(f"two workers, 1,000 subscribers split, {window} in flight", load, "two workers", "one worker", check)


def _quiet(ours: str, beside: str) -> Row:
    def each(results: Results, subject: str, name: str = "") -> str:
        rate = results.median(subject, "publish", _RATE)
        return _written(f"{name}{{:.1f}} µs of CPU", rate and 1e6 / rate)

    return Row(
        f"a publish that nothing elsewhere wants, {ours}",
        ((ours, "publish"), (beside, "publish")),
        lambda results: each(results, ours),
        lambda results: each(results, beside, f"{beside}: "),
        (_cost(f"× {beside}", 1.05, "publish", ours, beside),),
    )


def _latency(name: str) -> Row:
    title, half, most = _LATENCY[name]
    run = (name, "latency")

    def quantile(which: str, limit: float) -> Check:
        return Check(f"ms {which}", limit, lambda results: results.median(*run, "delivery_ms", which), at_most=True, digits=1)

    checks = [quantile("p50", half)] if half is not None else []
    return Row(
        f"1,000 publishes a second at one of three nodes, received at the others over {title}",
        (run,),
        lambda results: _written("{:.0f} µs of CPU of all nodes for each", results.median(*run, "server_cpu_us_per_publish")),
        lambda _: "-",
        (*checks, quantile("p99", most)),
    )


def _changes(results: Results) -> str:
    figures = [results.median(*_CHANGING, name) for name in ("cpu_us", "commands_per_change")]
    return _written("{:.0f} µs of CPU of all nodes and {:.2f} commands to Redis for each", *figures)


GROUPS = {
    "workers": [_workers(16), _workers(1)],
    "quiet": [_quiet("two workers", "two apart"), _quiet("three nodes", "alone")],
    "latency": [_latency(name) for name in _LATENCY],
    "bus": [
        Row(
            "messages through one connection between nodes, there and back into a message",
            (("one connection", "bus"),),
            lambda results: _written("{:.1f} µs of CPU of both nodes", (rate := results.median("one connection", "bus", _RATE)) and 1e6 / rate),
            lambda _: "-",
            (Check("a second and core", 40_000, lambda results: results.median("one connection", "bus", _RATE), digits=0),),
        )
    ],
    "fleet": [
        _beside(
            "three nodes over Redis, 1,000 subscribers on each, 16 in flight",
            "fleet",
            "three nodes",
            "centrifugo",
            _cost("× Centrifugo's", 1, "fleet", "three nodes", "centrifugo"),
        )
    ],
    "changes": [
        Row(
            f"{CHANGES:,} subscribes and unsubscribes a second over {CHANNELS:,} channels on three nodes",
            (_CHANGING,),
            _changes,
            lambda _: "-",
            (
                Check("a second", CHANGES * 0.9, lambda results: results.median(*_CHANGING, "per_second"), digits=0),
                Check("messages at nodes without interest", 0, lambda results: results.median(*_CHANGING, "elsewhere"), at_most=True, digits=0),
                Check("commands for each", 1, lambda results: results.median(*_CHANGING, "commands_per_change"), at_most=True),
            ),
        )
    ],
}
ROWS = [row for rows in GROUPS.values() for row in rows]


def table(results: Results) -> list[list[str]]:
    """One row for each promise that was measured."""
    head = ["work", "found", "beside", "decides", "must reach", "reached"]
    return [head, *(row.cells(results) for row in ROWS if row.measured(results))]
