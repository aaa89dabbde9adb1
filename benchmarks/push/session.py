"""The order of everything: devices are put into a folder, a server is started on it, and a load visits it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.generator import Figures, watched
from benchmarks.processes import DidNotStart, Running, running
from benchmarks.push.devices import android, browsers, put
from benchmarks.push.loads import admission_figures, delivery_figures, live_figures
from benchmarks.push.servers import providers, server
from benchmarks.results import Results
from benchmarks.session import Plan, describe, say
from benchmarks.settings import DISK

__all__ = ["measure"]

_ANDROID, _ANDROID_QUICK = 50_000, 10_000
_BROWSERS, _BROWSERS_QUICK = 20_000, 5000
_SHOWN = ("ok", "per_second", "per_server_cpu_second", "growth_mb", "seconds", "ack_ms", "latency_ms", "pushed", "foreign_cores", "said")


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
        self._android = _ANDROID_QUICK if plan.quick else _ANDROID
        self._browsers = _BROWSERS_QUICK if plan.quick else _BROWSERS

    def _measured(self, subject: str, load: str, repetition: int, kind: str, work: Callable[[Running], Figures]) -> None:
        """Does the work on a fresh server with devices of a kind, and keeps what came of it."""
        try:
            with _folder() as data, providers() as url:
                if kind == "android":
                    put(data, android(self._android))
                elif kind == "browsers":
                    put(data, browsers(self._browsers, url))
                with running(server(data, url)) as started:
                    figures = watched(started, lambda: work(started))
        except (DidNotStart, RuntimeError, OSError) as failure:
            figures = {"ok": False, "said": str(failure)[:300]}
        self._results.add(subject, load, repetition, figures)
        if self._plan.save_to:
            self._results.write(self._plan.save_to)
        shown = ", ".join(f"{key} {figures[key]}" for key in _SHOWN if figures.get(key) is not None)
        say(f"{repetition + 1}/{self._plan.repetitions} {load} {subject}: {shown}")

    def run(self) -> None:
        loads, seconds = self._plan.loads, self._plan.seconds
        for repetition in range(self._plan.repetitions):
            if "admission" in loads:
                self._measured("push", "admission", repetition, "", lambda started: admission_figures(started, seconds))
            if "fcm" in loads:
                self._measured("push", "fcm", repetition, "android", lambda started: delivery_figures(started, self._android))
            if "webpush" in loads:
                self._measured("push", "webpush", repetition, "browsers", lambda started: delivery_figures(started, self._browsers))
            if "live" in loads:
                for subject in ("without push", "push"):
                    pushing = subject == "push"
                    self._measured(subject, "live", repetition, "android", lambda started, pushing=pushing: live_figures(started, seconds, pushing=pushing))


def measure(plan: Plan) -> Results:
    """Carries the plan out, whose ``loads`` are groups of rows; says how it goes on standard error."""
    with _folder() as data:
        ours = server(data, "http://127.0.0.1:9")
        ours.build()
        results = Results(describe(plan, [ours], {}))
    _Session(plan, results).run()
    return results
