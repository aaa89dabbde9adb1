"""The three loads: publishes beside webhooks, publishes beside a watcher, and the dashboard of a full server."""

from __future__ import annotations

import http.client
import statistics
import time
from dataclasses import dataclass

from benchmarks.crowd import prefer
from benchmarks.generator import Figures, generator, outcome
from benchmarks.operators.companions import Companion, companion
from benchmarks.operators.names import BIG, ROOM
from benchmarks.operators.pages import PAGES
from benchmarks.operators.servers import PASSWORD
from benchmarks.processes import Running

__all__ = ["CHANGES", "MESSAGES", "Size", "among_changes", "dashboard_figures", "watched_figures"]

# Joins and leaves a second, and publishes a second among them.
CHANGES, _PUBLISHES = 2000, 200
# Departures are told after a grace of three seconds: before that, half of the work is missing.
_GRACE = 4.0
# Messages a second beside the watcher.
MESSAGES = 5000
# How much of a wanted rate has to have been reached for the figures to count.
_ENOUGH = 0.9
_CALLS = 20


def among_changes(server: Running, seconds: float) -> Figures:
    """The times that publishes to a presence channel take while its members come and go."""
    with companion("churn", server.port, CHANGES) as churn:
        time.sleep(_GRACE)
        process = generator(server, "-x", "-C", ROOM, "-r", str(_PUBLISHES), "-w", "16", "-W", "0.5", "-d", str(seconds))
        prefer(process)
        figures = outcome(process)
        changes = churn.end()
    figures["changes_per_second"] = round(changes["joined_per_second"] * 2)
    if figures["changes_per_second"] < _ENOUGH * CHANGES or changes["lost"]:
        return {**figures, "ok": False, "said": f"{figures['changes_per_second']} joins and leaves a second, {changes['lost']} clients lost"}
    return figures


def watched_figures(server: Running, seconds: float, *, watched: bool) -> Figures:
    """5,000 messages a second, each to one subscriber, while somebody watches the inspector or nobody does."""
    if not watched:
        return _messages(server, seconds)
    with companion("watcher", server.metrics_port, PASSWORD) as watcher:
        figures = _messages(server, seconds)
        figures["shown"] = watcher.end()
    if not figures["shown"]["messages"]:
        return {**figures, "ok": False, "said": "the watcher was shown nothing"}
    return figures


def _messages(server: Running, seconds: float) -> Figures:
    figures = outcome(generator(server, "-c", "10", "-n", "10", "-r", str(MESSAGES), "-w", "64", "-W", "0.5", "-d", str(seconds)))
    if figures.get("publishes_per_second", 0) < _ENOUGH * MESSAGES:
        return {**figures, "ok": False, "said": f"only {figures.get('publishes_per_second')} messages a second"}
    return figures


# ---- the dashboard ----


@dataclass(frozen=True)
class Size:
    """How full the server is."""

    connections: int
    channels: int


def dashboard_figures(server: Running, size: Size) -> Figures:
    """What each page of `PAGES` takes, twenty times in a row on one connection; the slowest of them decides."""
    with companion("crowd", server.port, size.connections, size.channels) as crowd:
        time.sleep(2.5)  # a sample of the full server
        try:
            pages = _ask_all(server, crowd, size)
        except (OSError, ValueError, http.client.HTTPException) as problem:
            return {"ok": False, "said": str(problem)}
        lost = crowd.end()["lost"]
    slowest = max(pages, key=lambda path: pages[path]["p99"])
    figures = {"pages": pages, "slowest": slowest, "p99": pages[slowest]["p99"], "p50": statistics.median(page["p50"] for page in pages.values())}
    figures |= {"connections": size.connections, "channels": size.channels}
    return {"ok": not lost, **figures, **({"said": f"{lost} clients lost"} if lost else {})}


def _ask_all(server: Running, crowd: Companion, size: Size) -> dict[str, dict[str, float]]:
    names = {"app": "app-id", "channel": BIG, "socket": crowd.ready["socket_id"], "last": size.channels // 50}
    connection = http.client.HTTPConnection("127.0.0.1", server.metrics_port, timeout=30)
    try:
        return {path: _ask(connection, path.format(**names)) for path in PAGES}
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection, path: str) -> dict[str, float]:
    times = []
    for _ in range(_CALLS + 1):
        began = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": f"Bearer {PASSWORD}"})
        answer = connection.getresponse()
        body = answer.read()
        times.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise ValueError(f"{path} was answered {answer.status} {body[:200]!r}")
    quantiles = statistics.quantiles(times[1:], n=100, method="inclusive")  # the first call loads templates
    return {"p50": round(quantiles[49], 2), "p99": round(quantiles[98], 2), "kb": round(len(body) / 1024, 1)}
