"""A subscriber that stops reading among 1,000 that do: who pays for it?

The same load runs on one server without the stalled subscriber, with it, and without it again. The server has to cut it off
(close code 4100) once its queue is over the limit; the others must lose nothing and keep their pace.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable
from urllib.parse import urlencode

from benchmarks.generator import Figures, generator, outcome
from benchmarks.processes import Running, resident_kb

__all__ = ["LIMIT_MESSAGES", "PAYLOAD", "run_stalled"]

# Large enough to fill the kernel's buffers and then the server's queue within seconds.
PAYLOAD = 1000
LIMIT_MESSAGES = 1000
_SUBSCRIBERS = 1000
_CHANNEL = "bench"
_SECONDS = 5
_LONGEST_SECONDS = 40
_DRAIN_SECONDS = 10


class Stalled:
    """Subscribes to a channel, reads nothing more until :meth:`drain`, and then says how it was closed."""

    def __init__(self, server: Running) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(10)
        self._socket.connect(("127.0.0.1", server.port))
        self._upgrade("/app/app-key?protocol=7&client=stalled&version=1")
        self._send_text(json.dumps({"event": "pusher:subscribe", "data": {"channel": _CHANNEL}}))
        self._read_until(b"subscription_succeeded")

    def _upgrade(self, path: str) -> None:
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._read_until(b"\r\n\r\n")

    def _send_text(self, text: str) -> None:
        data = text.encode()
        assert len(data) < 126
        self._socket.sendall(bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data)

    def _read_until(self, mark: bytes) -> None:
        """Reads byte by byte, so that what follows stays in the socket; keeps the bytes since the last mark."""
        self._rest = b""
        while mark not in self._rest:
            part = self._socket.recv(1)
            if not part:
                raise ConnectionError("the server closed the stalled subscriber while it still read")
            self._rest += part

    def drain(self) -> str:
        """Reads to the end: the close code as text, or ``reset``, ``cut off`` (no close frame) or ``still open``."""
        held, code = self._rest, ""
        self._socket.settimeout(_DRAIN_SECONDS)
        deadline = time.monotonic() + _DRAIN_SECONDS
        try:
            while not code and time.monotonic() < deadline:
                part = self._socket.recv(1 << 16)
                if not part:
                    return "cut off"
                held, code = _next_close(held + part)
        except TimeoutError:
            return "still open"
        except ConnectionError:
            return "reset"
        finally:
            self._socket.close()
        return code or "still open"


def _next_close(data: bytes) -> tuple[bytes, str]:
    """Steps over whole frames; returns what is not consumed, and the code of a close frame once there is one."""
    at = 0
    while len(data) - at >= 2:
        length, head = data[at + 1] & 127, 2
        if length == 126:
            length, head = int.from_bytes(data[at + 2 : at + 4]), 4
        elif length == 127:
            length, head = int.from_bytes(data[at + 2 : at + 10]), 10
        if len(data) - at < head + length:
            break
        if data[at] & 15 == 8:
            return b"", str(int.from_bytes(data[at + head : at + head + 2])) if length >= 2 else "no code"
        at += head + length
    return data[at:], ""


def _subscribers(server: Running) -> int | None:
    """How many subscriptions the server counts on the channel, asked over its signed HTTP API."""
    path = f"/apps/app-id/channels/{_CHANNEL}"
    query = {"auth_key": "app-key", "auth_timestamp": str(int(time.time())), "auth_version": "1.0", "info": "subscription_count"}
    text = "GET\n" + path + "\n" + "&".join(f"{key}={value}" for key, value in sorted(query.items()))
    query["auth_signature"] = hmac.new(b"app-secret", text.encode(), hashlib.sha256).hexdigest()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", f"{path}?{urlencode(query)}")
        answer: dict[str, int] = json.loads(connection.getresponse().read())
        return answer.get("subscription_count")
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _wait_until_cut(server: Running, until: float) -> float | None:
    """Seconds until the server no longer counts the stalled subscriber, or None when it still did at the end."""
    began = time.monotonic()
    while time.monotonic() < until:
        time.sleep(0.25)
        if _subscribers(server) == _SUBSCRIBERS:
            return round(time.monotonic() - began, 2)
    return None


class _Peak(threading.Thread):
    """The highest resident memory of a server while this runs, in kilobytes above the start."""

    def __init__(self, server: Running) -> None:
        super().__init__(daemon=True)
        self._server, self._ended = server, threading.Event()
        self._base = self._highest = resident_kb(server.pids)

    def run(self) -> None:
        while not self._ended.wait(0.1):
            self._highest = max(self._highest, resident_kb(self._server.pids))

    def stop(self) -> int:
        self._ended.set()
        self.join()
        return self._highest - self._base


def _loaded(server: Running, meanwhile: Callable[[], Figures] | None = None) -> Figures:
    """One run of the load; with ``meanwhile``, for as long as that takes once everyone is subscribed."""
    span = ["-W", "1", "-d", str(_LONGEST_SECONDS if meanwhile else _SECONDS)]
    process = generator(server, "-c", str(_SUBSCRIBERS), "-C", _CHANNEL, "-w", "16", *span, "--announce", payload=PAYLOAD)
    assert process.stderr is not None
    process.stderr.readline()
    peak = _Peak(server)
    peak.start()
    more = meanwhile() if meanwhile else {}
    if meanwhile:
        process.send_signal(signal.SIGINT)
    figures = outcome(process)
    return {**figures, **more, "growth_kb": peak.stop()}


def _slower(without: list[Figures], beside: Figures, rate: str) -> float | None:
    """What share of a rate was lost; per CPU-second it says what the stall costs, whoever else uses the machine."""
    usual = [figures[rate] for figures in without if figures.get(rate)]
    return 1 - beside[rate] / statistics.mean(usual) if usual and rate in beside else None


def run_stalled(server: Running) -> Figures:
    """Figures ``without`` and ``with`` the stalled subscriber, how it was closed and when, and what memory it cost."""
    _loaded(server)  # the first run grows what every run needs
    before = _loaded(server)
    stalled = Stalled(server)

    def wait() -> Figures:
        enough = time.monotonic() + 3
        cut_after = _wait_until_cut(server, time.monotonic() + _LONGEST_SECONDS - 5)
        closed = stalled.drain()
        time.sleep(max(0, enough - time.monotonic()))
        return {"cut_after_s": cut_after, "closed": closed}

    beside = _loaded(server, wait)
    after = _loaded(server)
    return {
        "ok": before["ok"] and beside["ok"] and after["ok"],
        "without": [before, after],
        "with": beside,
        "slower": _slower([before, after], beside, "per_server_cpu_second"),
        "slower_by_the_clock": _slower([before, after], beside, "per_second"),
        "lost": beside.get("lost", 0) + beside.get("extra", 0) + beside.get("gone", 0),
        "closed": beside.get("closed"),
        "cut_after_s": beside.get("cut_after_s"),
        "growth_mb": max(0, beside["growth_kb"] - before["growth_kb"]) / 1024,
    } | ({"said": beside["said"]} if "said" in beside else {})
