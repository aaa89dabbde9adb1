"""A process beside others on one job queue.

``job_queue_child.py PLACE produce`` produces three messages at a time for ever and says after each call which number
is safe now; ``… work LEASE_MS`` takes messages and finishes them, making a result of each, until nothing is left, and
says what it finished; ``… hold`` takes what is due for an hour, says so, and does no more.

``… deliver LEASE_MS`` takes deliveries of the webhook queue until none waits; it says ``begin`` and their keys before
what would be a request, and ``end`` and their keys when the queue knows of it, both with the time in nanoseconds, which
is one clock for all processes of the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from contract.places import QueuePlace, a_job, keys
from sockudo.jobs.ports import JobQueue, ListedJobQueue


def now_ms() -> int:
    return int(time.time() * 1000)


async def produce(queue: JobQueue) -> None:
    for number in itertools.count():
        await queue.put([a_job(f"{number}-{part}", body=b"x" * 500) for part in range(3)], now_ms())
        print(number, flush=True)


async def work(queue: JobQueue, lease_ms: int) -> None:
    while await queue.next_due(["publish_log"]) is not None:
        now = now_ms()
        leases = await queue.lease("publish_log", 8, now, now + lease_ms, per_app=3)
        # Long enough for another process to come in between; what somebody else has may take its time.
        await asyncio.sleep(0.003 if leases else 0.03)
        if not leases:
            continue
        results = [a_job(lease.job.key, "delivery_results") for lease in leases]
        done = await queue.settle(leases, results, now_ms())
        print(*(key for key, was in zip(keys(leases), done, strict=True) if was), flush=True)


async def deliver(queue: ListedJobQueue, lease_ms: int) -> None:
    while await queue.next_due(["waiting"]) is not None:
        now = now_ms()
        leases = await queue.lease("waiting", 12, now, now + lease_ms, per_app=8, run=3)
        if not leases:
            await asyncio.sleep(0.03)
            continue
        print(time.monotonic_ns(), "begin", *keys(leases), flush=True)
        await asyncio.sleep(0.01)
        said = time.monotonic_ns()
        done = await queue.change([(lease, lease.job._replace(stage="delivered")) for lease in leases], now_ms())
        print(said, "end", *(key for key, was in zip(keys(leases), done, strict=True) if was), flush=True)


async def hold(queue: JobQueue) -> None:
    leases = await queue.lease("publish_log", 100, now_ms(), now_ms() + 3_600_000)
    print(*keys(leases), flush=True)
    await asyncio.Event().wait()


async def main(place: str, what: str, value: str = "0") -> None:
    async with QueuePlace.unpacked(place).open() as queue:
        if what == "produce":
            await produce(queue)
        elif what == "work":
            await work(queue, int(value))
        elif what == "deliver":
            await deliver(queue, int(value))
        else:
            await hold(queue)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
