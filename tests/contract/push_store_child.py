"""A process that works on a push store beside another one; run with ``-P``.

``race`` says "ready" once its store is open, begins when it is told to, and says what it got: as JSON, what
`raced` returns. ``fill`` accepts publishes and counts an outcome of each, and says so after each, until it
is killed.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import NamedTuple

from msgspec import json, structs

sys.path.insert(0, str(Path(__file__).parent.parent))

from contract.places import PushPlace
from sockudo.push.outcomes import change_status
from sockudo.push.ports import PushStore
from sockudo.push.records import Counters, PublishStatus
from support.push_stores import (
    DAY,
    NOW,
    a_status,
    a_step,
    accept,
    an_intent,
)

RACED = 60
"""Publishes, locks and keys that processes race for; ten steps for each."""


class Raced(NamedTuple):
    """What one of them got: names of publishes, steps, locks and keys, and how often it changed the shared status."""

    accepted: list[str]
    lost: dict[str, int]
    steps: list[str]
    locks: list[str]
    keys: list[str]
    changes: int


async def raced(store: PushStore, name: str) -> Raced:
    """Asks for everything that others want as well, all at once; there has to be a publish ``shared``.

    ``name`` is a small number: publishes plan as many recipients, so that one can tell who accepted them.
    """
    names = [f"n{number:02d}" for number in range(RACED)]
    order = random.Random(name)

    def shuffled(count: int) -> list[int]:
        return order.sample(range(count), count)

    async def one_accept(publish_id: str) -> PublishStatus | None:
        status = a_status(publish_id, counters=Counters(planned=int(name)))
        return await store.accept(
            status, an_intent(publish_id), [f"id:{publish_id}", f"intent:{publish_id}"], NOW + DAY
        )

    async def some_steps() -> list[str]:
        found: list[str] = []
        steps = [a_step(f"s{number:03d}", publish_id="shared") for number in shuffled(10 * RACED)]
        for start in range(0, len(steps), 20):
            taken, _ = await store.take_steps("app", "shared", steps[start : start + 20], NOW, NOW + DAY)
            found += [step.key for step in taken]
        return found

    async def some_changes() -> int:
        for _ in range(10):
            await change_status(store, "app", "shared", _one_more_planned, NOW)
        return 10

    accepts, steps, locks, keys, changes = await asyncio.gather(
        asyncio.gather(*(one_accept(names[number]) for number in shuffled(RACED))),
        some_steps(),
        asyncio.gather(*(store.lock("app", each, name, NOW, NOW + DAY) for each in names)),
        asyncio.gather(*(store.record_once("app", f"key:{each}", NOW, NOW + DAY) for each in names)),
        some_changes(),
    )
    lost = {status.publish_id: status.counters.planned for status in accepts if status is not None}
    return Raced(
        accepted=sorted(set(names) - set(lost)),
        lost=lost,
        steps=steps,
        locks=[each for each, got in zip(names, locks, strict=True) if got],
        keys=[each for each, got in zip(names, keys, strict=True) if got],
        changes=changes,
    )


def _one_more_planned(status: PublishStatus) -> PublishStatus:
    return structs.replace(status, counters=structs.replace(status.counters, planned=status.counters.planned + 1))


async def main() -> None:
    what, description, name = sys.argv[1:]
    place = PushPlace.unpacked(description)
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


if __name__ == "__main__":
    asyncio.run(main())
