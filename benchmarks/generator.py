"""Runs of the load generator and of the bare floor, each giving one dictionary of figures."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.loads import Load
from benchmarks.processes import Running, cpu_seconds, machine_busy_seconds, pinned, tree
from benchmarks.settings import BUILD, CLIENT_CORE, FRAME, PAYLOAD, SERVER_CORE

__all__ = ["Figures", "apply_load", "floor", "generator", "listed", "outcome", "watched"]

Figures = dict[str, Any]

_LONGEST_RUN = 150


def listed(numbers: Iterable[int]) -> str:
    """Ports or processes as the generator takes them."""
    return ",".join(map(str, numbers))


def generator(server: Running, *arguments: str, payload: int = PAYLOAD) -> subprocess.Popen[str]:
    """Starts the generator on the clients' core, loading this server."""
    fixed = ["--proto", server.peer.protocol, "-p", listed(server.ports), "-U", listed(server.publish_ports), "-b", str(payload)]
    return subprocess.Popen(
        [str(BUILD / "rawbench"), *fixed, "-P", listed(server.pids), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=pinned(CLIENT_CORE),
    )


def outcome(process: subprocess.Popen[str]) -> Figures:
    """Waits for the generator: its figures, whether all went well, and what it said if not."""
    try:
        output, error = process.communicate(timeout=_LONGEST_RUN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"ok": False, "said": f"no end within {_LONGEST_RUN} s"}
    figures: Figures = json.loads(output) if output.startswith("{") else {}
    figures["ok"] = process.returncode == 0
    if error.strip() not in ("", "ready"):
        figures["said"] = error.strip()[:300]
    return figures


def apply_load(server: Running, load: Load, seconds: float) -> Figures:
    """One run of a load on a started server."""
    span = ["-d", str(seconds * load.stretch), "-W", "1" if seconds > 2 else "0.5"] if load.timed else []
    return outcome(generator(server, *load.arguments, *span))


def watched(server: Running, run: Callable[[], Figures], beside: Callable[[], float] = float) -> Figures:
    """The figures of a run, and how many cores everything else used meanwhile: ``foreign_cores``.

    ``beside`` tells the CPU seconds so far of what else belongs to the run, a database for example.
    """

    def ours() -> float:
        spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return cpu_seconds(server.pids) + beside() + sum(each.ru_utime + each.ru_stime for each in spent)

    began, others = time.monotonic(), machine_busy_seconds() - ours()
    figures = run()
    foreign = machine_busy_seconds() - ours() - others
    figures["foreign_cores"] = round(foreign / (time.monotonic() - began), 3)
    return figures


def floor(sockets: int, per_send: int, *, quick: bool, uring: bool = False) -> Figures:
    """Bare ``send()``, or many of them to an io_uring call: the sender on the servers' core, its reader on the clients'."""
    rounds = max(20, (100_000 if quick else 400_000) // sockets)
    arguments = ["-c", str(sockets), "-m", str(rounds), "-b", str(FRAME), "-w", str(per_send)]
    arguments += ["-u"] if uring else []
    process = subprocess.Popen(
        [str(BUILD / "sendfloor"), *arguments], stdout=subprocess.PIPE, text=True, preexec_fn=pinned(SERVER_CORE)
    )
    for _ in range(100):  # the reader is forked at once; it is moved before it has much to read
        children = [pid for pid in tree(process.pid) if pid != process.pid]
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(children[0], {CLIENT_CORE})
            break
        time.sleep(0.001)
    printed = process.communicate(timeout=_LONGEST_RUN)[0]
    if process.returncode:
        return {"ok": False, "said": "io_uring is missing or forbidden" if uring else "the floor failed"}
    figures: Figures = json.loads(printed)
    return {"ok": True, "per_server_cpu_second": figures["messages_per_cpu_second"], **figures}
