"""A process that works on a push store beside another one; run with ``-P``.

``race`` says "ready" once its store is open, begins when it is told to, and says what it got: as JSON, what
`push_stores.raced` returns. ``fill`` accepts publishes and counts an outcome of each, and says so after each, until it
is killed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from msgspec import json

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.push_stores import DAY, NOW, PushPlace, a_step, accept, raced


async def main() -> None:
    what, description, name = sys.argv[1:]
    place = PushPlace.described(description)
    async with place.open() as store:
        if what == "race":
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            print(json.encode(await raced(store, name)).decode(), flush=True)
            return
        for number in range(1_000_000):
            publish_id = f"{number:06d}"
            await accept(store, publish_id)
            await store.take_steps("app", publish_id, [a_step("k", publish_id=publish_id)], NOW, NOW + DAY)
            print(number, flush=True)


asyncio.run(main())
