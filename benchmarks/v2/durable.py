"""What is kept on disk: publishes that wait for their commit, pages of a long history, and clients that come back."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import random
import signal
import statistics
import time
from collections.abc import Iterator
from urllib.parse import urlencode

from benchmarks.crowd import prefer
from benchmarks.generator import Figures, generator, outcome
from benchmarks.processes import Running, cpu_seconds
from benchmarks.settings import CLIENT_CORE
from benchmarks.v2.loads import STREAM

__all__ = [
    "MESSAGES",
    "STORM",
    "page_figures",
    "publish_figures",
    "resume_figures",
    "stock_for_resumes",
    "stock_for_storm",
    "storm_figures",
]

# Channels that durable publishes are dealt to.
_CHANNELS = 16
# A resume: messages that each asks for, clients, and channels that these are spread over.
MESSAGES, RESUMES, _RESUME_CHANNELS = 100, 500, 20
# After a restart: clients, the channels that they are spread over, and what each has missed.
STORM, _STORM_CHANNELS, _STORM_MISSED = 1000, 100, 10


def publish_figures(server: Running, seconds: float) -> Figures:
    """Publishes without subscribers, 64 in flight."""
    return outcome(generator(server, "-x", "-w", "64", "-n", str(_CHANNELS), "-d", str(seconds), "-W", "1" if seconds > 2 else "0.5"))


# ---- pages ----


def _signed(path: str, **parameters: str) -> str:
    query = {"auth_key": "app-key", "auth_timestamp": str(int(time.time())), "auth_version": "1.0", **parameters}
    text = f"GET\n{path}\n" + "&".join(f"{key}={value}" for key, value in sorted(query.items()))
    signature = hmac.new(b"app-secret", text.encode(), hashlib.sha256).hexdigest()
    return f"{path}?{urlencode({**query, 'auth_signature': signature})}"


@contextlib.contextmanager
def _on_client_core() -> Iterator[None]:
    """This process itself is the client."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CLIENT_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def _page(connection: http.client.HTTPConnection, **parameters: str) -> tuple[float, dict[str, object]]:
    """Milliseconds until the page had come, and the page."""
    target = _signed(f"/apps/app-id/channels/{STREAM}/history", limit="100", **parameters)
    began = time.perf_counter()
    connection.request("GET", target)
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - began) * 1000
    if answer.status != 200:
        raise ValueError(f"a page was answered {answer.status} {body[:200]!r}")
    return took, json.loads(body)


def _check(page: dict[str, object], serials: range) -> None:
    found = [item["serial"] for item in page["items"]]  # type: ignore[index, attr-defined]
    if found != list(serials):
        raise ValueError(f"a page has {found[:2]} … {found[-1:]} for {serials}")


def page_figures(server: Running, messages: int, samples: int) -> Figures:
    """Pages of 100 at random places: each way on from a serial, and from the cursor of the page before."""
    times: dict[str, list[float]] = {}
    dice, spent = random.Random(1), cpu_seconds(server.pids)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        with _on_client_core():
            for _ in range(samples):
                at = dice.randint(201, messages - 200)
                for direction, bound, serials in (("oldest_first", "start_serial", range(at, at + 200)), ("newest_first", "end_serial", range(at, at - 200, -1))):
                    took, page = _page(connection, direction=direction, **{bound: str(at)})
                    _check(page, serials[:100])
                    times.setdefault(direction, []).append(took)
                    took, page = _page(connection, direction=direction, cursor=str(page["next_cursor"]), **{bound: str(at)})
                    _check(page, serials[100:])
                    times.setdefault(f"{direction}, cursor", []).append(took)
    except (OSError, ValueError, http.client.HTTPException) as problem:
        return {"ok": False, "said": str(problem)}
    finally:
        connection.close()
    ways = {way: statistics.quantiles(found, n=100) for way, found in times.items()}
    pages = sum(map(len, times.values()))
    return {
        "ok": True,
        "messages": messages,
        "pages": pages,
        "cpu_ms_per_page": (cpu_seconds(server.pids) - spent) * 1000 / pages,
        "p50": max(quantiles[49] for quantiles in ways.values()),
        "p99": max(quantiles[98] for quantiles in ways.values()),
        "ways": {way: {"p50": quantiles[49], "p99": quantiles[98], "max": max(times[way])} for way, quantiles in ways.items()},
    }


# ---- resuming ----

_V2 = ("--query", "protocol=2")


def _stock(server: Running, prefix: str, channels: int, each: int) -> None:
    """Publishes until each of the channels has so many messages. Raises RuntimeError when that does not succeed."""
    published = 0
    for _ in range(10):
        figures = outcome(generator(server, "-x", "-w", "64", "-n", str(channels), "-C", prefix, "-d", "1", "-W", "0"))
        published += figures.get("publishes", 0)
        if not figures["ok"]:
            raise RuntimeError(f"publishing before the resumes: {figures.get('said', 'failed')}")
        if published >= channels * (each + 1):
            return
    raise RuntimeError(f"only {published} publishes before the resumes")


def _resumed(figures: Figures, source: str) -> Figures:
    """The same; not well when somebody was answered from elsewhere."""
    if figures["ok"] and figures["cold"] != (figures["resumes"] if source == "cold" else 0):
        return {**figures, "ok": False, "said": f"{figures['cold']} of {figures['resumes']} resumes came from the store"}
    return figures


def stock_for_resumes(server: Running) -> None:
    """What `resume_figures` asks for."""
    _stock(server, "resume", _RESUME_CHANNELS, MESSAGES)


def resume_figures(server: Running, source: str) -> Figures:
    """Eight at a time ask for the last messages; ``hot`` from the replay buffer or ``cold`` from the store."""
    arguments = ["-c", str(RESUMES), "-n", str(_RESUME_CHANNELS), "-C", "resume", "-w", "8", "--resume", str(MESSAGES)]
    return _resumed(outcome(generator(server, *arguments, *_V2)), source)


def stock_for_storm(server: Running) -> None:
    """What `storm_figures` asks for."""
    _stock(server, "storm", _STORM_CHANNELS, _STORM_MISSED)


def storm_figures(server: Running) -> Figures:
    """All connect and resume at once, while ten others listen to a channel that is published to 100 times a second."""
    live = generator(server, "-c", "10", "-C", "live", "-r", "100", "-w", "64", "-W", "0", "-d", "30", "--announce", *_V2)
    prefer(live)
    assert live.stderr is not None
    if live.stderr.readline().strip() != "ready":
        return {**outcome(live), "ok": False}
    time.sleep(0.5)
    arguments = ["-c", str(STORM), "-n", str(_STORM_CHANNELS), "-C", "storm", "--resume", str(_STORM_MISSED), "--at-once"]
    storm = _resumed(outcome(generator(server, *arguments, *_V2)), "cold")
    live.send_signal(signal.SIGINT)
    of_live = outcome(live)
    said = [one["said"] for one in (storm, of_live) if "said" in one]
    return {**storm, "ok": storm["ok"] and of_live["ok"], "live": of_live} | ({"said": "; ".join(said)} if said else {})
