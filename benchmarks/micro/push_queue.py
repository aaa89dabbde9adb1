"""How many notifications a second a push queue takes and gives, and what it costs to look at a long one.

Each queue is measured in this process: messages that go through in batches of 64 (produced, taken, finished with a
result that is taken and finished in turn) by one worker, with this process's CPU for each, and by four; the same with
large ones; messages produced one by one by 32 callers that wait for each; and, behind a flood of one app beside 1000
others, how long single calls take: taking 32, taking them with 8 of an app at most, the depths, when the next is due.
SQLite is in a folder on the disk given. PostgreSQL, MariaDB and Redis are the throw-away servers of the test suite, with
their default durability, Redis with an fsync for each write.

    .venv/bin/python benchmarks/micro/push_queue.py [--queues sqlite,memory] [--messages 20000] [--backlog 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from sockudo.jobs.ports import Job, JobQueue
from sockudo.push.messages import Stage

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from contract.places import QueuePlace
from support.databases import mariadb_server, postgres_server
from support.redis import redis_server

ROOT = Path(__file__).resolve().parents[2]
SERVERS: dict[str, Callable[..., Any]] = {
    "postgres": postgres_server,
    "mariadb": mariadb_server,
    "redis": redis_server,
}
BATCH = 64
IN_FLIGHT = 32
LEASE_MS = 600_000
REPETITIONS = 15


def now_ms() -> int:
    return int(time.time() * 1000)


def messages(stage: Stage, first: int, count: int, size: int, apps: int = 5) -> list[Job]:
    return [Job(stage, f"{n}", f"app{n % apps}", b"x" * size) for n in range(first, first + count)]


async def through(queue: JobQueue, count: int, size: int, workers: int = 1) -> tuple[float, float]:
    """Messages a second, and microseconds of this process's CPU for each.

    Each is taken and finished twice, once as a job and once as its result.
    """
    batches = iter(range(0, count, BATCH))

    async def work() -> None:
        for first in batches:
            await queue.put(messages("delivery_jobs_fcm", first, BATCH, size), now_ms())
            jobs = await queue.lease("delivery_jobs_fcm", BATCH, now_ms(), now_ms() + LEASE_MS)
            results = [job.message._replace(stage="delivery_results") for job in jobs]
            assert all(await queue.settle(jobs, results, now_ms()))
            leases = await queue.lease("delivery_results", BATCH, now_ms(), now_ms() + LEASE_MS)
            assert all(await queue.settle(leases, [], now_ms()))

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(workers)))
    return count / (time.perf_counter() - started), (time.process_time() - cpu) / count * 1e6


async def one_by_one(queue: JobQueue, count: int, size: int) -> float:
    async def caller(number: int) -> None:
        for n in range(count // IN_FLIGHT):
            await queue.put([Job("publish_log", f"{number}-{n}", "app", b"x" * size)], now_ms())

    started = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(IN_FLIGHT)))
    return count / (time.perf_counter() - started)


async def milliseconds(call: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        await call()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


async def behind_a_flood(queue: JobQueue, backlog: int, apps: int = 1000) -> list[float]:
    stage: Stage = "delivery_jobs_apns"
    for first in range(0, backlog, 1000):
        await queue.put(messages(stage, first, 1000, 300, apps=1), now_ms())
    await queue.put(messages(stage, backlog, apps, 300, apps=apps), now_ms())

    def take(per_app: int | None) -> Callable[[], Awaitable[object]]:
        return lambda: queue.lease(stage, 32, now_ms(), now_ms() + LEASE_MS, per_app=per_app)

    return [
        await milliseconds(take(None)),
        await milliseconds(take(8)),
        await milliseconds(lambda: queue.depths(now_ms())),
        await milliseconds(lambda: queue.next_due([stage])),
    ]


@contextlib.contextmanager
def place(kind: str, disk: str) -> Iterator[QueuePlace]:
    server = SERVERS[kind]() if kind in SERVERS else contextlib.nullcontext()
    with tempfile.TemporaryDirectory(prefix="push-queue-", dir=disk) as folder, server as running:
        yield QueuePlace.of(kind, Path(folder), running, "bench")


async def measure(kind: str, count: int, backlog: int, disk: str) -> list[float]:
    with place(kind, disk) as where:
        async with where.open(timeout_ms=60_000) as queue:
            alone, cpu = await through(queue, count, 300)
            together, _ = await through(queue, count, 300, workers=4)
            large, _ = await through(queue, max(count // 40, BATCH), 100_000)
            single = await one_by_one(queue, count // 2, 300)
            return [alone, cpu, together, large, single, *await behind_a_flood(queue, backlog)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queues", default="memory,sqlite,postgres,mariadb,redis")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--disk", default=str(ROOT))
    given = parser.parse_args()
    rates = ("through/s", "CPU µs", "by four", "100 KB/s", "single/s")
    calls = ("take", "fair", "depths", "due")
    print(f"{'':10}" + "".join(f"{name:>10}" for name in rates) + "".join(f"{name:>8}" for name in calls) + "  ms")
    for kind in given.queues.split(","):
        found = asyncio.run(measure(kind, given.messages, given.backlog, given.disk))
        print(
            f"{kind:10}" + "".join(f"{rate:10,.0f}" for rate in found[:5]) + "".join(f"{ms:8.2f}" for ms in found[5:])
        )


if __name__ == "__main__":
    main()
