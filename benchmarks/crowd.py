"""A small channel beside a very large one: does a publish to the crowd make everybody else wait?

One generator keeps publishing to a channel of up to 15,000 subscriptions, the next publish as soon as the last
one has reached everybody. Meanwhile a second one publishes ten times a second, on a fixed schedule, to a channel
of ten. Its latency counts from the scheduled moment, so a stalled server cannot hide its stall.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import time
import urllib.request
from pathlib import Path

from benchmarks.generator import Figures, generator, outcome
from benchmarks.processes import Running

__all__ = ["prefer", "run_crowd"]

_CROWD = 15_000
_SPARE_DESCRIPTORS = 500
_LAG = "sockudo_event_loop_lag_ms"  # the longest block since the last scrape


def _crowd_size() -> int:
    """As many as descriptors and client ports allow; both ends are processes of their own."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    return min(_CROWD, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - _SPARE_DESCRIPTORS, (high - low) * 3 // 4)


def _longest_turn_ms(server: Running) -> float | None:
    """The worst loop turn since the last call; None for a server without such a metric."""
    if server.peer.name != "sockudo":
        return None
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        for line in text.splitlines():
            if line.startswith((_LAG + " ", _LAG + "{")):
                return float(line.rsplit(" ", 1)[1])
    return None


def prefer(process: subprocess.Popen[str]) -> None:
    """The clients whose latency is measured must not wait for the crowd's on the core they share."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, process.pid, -15)


def run_crowd(server: Running, seconds: float) -> Figures:
    """Figures of both channels: ``small`` and ``crowd`` as the generator reports them, and the longest loop turn."""
    size = _crowd_size()
    crowd = generator(server, "-c", str(size), "-C", "crowd", "-w", "1", "-W", "0", "-d", str(seconds + 3), "--announce")
    assert crowd.stderr is not None
    if crowd.stderr.readline().strip() != "ready":
        return {**outcome(crowd), "ok": False}
    _longest_turn_ms(server)
    time.sleep(0.2)
    _longest_turn_ms(server)  # now the block that the first question itself may have been is out as well
    small = generator(server, "-c", "10", "-C", "small", "-r", "10", "-w", "16", "-W", "1", "-d", str(seconds))
    prefer(small)
    of_small = outcome(small)
    longest = _longest_turn_ms(server)
    of_crowd = outcome(crowd)
    figures: Figures = {
        "ok": of_small["ok"] and of_crowd["ok"],
        "subscriptions": size,
        "longest_turn_ms": longest,
        "longest_turn_when_all_leave_ms": _longest_turn_ms(server),
        "latency_ms": of_small.get("latency_ms"),
        "small": of_small,
        "crowd": of_crowd,
    }
    said = [one["said"] for one in (of_small, of_crowd) if "said" in one]
    return figures | ({"said": "; ".join(said)} if said else {})
