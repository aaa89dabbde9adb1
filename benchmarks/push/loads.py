"""The loads: admission, one publish to many devices of a kind, and live events beside such a publish."""

from __future__ import annotations

import time

from benchmarks.crowd import prefer
from benchmarks.generator import Figures, generator, outcome
from benchmarks.processes import Running, cpu_seconds, resident_kb
from benchmarks.push.backend import Backend, admitted

__all__ = ["ALONE", "INFLIGHT", "admission_figures", "delivery_figures", "live_figures"]

INFLIGHT = 32
"""Publishes that wait for their answer at a time."""

ALONE = "empty"
"""A channel that no device is on: nothing is done but what admission does."""

_LOOK_EVERY = 0.2
_PATIENCE = 240
_LIVE = ("-c", "1000", "-w", "16", "-W", "0.5")


def admission_figures(server: Running, seconds: float) -> Figures:
    """Publishes a second that are durable when they are answered."""
    return {"ok": True, **admitted(server.port, INFLIGHT, seconds, ALONE)}


def delivery_figures(server: Running, devices: int) -> Figures:
    """One publish to every device, until the last outcome is counted."""
    backend = Backend(server.port)
    memory, before, began = resident_kb(server.pids), cpu_seconds(server.pids), time.monotonic()
    most = memory
    backend.publish("everybody")
    while True:
        time.sleep(_LOOK_EVERY)
        most = max(most, resident_kb(server.pids))
        status = backend.status("everybody")
        if status["state"] not in ("queued", "planning", "dispatching"):
            break
        if time.monotonic() - began > _PATIENCE:
            return {"ok": False, "said": f"not over after {_PATIENCE} s: {status['counters']}"}
    took, spent = time.monotonic() - began, cpu_seconds(server.pids) - before
    figures = {
        "per_second": round(devices / took, 1),
        "per_server_cpu_second": round(devices / spent, 1),
        "growth_mb": round((most - memory) / 1024, 1),
        "seconds": round(took, 1),
    }
    if status["state"] != "succeeded" or status["counters"]["succeeded"] != devices:
        return {**figures, "ok": False, "said": f"{status['state']} {status['counters']}"}
    return {**figures, "ok": True}


def live_figures(server: Running, seconds: float, *, pushing: bool) -> Figures:
    """What a live event takes to its thousand subscribers, with 16 in flight; among deliveries or without any."""
    backend = Backend(server.port)
    if not pushing:
        return _live(server, seconds)
    backend.publish("everybody")
    until = time.monotonic() + 30
    while not backend.status("everybody")["counters"]["succeeded"]:
        if time.monotonic() > until:
            return {"ok": False, "said": "nothing was delivered"}
        time.sleep(_LOOK_EVERY)
    before = backend.status("everybody")["counters"]["succeeded"]
    figures = _live(server, seconds)
    status = backend.status("everybody")
    figures["pushed"] = status["counters"]["succeeded"] - before
    if status["state"] == "succeeded":
        return {**figures, "ok": False, "said": "the deliveries were over before the measurement"}
    return figures


def _live(server: Running, seconds: float) -> Figures:
    process = generator(server, *_LIVE, "-d", str(seconds))
    prefer(process)
    return outcome(process)
