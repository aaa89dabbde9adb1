"""What the push store takes: publishes accepted with many in flight, and outcomes counted in batches.

Each kind of store that is asked for starts empty, in a folder or on a throw-away server of its own. Printed: accepts
a second with ``--inflight`` publishers that each wait for their answer, and steps a second with ``--workers`` workers
that each count batches of ``--batch`` outcomes with their delivery events; CPU seconds of this process beside each.

    .venv/bin/python benchmarks/micro/push_store.py [--stores memory sqlite postgres mariadb] [--accepts 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from sockudo.push.lifecycle import Step
from sockudo.push.ports import PushStore
from sockudo.push.records import (
    Counters,
    DeliveryEvent,
    DeliveryResult,
    Payload,
    PublishIntent,
    PublishStatus,
    Target,
)
from sockudo.push.stores.sql import MemoryPushStore, server_push, sqlite_push
from support.databases import mariadb_server, postgres_server

NOW = 1_767_225_600_000
DAY = 86_400_000


@contextmanager
def opened(kind: str) -> Iterator[PushStore]:
    """A store that was not started."""
    if kind == "memory":
        yield MemoryPushStore()
    elif kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield sqlite_push(folder)
    elif kind == "postgres":
        with postgres_server() as server:
            yield server_push(server.postgres)
    else:
        with mariadb_server() as server:
            yield server_push(server.mysql)


async def accept(store: PushStore, number: int) -> None:
    name = f"publish-{number:08d}"
    intent = PublishIntent(
        app_id="app",
        publish_id=name,
        targets=[Target(type="channel", channel="news")],
        payload=Payload(title="Shipped", body="Parcel 8841 is on its way", collapse_key="parcel-8841"),
        regime="fastPath",
        accepted_at_ms=NOW,
    )
    counters = Counters(planned=3)
    status = PublishStatus(app_id="app", publish_id=name, state="queued", counters=counters, created_at_ms=NOW)
    assert await store.accept(status, intent, [f"publish-id:app:{name}", f"intent:{name}"], NOW + DAY) is None


async def count(store: PushStore, number: int, size: int) -> None:
    steps = [outcome(number * size + each) for each in range(size)]
    taken, _ = await store.take_steps("app", "publish-00000000", steps, NOW, NOW + 7 * DAY)
    assert len(taken) == size


def outcome(number: int) -> Step:
    result = DeliveryResult(
        app_id="app",
        publish_id="publish-00000000",
        provider="fcm",
        batch_id=f"fast-batch-fcm-{number // 500}",
        device_id=f"device-{number}",
        outcome="accepted",
        provider_message_id=f"projects/demo/messages/{number}",
    )
    event = DeliveryEvent(event_id=f"{number:064x}", occurred_at_ms=NOW + number, result=result)
    return Step(f"{number:064x}:1", "accepted", "fcm", device_id=f"device-{number}", event=event)


async def timed(total: int, inflight: int, work: Callable[[int], Awaitable[None]]) -> tuple[float, float]:
    """Seconds, and seconds of this process's CPU."""
    numbers = iter(range(total))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(inflight)))
    return time.perf_counter() - began, time.process_time() - cpu


async def measure(kind: str, store: PushStore, options: argparse.Namespace) -> None:
    await store.start()
    try:
        took, cpu = await timed(options.accepts, options.inflight, lambda number: accept(store, number))
        print(f"{kind:9} accept {options.accepts / took:10,.0f}/s   {took:6.2f} s, CPU {cpu:6.2f} s", flush=True)
        batches = options.steps // options.batch
        took, cpu = await timed(batches, options.workers, lambda number: count(store, number, options.batch))
        steps = batches * options.batch
        print(f"{kind:9} steps  {steps / took:10,.0f}/s   {took:6.2f} s, CPU {cpu:6.2f} s", flush=True)
    finally:
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stores", nargs="+", default=["memory", "sqlite", "postgres", "mariadb"])
    parser.add_argument("--accepts", type=int, default=10_000)
    parser.add_argument("--inflight", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    for kind in options.stores:
        with opened(kind) as store:
            uvloop.run(measure(kind, store, options))


if __name__ == "__main__":
    main()
