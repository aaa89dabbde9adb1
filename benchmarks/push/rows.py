"""What push has to reach: the rows of its table, by groups that can be measured alone."""

from __future__ import annotations

from benchmarks.push.loads import INFLIGHT
from benchmarks.push.servers import DELAY_MS
from benchmarks.results import Results
from benchmarks.targets import Check
from benchmarks.v2.rows import Row

__all__ = ["GROUPS", "ROWS", "table"]

Run = tuple[str, str]

_ADMISSION, _FCM, _WEB = (("push", name) for name in ("admission", "fcm", "webpush"))
_PUSHED, _PLAIN = ("push", "live"), ("without push", "live")


def _written(text: str, *values: float | None) -> str:
    return "-" if None in values else text.format(*values)


def _admission(results: Results) -> str:
    return _written("{:,.0f}/s, p50 {:.1f} ms, p99 {:.1f} ms", results.median(*_ADMISSION, "per_second"), results.median(*_ADMISSION, "ack_ms", "p50"), results.median(*_ADMISSION, "ack_ms", "p99"))


def _deliveries(results: Results, run: Run) -> str:
    return _written("{:,.0f}/s, {:,.0f} per CPU second\n+ {:.0f} MB", results.median(*run, "per_second"), results.median(*run, "per_server_cpu_second"), results.median(*run, "growth_mb"))


def _live(results: Results, run: Run, name: str = "") -> str:
    return _written(f"{name}p50 {{:.1f}} ms, p99 {{:.1f}} ms", results.median(*run, "latency_ms", "p50"), results.median(*run, "latency_ms", "p99"))


def _rate(run: Run, limit: float) -> Check:
    return Check("per CPU second", limit, lambda results: results.median(*run, "per_server_cpu_second"), digits=0)


GROUPS = {
    "admission": [
        Row(
            f"publishes to a channel, durable when they are answered, {INFLIGHT} in flight",
            (_ADMISSION,),
            _admission,
            lambda _: "-",
            (Check("a second", 1500, lambda results: results.median(*_ADMISSION, "per_second"), digits=0),),
        )
    ],
    "fcm": [
        Row(
            f"one publish to 50,000 Android devices (--quick: 10,000), whose provider answers in {DELAY_MS} ms",
            (_FCM,),
            lambda results: _deliveries(results, _FCM),
            lambda _: "-",
            (_rate(_FCM, 1500), Check("MB more", 150, lambda results: results.median(*_FCM, "growth_mb"), at_most=True, digits=0)),
        )
    ],
    "webpush": [
        Row(
            f"one publish to 20,000 browsers (--quick: 5,000), encrypted for each, answered in {DELAY_MS} ms",
            (_WEB,),
            lambda results: _deliveries(results, _WEB),
            lambda _: "-",
            (_rate(_WEB, 800),),
        )
    ],
    "live": [
        Row(
            "live events to 1,000 subscribers, 16 in flight, while 50,000 devices are notified (--quick: 10,000)",
            (_PUSHED, _PLAIN),
            lambda results: _live(results, _PUSHED),
            lambda results: _live(results, _PLAIN, "without push: "),
            (Check("× the p99 without", 2, lambda results: results.ratio(_PUSHED, _PLAIN, "latency_ms", "p99"), at_most=True),),
        )
    ],
}
ROWS = [row for rows in GROUPS.values() for row in rows]


def table(results: Results) -> list[list[str]]:
    """One row for each promise that was measured."""
    head = ["work", "found", "beside", "decides", "must reach", "reached"]
    return [head, *(row.cells(results) for row in ROWS if row.measured(results))]
