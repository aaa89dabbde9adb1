"""How long the dashboard's lists of channels and connections take on a full server, and how long they hold the loop.

A server in this process has N connections without sockets and M channels. Every page and list is asked for, in the
process and through the dashboard's own front door. Printed: milliseconds until the answer, the median and the
longest of the repetitions, and the longest time for which nothing else got the loop meanwhile, in milliseconds of this
process's CPU.

    .venv/bin/python benchmarks/micro/dashboard.py [--connections 10000] [--channels 20000] [--repetitions 10]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec
import structlog
import uvloop

from sockudo.config import Settings
from sockudo.hub import Connection
from sockudo.server.server import Server

PASSWORD = "measured-password"
BIG = "presence-big"


class NoPeer:
    """The other end of a connection that there is not."""

    def __init__(self, number: int) -> None:
        self.address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"

    def write(self, data: bytes) -> None:
        pass

    def buffered(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None:
        pass


@dataclass
class Times:
    """Milliseconds."""

    answers: list[float]
    hold: float = 0.0


def settings(folder: Path) -> Settings:
    made = Settings()
    sections = {
        "metrics": {"port": 0, "host": "127.0.0.1"},
        "dashboard": {"password": PASSWORD},
    }
    changed = {name: msgspec.structs.replace(getattr(made, name), **values) for name, values in sections.items()}
    return msgspec.structs.replace(made, host="127.0.0.1", port=0, data_dir=str(folder), **changed)


def fill(server: Server, connections: int, channels: int) -> str:
    """Four channels for each connection, spread evenly, and everyone in one presence channel; the first socket id."""
    [app] = server.apps.all()
    hub = server.hub
    sessions: list[Connection] = []
    for number in range(connections):
        session = server.gateway.open(app, NoPeer(number), client="js", client_version="8.4.0")
        hub.join(session, BIG, f"user-{number}", b'{"name":"Somebody"}')
        sessions.append(session)
    for number in range(max(channels - 1, 4 * connections)):
        hub.subscribe(sessions[number % connections], f"private-room-{number % (channels - 1):06}")
    return sessions[0].socket_id


def paths(app_id: str, socket_id: str, connections: int, channels: int) -> list[str]:
    last_channels, last_connections = -(-channels // 50), -(-connections // 50)
    rooms, people = "/dashboard/channels", "/dashboard/connections"
    found = [
        rooms,
        f"{rooms}?page={last_channels}",
        f"{rooms}?page={last_channels // 2}",
        f"{rooms}?q=nothing-like-it",
        f"{rooms}?q=room-0&sort=subscriptions",
        f"{rooms}?sort=subscriptions&page={last_channels}",
        f"{rooms}?sort=subscriptions&page={last_channels // 2}",
        f"{rooms}?sort=users&per_page=200",
        f"{rooms}/{app_id}/{BIG}",
        f"{rooms}/{app_id}/{BIG}/subscribers?page={last_connections}",
        f"{rooms}/{app_id}/{BIG}/members?page={last_connections}&per_page=50",
        people,
        f"{people}?page={last_connections}",
        f"{people}?page={last_connections // 2}",
        f"{people}?q=nothing-like-it",
        f"{people}?q=user-9999&by=user_id",
        f"{people}?q={quote(BIG)}&by=channel&page={last_connections}",
        f"{people}?sort=buffered",
        f"{people}?sort=quiet&per_page=200",
        f"{people}/{socket_id}",
    ]
    return [*found, *(path.replace("/dashboard/", "/dashboard/api/v1/") for path in found)]


async def ask(server: Server, path: str) -> int:
    """One request to the dashboard; the status."""
    raw, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "path": raw,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {PASSWORD}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    status = 0

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = int(str(message["status"]))

    await server.dashboard(scope, receive, send)  # type: ignore[arg-type]  # as much of ASGI as is used
    return status


async def measure(server: Server, path: str, repetitions: int) -> Times:
    loop = asyncio.get_running_loop()
    times = Times([])
    last = time.thread_time()
    running = True

    def tick() -> None:
        nonlocal last
        now = time.thread_time()
        times.hold = max(times.hold, (now - last) * 1000)
        last = now
        if running:
            loop.call_soon(tick)

    for _ in range(repetitions):
        last = time.thread_time()
        running = True
        loop.call_soon(tick)
        begun = time.perf_counter()
        status = await ask(server, path)
        times.answers.append((time.perf_counter() - begun) * 1000)
        assert status == 200, (path, status)
        running = False
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return times


async def run(arguments: argparse.Namespace, folder: Path) -> None:
    server = Server(settings(folder))
    await server.start()
    socket_id = fill(server, arguments.connections, arguments.channels)
    await asyncio.sleep(0.5)
    gc.collect()
    gc.freeze()
    print(f"{arguments.connections} connections, {arguments.channels} channels; milliseconds")
    print(f"{'median':>8} {'longest':>8} {'loop held':>10}  path")
    for path in paths(server.apps.all()[0].id, socket_id, arguments.connections, arguments.channels):
        await ask(server, path)
        times = await measure(server, path, arguments.repetitions)
        print(f"{statistics.median(times.answers):8.1f} {max(times.answers):8.1f} {times.hold:10.1f}  {path}")
    await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--channels", type=int, default=20_000)
    parser.add_argument("--repetitions", type=int, default=10)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(run(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    main()
