"""A process beside others on one webhook queue in a file.

``queue_child.py FOLDER append LANES`` appends for ever and says after each call which id is safe now;
``queue_child.py FOLDER work SECONDS`` delivers until nothing waits and says what it delivers, in order;
``queue_child.py FOLDER hold`` claims what is due, says so, and never settles.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from sockudo.webhooks.ports import Outcome
from sockudo.webhooks.queues.sqlite import SqliteWebhookQueue
from support.webhooks import a_delivery


def now_ms() -> int:
    return int(time.time() * 1000)


async def append(queue: SqliteWebhookQueue, lanes: int) -> None:
    for number in itertools.count():
        await queue.append([a_delivery(f"{number}-{lane}", lane=lane) for lane in range(lanes)])
        print(number, flush=True)


async def work(queue: SqliteWebhookQueue, seconds: float) -> None:
    while await queue.next_due() is not None:
        claims = await queue.claim(now_ms(), now_ms() + 60_000, 2)
        for claim in claims:
            print(f"{time.monotonic():.9f} {claim.delivery.id}", flush=True)
        await asyncio.sleep(seconds)
        await queue.settle([(claim, Outcome("delivered", None)) for claim in claims], now_ms())


async def hold(queue: SqliteWebhookQueue) -> None:
    claims = await queue.claim(now_ms(), now_ms() + 3_600_000, 100)
    print(*(claim.delivery.id for claim in claims), flush=True)
    await asyncio.Event().wait()


async def main(folder: str, what: str, value: str = "0") -> None:
    queue = SqliteWebhookQueue(Path(folder))
    await queue.start()
    if what == "append":
        await append(queue, int(value))
    elif what == "work":
        await work(queue, float(value))
    else:
        await hold(queue)
    await queue.close()


asyncio.run(main(*sys.argv[1:]))
