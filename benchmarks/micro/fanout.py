"""What one delivery costs on each way from Python to the socket, against a bare C loop.

A uvloop server holds N loopback connections that a C program drains on the other core. Every way writes the
same frame once to every connection, then waits for the reader's word that the whole round has arrived, so that
no way gains by piling up data. Printed: microseconds of this process's CPU per delivery (user + system), the
lowest and the median of the repetitions, and the ratio to the floor of the same run.

    .venv/bin/python benchmarks/micro/fanout.py [--connections 1000] [--rounds 200] [--repetitions 5]
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import resource
import socket
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop

FLOOR = Path(__file__).resolve().parent.parent / "build" / "sendfloor"
FRAME_BYTES = 155
SERVER_CORE, READER_CORE = "0", "1"

Connections = list[asyncio.Transport]
Way = Callable[[bytes], None]


class Accepted(asyncio.Protocol):
    """Keeps the transport of every accepted connection."""

    def __init__(self, into: Connections) -> None:
        self.into = into

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.into.append(cast(asyncio.Transport, transport))


def descriptor(transport: asyncio.Transport) -> int:
    return int(transport.get_extra_info("socket").fileno())


def over_transport(connections: Connections) -> Way:
    writes = [transport.write for transport in connections]

    def send(frame: bytes) -> None:
        for write in writes:
            write(frame)

    return send


def over_writelines(connections: Connections) -> Way:
    writes = [transport.writelines for transport in connections]

    def send(frame: bytes) -> None:
        parts = [frame]
        for write in writes:
            write(parts)

    return send


def over_duplicate(connections: Connections) -> Way:
    sockets = [socket.socket(fileno=os.dup(descriptor(transport))) for transport in connections]
    for one in sockets:
        one.setblocking(False)
    sends = [one.send for one in sockets]

    def send(frame: bytes) -> None:
        for each in sends:
            each(frame)

    return send


def over_os_write(connections: Connections) -> Way:
    descriptors = [descriptor(transport) for transport in connections]
    write = os.write

    def send(frame: bytes) -> None:
        for each in descriptors:
            write(each, frame)

    return send


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def timed(way: Way, rounds: int, report: asyncio.StreamReader, connections: int) -> float:
    frame = b"x" * FRAME_BYTES
    began = cpu_seconds()
    for _ in range(rounds):
        way(frame)
        await report.readexactly(1)
    return (cpu_seconds() - began) / rounds / connections * 1e6


async def connect(count: int, fast: bool) -> tuple[Connections, asyncio.StreamReader, asyncio.subprocess.Process]:
    connections: Connections = []
    loop = asyncio.get_running_loop()
    if fast:
        import aiofastnet

        server = await aiofastnet.create_server(loop, lambda: Accepted(connections), "127.0.0.1", 0, backlog=4096)
    else:
        server = await loop.create_server(lambda: Accepted(connections), "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    reader = await asyncio.create_subprocess_exec(
        "taskset", "-c", READER_CORE, str(FLOOR), "-c", str(count), "-b", str(FRAME_BYTES), "-R", str(port), stdout=asyncio.subprocess.PIPE
    )
    assert reader.stdout is not None
    while len(connections) < count:
        await asyncio.sleep(0.01)
    return connections, reader.stdout, reader


def floor(connections: int, rounds: int) -> float:
    command = [str(FLOOR), "-c", str(connections), "-m", str(rounds), "-b", str(FRAME_BYTES)]
    process = subprocess.Popen(["taskset", "-c", SERVER_CORE, *command], stdout=subprocess.PIPE)
    while not (children := Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()):
        pass
    os.sched_setaffinity(int(children[0]), {int(READER_CORE)})
    return float(json.loads(process.communicate()[0])["cpu_us_per_message"])


async def measure(options: argparse.Namespace) -> dict[str, list[float]]:
    ways = {
        "transport.write": (over_transport, False),
        "transport.writelines": (over_writelines, False),
        "socket.send on a duplicate": (over_duplicate, False),
        "os.write": (over_os_write, False),
    }
    if importlib.util.find_spec("aiofastnet"):
        ways["aiofastnet transport.write"] = (over_transport, True)
    figures: dict[str, list[float]] = {"floor": []}
    for _ in range(options.repetitions):
        figures["floor"].append(await asyncio.to_thread(floor, options.connections, options.rounds))
        for name, (build, fast) in ways.items():
            connections, report, reader = await connect(options.connections, fast)
            try:
                way = build(connections)
                await timed(way, 10, report, options.connections)
                figures.setdefault(name, []).append(await timed(way, options.rounds, report, options.connections))
            finally:
                reader.kill()
                await reader.wait()
                for transport in connections:
                    transport.abort()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {int(SERVER_CORE)})
    figures = uvloop.run(measure(options))
    bare = min(figures["floor"])
    print(f"{'way':32} {'min µs':>8} {'median':>8} {'of floor':>9}")
    for name, values in figures.items():
        print(f"{name:32} {min(values):8.2f} {statistics.median(values):8.2f} {bare / min(values):9.2f}")


if __name__ == "__main__":
    main()
