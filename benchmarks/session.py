"""One benchmark: builds, starts the servers, runs every load on each of them in turn, and keeps the figures."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.crowd import run_crowd
from benchmarks.generator import Figures, apply_load, floor, watched
from benchmarks.loads import LOADS, Load
from benchmarks.peers import PEERS, Peer
from benchmarks.processes import DidNotStart, Running, running
from benchmarks.results import Results
from benchmarks.settings import CLIENT_CORE, SERVER_CORE
from benchmarks.stalled import run_stalled
from benchmarks.tools import Missing

__all__ = ["Plan", "describe", "measure", "say"]

_SHOWN = ("ok", "per_server_cpu_second", "latency_ms", "rss_kb_per_connection", "connect_cpu_us", "longest_turn_ms", "slower", "closed", "growth_mb", "foreign_cores", "said")


@dataclass(frozen=True)
class Plan:
    """Who is measured with which loads, how often and for how long; ``save_to`` is written after every run."""

    peers: list[str]
    loads: list[str]
    repetitions: int
    seconds: float
    quick: bool
    command: str
    save_to: Path | None = None


def say(text: str) -> None:
    """How it goes, on standard error."""
    print(text, file=sys.stderr, flush=True)


def describe(plan: Plan, peers: list[Peer], left_out: dict[str, str]) -> dict[str, Any]:
    """What the results say about where, when and of what they are."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {cpu}, Linux {os.uname().release}",
        "command": plan.command,
        "repetitions": plan.repetitions,
        "seconds": plan.seconds,
        "server_core": SERVER_CORE,
        "client_core": CLIENT_CORE,
        "versions": {peer.name: peer.version() for peer in peers},
        "left_out": left_out,
    }


def _built(wanted: list[Peer]) -> tuple[list[Peer], dict[str, str]]:
    """The peers this machine can run, and why it cannot run the others."""
    peers, left_out = [], {}
    for peer in wanted:
        try:
            peer.build()
            peers.append(peer)
        except Missing as missing:
            left_out[peer.name] = str(missing)
            say(f"bench: without {peer.name}: {missing}")
    return peers, left_out


def _wants(peer: Peer, load: Load) -> bool:
    if load.name == "stalled":
        return peer.name == "sockudo"
    if load.name == "crowd":
        return peer.name in ("sockudo", "uws")
    return not peer.loads or load.name in peer.loads


class _Session:
    def __init__(self, plan: Plan, results: Results) -> None:
        self._plan, self._results = plan, results

    def _keep(self, peer: str, load: str, repetition: int, figures: Figures) -> None:
        self._results.add(peer, load, repetition, figures)
        if self._plan.save_to:
            self._results.write(self._plan.save_to)
        shown = ", ".join(f"{key} {figures[key]}" for key in _SHOWN if figures.get(key) is not None)
        say(f"{repetition + 1}/{self._plan.repetitions} {load} {peer}: {shown}")

    def _failed(self, peer: Peer, loads: list[Load], repetition: int, failure: DidNotStart) -> None:
        say(f"bench: {failure}")
        for load in loads:
            if _wants(peer, load):
                self._results.add(peer.name, load.name, repetition, {"ok": False, "said": "did not start"})

    def _floors(self, load: Load, repetition: int) -> None:
        for suffix, (sockets, per_send) in load.floors.items():
            figures = floor(sockets, per_send, quick=self._plan.quick, uring=suffix == "-uring")
            self._keep("floor", load.name + suffix, repetition, figures)

    def _run(self, load: Load, server: Running) -> Figures:
        if load.name == "stalled":
            return watched(server, lambda: run_stalled(server))
        if load.name == "crowd":
            return watched(server, lambda: run_crowd(server, 5 if self._plan.quick else 10))
        return watched(server, lambda: apply_load(server, load, self._plan.seconds))

    def generator_loads(self, peers: list[Peer], loads: list[Load], repetition: int) -> None:
        """All servers stand ready, and each load visits one after the other: the same minute for everybody."""
        with contextlib.ExitStack() as stack:
            servers = []
            for peer in peers:
                if not any(_wants(peer, load) for load in loads):
                    continue
                try:
                    servers.append(stack.enter_context(running(peer)))
                except DidNotStart as failure:
                    self._failed(peer, loads, repetition, failure)
            for load in loads:
                self._floors(load, repetition)
                for server in servers:
                    if _wants(server.peer, load):
                        self._keep(server.peer.name, load.name, repetition, self._run(load, server))
                        time.sleep(0.3)

    def scenarios(self, peers: list[Peer], loads: list[Load], repetition: int) -> None:
        """Each on a fresh server that is alone."""
        for load in loads:
            for peer in peers:
                if _wants(peer, load):
                    try:
                        with running(peer) as server:
                            self._keep(peer.name, load.name, repetition, self._run(load, server))
                    except DidNotStart as failure:
                        self._failed(peer, [load], repetition, failure)


def measure(plan: Plan, subjects: list[Peer] | None = None) -> Results:
    """Carries the plan out, on ``subjects`` instead of the plan's peers when given; says how it goes on standard error."""
    peers, left_out = _built(subjects or [PEERS[name] for name in plan.peers])
    results = Results(describe(plan, peers, left_out))
    session = _Session(plan, results)
    chosen = [LOADS[name] for name in plan.loads]
    for repetition in range(plan.repetitions):
        for batch in sorted({load.batch for load in chosen if not load.scenario}):
            session.generator_loads(peers, [load for load in chosen if load.batch == batch and not load.scenario], repetition)
        session.scenarios(peers, [load for load in chosen if load.scenario], repetition)
    return results
