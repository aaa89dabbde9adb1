"""The order of everything: which servers stand ready, which load visits which of them, and what is kept of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.databases import Postgres, postgres
from benchmarks.generator import Figures, generator, outcome, watched
from benchmarks.peers import Peer
from benchmarks.processes import DidNotStart, Running, pinned, running
from benchmarks.results import Results
from benchmarks.session import Plan, describe, say
from benchmarks.settings import CLIENT_CORE, DISK, PYTHON, ROOT
from benchmarks.tools import Missing
from benchmarks.v2.durable import (
    page_figures,
    publish_figures,
    resume_figures,
    stock_for_resumes,
    stock_for_storm,
    storm_figures,
)
from benchmarks.v2.loads import CASES, Case
from benchmarks.v2.servers import PLAIN, SERVERS, counted, durable, one_per_commit, reference

__all__ = ["measure"]

_LONG, _LONG_QUICK = 1_000_000, 100_000
_SAMPLES, _SAMPLES_QUICK = 250, 75
_SHOWN = ("ok", "per_server_cpu_second", "per_second", "ack_ms", "bytes_per_delivery", "p99", "cpu_ms_per_resume", "seconds", "evaluations", "encodings", "foreign_cores", "said")


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
        self._database: Postgres | None = None
        self._long: Path | None = None

    def _keep(self, subject: str, load: str, repetition: int, figures: Figures) -> None:
        self._results.add(subject, load, repetition, figures)
        if self._plan.save_to:
            self._results.write(self._plan.save_to)
        shown = ", ".join(f"{key} {figures[key]}" for key in _SHOWN if figures.get(key) is not None)
        say(f"{repetition + 1}/{self._plan.repetitions} {load} {subject}: {shown}")

    def _on(self, peer: Peer, runs: list[tuple[str, str]], repetition: int, work: Callable[[Running], None]) -> None:
        """Does the work on a fresh server; when that does not start, or cannot be made ready, its runs have failed."""
        try:
            with running(peer) as server:
                work(server)
        except (DidNotStart, RuntimeError) as failure:
            say(f"bench: {failure}")
            done = {(run["peer"], run["load"]) for run in self._results.runs if run["repetition"] == repetition}
            for subject, load in runs:
                if (subject, load) not in done:
                    self._keep(subject, load, repetition, {"ok": False, "said": str(failure)[:80]})

    # ---- one generator ----

    def cases(self, repetition: int) -> None:
        """All servers stand ready. Who comes first within a load changes with each repetition."""
        chosen = [case for case in CASES if set(case.groups) & set(self._plan.loads)]
        if repetition % 2:
            loads = list(dict.fromkeys(case.load for case in chosen))
            chosen = [case for load in loads for case in reversed(chosen) if case.load == load]
        with contextlib.ExitStack() as stack:
            servers: dict[str, Running | None] = {}
            for name in dict.fromkeys(case.server for case in chosen):
                try:
                    servers[name] = stack.enter_context(running(SERVERS[name]))
                except DidNotStart as failure:
                    say(f"bench: {failure}")
                    servers[name] = None
            for case in chosen:
                server = servers[case.server]
                figures = {"ok": False, "said": "did not start"} if server is None else self._case(case, server)
                self._keep(case.subject, case.load, repetition, figures)

    def _case(self, case: Case, server: Running) -> Figures:
        seconds = self._plan.seconds
        span = ["-d", str(seconds), "-W", "1" if seconds > 2 else "0.5"]
        return watched(server, lambda: outcome(generator(server, *case.arguments, *span, payload=case.payload)))

    def counts(self, repetition: int) -> None:
        """How often the server does what it should do once: numbers, not times, so one repetition is enough."""
        wanted = [case for case in CASES if case.subject in ("filtered", "delta") and case.load in ("filter-16", "delta") and set(case.groups) & set(self._plan.loads)]
        if not wanted or repetition:
            return
        publishes: dict[str, Figures] = {}

        def work(server: Running) -> None:
            for case in wanted:
                publishes[case.load] = outcome(generator(server, *case.arguments, "-W", "0", "-d", "1", payload=case.payload))

        with _folder() as folder:
            file = folder / "counts"
            self._on(counted(file), [("counted", case.load) for case in wanted], repetition, work)
            found = json.loads(file.read_text()) if file.exists() else {}
        for load, name in (("filter-16", "evaluations"), ("delta", "encodings")):
            if load in publishes:
                figures = publishes[load]
                self._keep("counted", load, repetition, {**figures, name: found.get(name, 0) / max(1, figures.get("publishes", 0))})

    # ---- on disk ----

    def publishes(self, repetition: int) -> None:
        """Group commit beside one commit for each publish, of the server itself and of a bare program; PostgreSQL."""
        seconds = self._plan.seconds

        def under(subject: str, load: str, peer: Peer, beside: Callable[[], float] = float) -> None:
            def work(server: Running) -> None:
                self._keep(subject, load, repetition, watched(server, lambda: publish_figures(server, seconds), beside))

            self._on(peer, [(subject, load)], repetition, work)

        if "sqlite" in self._plan.loads:
            for subject, made in (("grouped", durable), ("single", one_per_commit), ("bare", reference)):
                with _folder() as folder:
                    under(subject, "sqlite", made(folder), float)
        if self._database is not None:
            under("grouped", "postgres", durable(database=self._database.section), self._database.cpu_seconds)

    def pages(self, repetition: int) -> None:
        """The long history is filled once."""
        if "pages" not in self._plan.loads or self._long is None:
            return
        quick = self._plan.quick
        messages = _LONG_QUICK if quick else _LONG

        def work(server: Running) -> None:
            self._keep("pages", "pages", repetition, watched(server, lambda: page_figures(server, messages, _SAMPLES_QUICK if quick else _SAMPLES)))

        self._on(durable(self._long), [("pages", "pages")], repetition, work)

    def resumes(self, repetition: int) -> None:
        """From the replay buffer; then, each on a server that has just started, from the store and all at once."""

        def keep(subject: str, work: Callable[[Running], Figures]) -> Callable[[Running], None]:
            return lambda server: self._keep(subject, subject, repetition, watched(server, lambda: work(server)))

        def hot(server: Running) -> None:
            stock_for_resumes(server)
            keep("hot", lambda server: resume_figures(server, "hot"))(server)

        def stock(server: Running) -> None:
            stock_for_resumes(server)
            stock_for_storm(server)

        if "resume" in self._plan.loads:
            self._on(SERVERS["recovery"], [("hot", "hot")], repetition, hot)
        later = {"cold": lambda server: resume_figures(server, "cold")} if "resume" in self._plan.loads else {}
        if "restart" in self._plan.loads:
            later["storm"] = storm_figures
        if not later:
            return
        with _folder() as folder:
            self._on(durable(folder), [(name, name) for name in later], repetition, stock)
            for name, work in later.items():
                self._on(durable(folder), [(name, name)], repetition, keep(name, work))

    # ---- all of it ----

    def run(self) -> None:
        """Starts and fills what lasts for all repetitions."""
        with contextlib.ExitStack() as stack:
            if "postgres" in self._plan.loads:
                try:
                    self._database = stack.enter_context(postgres())
                    self._results.meta["versions"]["PostgreSQL"] = self._database.version
                except Missing as missing:
                    say(f"bench: without PostgreSQL: {missing}")
                    self._results.meta["left_out"]["durable publishes, PostgreSQL"] = str(missing)
            if "pages" in self._plan.loads:
                self._long = stack.enter_context(_folder())
                _fill(self._long, _LONG_QUICK if self._plan.quick else _LONG)
            for repetition in range(self._plan.repetitions):
                self.cases(repetition)
                self.counts(repetition)
                self.publishes(repetition)
                self.pages(repetition)
                self.resumes(repetition)


def _fill(folder: Path, messages: int) -> None:
    say(f"filling a history with {messages:,} messages …")
    command = [str(PYTHON), "-m", "benchmarks.v2.fill", str(folder), str(messages)]
    subprocess.run(command, cwd=ROOT, check=True, env=dict(os.environ), preexec_fn=pinned(CLIENT_CORE))


def measure(plan: Plan) -> Results:
    """Carries the plan out, whose ``loads`` are groups of rows; says how it goes on standard error."""
    PLAIN.build()
    results = Results(describe(plan, [PLAIN], {}))
    results.meta["versions"] = {"sockudo": results.meta["versions"]["plain"]}
    _Session(plan, results).run()
    return results
