"""The order of everything: which server stands ready, what visits it, and what is kept of it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.generator import Figures, watched
from benchmarks.operators.companions import companion
from benchmarks.operators.loads import Size, among_changes, dashboard_figures, watched_figures
from benchmarks.operators.servers import server
from benchmarks.processes import DidNotStart, Running, running
from benchmarks.results import Results
from benchmarks.session import Plan, describe, say
from benchmarks.settings import DISK

__all__ = ["measure"]

# Pairs within a repetition: a p99 of some seconds moves by more than what is looked for.
_PAIRS, _PAIRS_QUICK = 5, 2
_FULL, _FULL_QUICK = Size(10_000, 20_000), Size(1000, 2000)
_SHOWN = ("ok", "ack_ms", "changes_per_second", "told", "per_server_cpu_second", "server_busy", "shown", "slowest", "p99", "p50", "foreign_cores", "said")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="bench-data-", dir=DISK))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class _Session:
    def __init__(self, plan: Plan, results: Results) -> None:
        self._plan, self._results = plan, results
        self._pairs = _PAIRS_QUICK if plan.quick else _PAIRS

    def _keep(self, subject: str, load: str, pair: int, figures: Figures) -> None:
        self._results.add(subject, load, pair, figures)
        if self._plan.save_to:
            self._results.write(self._plan.save_to)
        shown = ", ".join(f"{key} {figures[key]}" for key in _SHOWN if figures.get(key) is not None)
        say(f"{pair + 1} {load} {subject}: {shown}")

    def _measured(self, subject: str, load: str, pair: int, work: Callable[[], Figures]) -> None:
        try:
            figures = work()
        except (DidNotStart, RuntimeError) as failure:
            figures = {"ok": False, "said": str(failure)[:200]}
        self._keep(subject, load, pair, figures)

    def webhooks(self, pair: int) -> None:
        """With and without, each on a fresh server; who comes first changes from pair to pair."""

        def without() -> Figures:
            with _folder() as data, running(server("plain", data)) as started:
                return watched(started, lambda: among_changes(started, self._plan.seconds))

        def with_them() -> Figures:
            with _folder() as data, companion("receivers") as receivers, running(server("webhooks", data, receivers.ready)) as started:
                figures = watched(started, lambda: among_changes(started, self._plan.seconds))
                figures["told"] = receivers.end()
            if not figures["told"]["prompt"]:
                return {**figures, "ok": False, "said": "the prompt endpoint was told nothing"}
            return figures

        works = {"no webhooks": without, "webhooks": with_them}
        for subject in reversed(works) if pair % 2 else works:
            self._measured(subject, "webhooks", pair, works[subject])

    def inspector(self, pair: int, started: Running) -> None:
        """On one server: the watcher comes and goes."""
        works = {"nobody": False, "one watcher": True}
        for subject in reversed(works) if pair % 2 else works:
            self._measured(
                subject,
                "inspector",
                pair,
                lambda subject=subject: watched(started, lambda: watched_figures(started, self._plan.seconds, watched=works[subject])),
            )

    def dashboard(self, repetition: int) -> None:
        size = _FULL_QUICK if self._plan.quick else _FULL

        def work() -> Figures:
            with _folder() as data, running(server("full", data)) as started:
                return watched(started, lambda: dashboard_figures(started, size))

        self._measured("dashboard", "dashboard", repetition, work)

    def run(self) -> None:
        loads = self._plan.loads
        for repetition in range(self._plan.repetitions):
            pairs = range(repetition * self._pairs, (repetition + 1) * self._pairs)
            if "webhooks" in loads:
                for pair in pairs:
                    self.webhooks(pair)
            if "inspector" in loads:
                with _folder() as data, running(server("plain", data)) as started:
                    for pair in pairs:
                        self.inspector(pair, started)
            if "dashboard" in loads:
                self.dashboard(repetition)


def measure(plan: Plan) -> Results:
    """Carries the plan out, whose ``loads`` are groups of rows; says how it goes on standard error."""
    with _folder() as data:
        ours = server("sockudo", data)
        ours.build()
        results = Results(describe(plan, [ours], {}))
    _Session(plan, results).run()
    return results
