"""The order of everything: which servers stand ready together, what visits them, and what is kept of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from benchmarks.cluster.loads import changes, items
from benchmarks.cluster.servers import BROKERS, centrifugo, fleet, node
from benchmarks.generator import Figures, generator, listed, outcome, watched
from benchmarks.processes import DidNotStart, Running, running
from benchmarks.results import Results
from benchmarks.session import Plan, describe, say
from benchmarks.tools import Missing

__all__ = ["measure"]

_NODES = 3
_RATE = 1000
_SHOWN = ("ok", "per_server_cpu_second", "deliveries_per_segment", "server_cpu_us_per_publish", "delivery_ms", "per_second", "commands_per_change", "elsewhere", "cpu_us", "foreign_cores", "said")


class _Session:
    def __init__(self, plan: Plan, results: Results) -> None:
        self._plan, self._results = plan, results

    def _keep(self, subject: str, load: str, repetition: int, work: Callable[[], Figures]) -> None:
        try:
            figures = work()
        except (OSError, RuntimeError) as failure:
            figures = {"ok": False, "said": str(failure)[:200]}
        self._results.add(subject, load, repetition, figures)
        if self._plan.save_to:
            self._results.write(self._plan.save_to)
        shown = ", ".join(f"{key} {figures[key]}" for key in _SHOWN if figures.get(key) is not None)
        say(f"{repetition + 1} {load} {subject}: {shown}")

    def _generate(self, server: Running, load: str, repetition: int, *arguments: str) -> None:
        span = ("-d", str(self._plan.seconds), "-W", "1")
        self._keep(server.peer.name, load, repetition, lambda: watched(server, lambda: outcome(generator(server, *span, *arguments))))

    def workers(self, repetition: int) -> None:
        """One and two stand ready together; who comes first changes from one repetition to the next."""
        with running(node("one worker")) as one, running(node("two workers", workers=2)) as two:
            for window in (16, 1):
                for server in (two, one) if repetition % 2 else (one, two):
                    self._generate(server, f"fan-{window}", repetition, "-c", "1000", "-w", str(window))

    def quiet(self, repetition: int) -> None:
        """Workers beside as many nodes that know of nothing else, and one of three nodes beside one that is alone."""
        with contextlib.ExitStack() as stack:
            started = [stack.enter_context(fleet(node("two apart"), 2)), stack.enter_context(running(node("two workers", workers=2)))]
            broker = stack.enter_context(BROKERS["redis"]())
            started += [stack.enter_context(running(node("alone"))), stack.enter_context(fleet(node("three nodes", broker=broker), _NODES))]
            for server in reversed(started) if repetition % 2 else started:
                here = ("-U", str(server.port)) if server.peer.name == "three nodes" else ()
                self._generate(server, "publish", repetition, *here, "-x", "-w", "16")

    def latency(self, repetition: int) -> None:
        """Published at one node, received at the two others."""
        for name, start in BROKERS.items():
            with start() as broker, fleet(node(name, broker=broker), _NODES) as server:
                first, *others = server.ports
                there = ("-p", listed(others), "-U", str(first))
                self._generate(server, "latency", repetition, *there, "-c", "2", "-r", str(_RATE), "-w", "64")

    def bus(self, repetition: int) -> None:
        self._keep("one connection", "bus", repetition, lambda: items(self._plan.seconds))

    def fleet(self, repetition: int) -> None:
        """Each over a Redis of its own, one after the other."""
        for make in (lambda broker: node("three nodes", broker=broker), centrifugo):
            with BROKERS["redis"]() as broker, contextlib.suppress(Missing):
                peer = make(broker)
                peer.build()
                with fleet(peer, _NODES) as server:
                    self._generate(server, "fleet", repetition, "-c", str(1000 * _NODES), "-w", "16")

    def changes(self, repetition: int) -> None:
        with BROKERS["redis"]() as broker, fleet(node("three nodes", broker=broker), _NODES) as server:
            self._keep("three nodes", "changes", repetition, lambda: watched(server, lambda: changes(server, broker, self._plan.seconds)))

    def run(self) -> None:
        for repetition in range(self._plan.repetitions):
            for name in self._plan.loads:
                try:
                    getattr(self, name)(repetition)
                except (DidNotStart, Missing) as failure:
                    say(f"bench: without {name}: {failure}")


def measure(plan: Plan) -> Results:
    """Carries the plan out, whose ``loads`` are groups of rows; says how it goes on standard error."""
    peers = [node("sockudo")]
    left_out: dict[str, str] = {}
    other = centrifugo("")
    if "fleet" in plan.loads:
        try:
            other.build()
            peers.append(other)
        except Missing as missing:
            left_out[other.name] = str(missing)
    peers[0].build()
    results = Results(describe(plan, peers, left_out))
    _Session(plan, results).run()
    return results
