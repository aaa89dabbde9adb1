"""What it costs to carry payloads from one node to another, for each broker: throw-away ones on this machine.

Both nodes are in this process, so its CPU is that of publishing and of arriving together; the broker's is not counted.
Printed for each: a payload at a steady rate, from publish to arrival, and as many as go through when nothing waits.

    .venv/bin/python benchmarks/micro/carriers.py [--rate 1000] [--seconds 8] [--size 200] [nats postgres …]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import struct
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from sockudo.config import Settings
from sockudo.config.sections.databases import AdapterPostgres, Database
from sockudo.config.sections.drivers import Adapter
from sockudo.drivers.carriers import configured_carrier
from sockudo.drivers.carriers.mesh import mesh_carrier

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.databases import postgres_server
from support.nats import nats_server
from support.redis import redis_server

TOPICS = [f"c:app:{number}" for number in range(50)]


@contextlib.contextmanager
def on_nats():
    with nats_server() as server:
        yield lambda: configured_carrier(Settings(adapter=Adapter("nats", nats=server.settings)))


@contextlib.contextmanager
def on_postgres(mode):
    with postgres_server() as server:
        adapter = Adapter("postgres", postgres=AdapterPostgres(mode=mode))
        yield lambda: configured_carrier(Settings(adapter=adapter, database=Database(postgres=server.postgres)))


@contextlib.contextmanager
def on_redis():
    with redis_server() as server:
        yield lambda: configured_carrier(Settings(adapter=Adapter("redis"), database=Database(redis=server.settings)))


@contextlib.contextmanager
def on_mesh():
    with tempfile.TemporaryDirectory() as folder:
        yield lambda: mesh_carrier(Path(folder))


CARRIERS = {
    "mesh": on_mesh,
    "redis": on_redis,
    "nats": on_nats,
    "postgres": lambda: on_postgres("notify"),
    "postgres-polled": lambda: on_postgres("poll"),
}


class Arrivals:
    """When what was published arrived: each payload begins with when that was."""

    def __init__(self):
        self.took = []
        self.wanted = 0
        self.all = asyncio.Event()

    def arrived(self, _topic, payload):
        self.took.append(time.perf_counter() - struct.unpack_from("d", payload)[0])
        if len(self.took) == self.wanted:
            self.all.set()

    def connected(self):
        pass

    def disconnected(self, reason):
        print(f"  lost the connection: {reason}")

    def lost(self, topics):
        print(f"  lost payloads on {'every topic' if topics is None else f'{len(topics)} topics'}")


async def measure(make, options):
    sender, receiver, arrivals = make(), make(), Arrivals()
    await sender.open(Arrivals())
    await receiver.open(arrivals)
    await asyncio.gather(*map(receiver.subscribe, TOPICS))
    rest = bytes(max(0, options.size - 8))

    def publish(number):
        sender.publish(TOPICS[number % len(TOPICS)], struct.pack("d", time.perf_counter()) + rest)

    began, cpu, sent = time.perf_counter(), time.process_time(), 0
    while (now := time.perf_counter() - began) < options.seconds:
        while sent < now * options.rate:
            publish(sent)
            sent += 1
        await asyncio.sleep(0.002)
    await asyncio.sleep(1)
    cpu = time.process_time() - cpu
    took = sorted(arrivals.took)
    half, most = (took[int(len(took) * part)] * 1000 for part in (0.5, 0.99))
    print(
        f"  {options.rate:,}/s: {len(took):,} of {sent:,} arrived, half within {half:.1f} ms, 99 % within {most:.1f} ms; "
        f"{cpu / sent * 1e6:.0f} µs of CPU each"
    )
    arrivals.took.clear()
    # So many that the last ones take a while, and so few at a time that none is dropped.
    arrivals.wanted, window = options.burst, 2_000
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(options.burst):
        while number - len(arrivals.took) >= window:
            await asyncio.sleep(0)
        publish(number)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(arrivals.all.wait(), 30)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    count = len(arrivals.took)
    print(f"  at once: {count:,} of {options.burst:,} arrived, {count / took:,.0f}/s; {cpu / count * 1e6:.1f} µs of CPU each")
    await sender.close()
    await receiver.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("carriers", nargs="*", choices=[*CARRIERS, []], help="all where none is named")
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--burst", type=int, default=50_000)
    options = parser.parse_args()
    for name in options.carriers or CARRIERS:
        print(name, flush=True)
        with CARRIERS[name]() as make:
            uvloop.run(measure(make, options))


if __name__ == "__main__":
    main()
