"""A backend that pushes: one publish and how it goes on, or as many as the server takes with some in flight."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import json
import statistics
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlencode

import uvloop

from benchmarks.processes import pinned
from benchmarks.push.devices import CHANNEL
from benchmarks.settings import CLIENT_CORE, PYTHON, ROOT

__all__ = ["Backend", "admitted"]

_PREFIX = "/apps/app-id/push"
_WARM = 0.5


def _target(method: str, path: str, body: bytes) -> str:
    query = {"auth_key": "app-key", "auth_timestamp": str(int(time.time())), "auth_version": "1.0"}
    if body:
        query["body_md5"] = hashlib.md5(body).hexdigest()
    text = f"{method}\n{path}\n" + "&".join(f"{key}={value}" for key, value in sorted(query.items()))
    signature = hmac.new(b"app-secret", text.encode(), hashlib.sha256).hexdigest()
    return f"{path}?{urlencode({**query, 'auth_signature': signature})}"


def _publish(publish_id: str | None = None, channel: str = CHANNEL) -> bytes:
    payload = {"title": "Shipped", "body": "Parcel 8841 is on its way", "collapseKey": "parcel-8841"}
    body = {"recipients": [{"type": "channel", "channel": channel}], "payload": payload}
    return json.dumps({**body, **({"publishId": publish_id} if publish_id else {})}).encode()


class Backend:
    """One connection to the server's API."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def publish(self, publish_id: str) -> None:
        """To everybody on the channel. Raises RuntimeError when it is not accepted."""
        self._ask("POST", "/publish", _publish(publish_id))

    def status(self, publish_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/publish/{publish_id}/status")

    def _ask(self, method: str, path: str, body: bytes = b"") -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        self._connection.request(method, _target(method, _PREFIX + path, body), body or None, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path} was answered {answer.status} {content[:200]!r}")
        return json.loads(content)


# ---- many at a time ----


def admitted(port: int, inflight: int, seconds: float, channel: str) -> dict[str, Any]:
    """Publishes a second, each waiting for its answer, and the milliseconds until that.

    They come from a process of their own on the clients' core. Raises RuntimeError when it fails.
    """
    command = [str(PYTHON), "-m", "benchmarks.push.backend", *map(str, (port, inflight, seconds, channel))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=pinned(CLIENT_CORE))
    if done.returncode:
        raise RuntimeError(done.stderr[-300:].strip())
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


async def _admitted(port: int, inflight: int, seconds: float, channel: str) -> dict[str, Any]:
    times: list[float] = []
    begun = time.perf_counter()
    start, end = begun + _WARM, begun + _WARM + seconds
    body = _publish(channel=channel)

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < end:
            head = f"POST {_target('POST', _PREFIX + '/publish', body)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 202"):
                raise RuntimeError(f"a publish was answered {answer[:100]!r}")
            length = answer.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            done = time.perf_counter()
            if start <= done <= end:
                times.append((done - began) * 1000)
        writer.close()

    await asyncio.gather(*(caller() for _ in range(inflight)))
    quantiles = statistics.quantiles(times, n=100)
    return {"per_second": round(len(times) / seconds, 1), "ack_ms": {"p50": round(quantiles[49], 2), "p99": round(quantiles[98], 2)}}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_admitted(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))))
