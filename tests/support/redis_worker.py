"""A process that shares a webhook queue: ``redis_worker.py PORT PREFIX work | hold MS`` prints the ids that it had."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from sockudo.config.sections import Redis, RedisTls
from sockudo.webhooks.ports import Outcome
from sockudo.webhooks.queues.redis import RedisWebhookQueue
from support.redis import PASSWORD


async def main(port: str, prefix: str, what: str, lease_ms: str = "60000") -> None:
    server = Redis(port=int(port), password=PASSWORD).server()
    queue = RedisWebhookQueue(server, RedisTls(), prefix=prefix, timeout_ms=5000)
    await queue.start()
    while await queue.next_due() is not None:
        now = int(time.time() * 1000)
        claims = await queue.claim(now, now + int(lease_ms), 3)
        print(*(claim.delivery.id for claim in claims), flush=True)
        if what == "hold":
            await asyncio.Event().wait()
        await queue.settle([(claim, Outcome("delivered", None)) for claim in claims], int(time.time() * 1000))
    await queue.close()


asyncio.run(main(*sys.argv[1:]))
