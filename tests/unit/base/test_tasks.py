"""Tasks that are ended: those that obey, those that fail, those that do not hear it the first time."""

from __future__ import annotations

import asyncio
import contextlib

from sockudo.base.tasks import end_tasks
from support.virtual_time import in_virtual_time


async def for_ever() -> None:
    await asyncio.Event().wait()


@in_virtual_time
async def test_all_have_ended_afterwards() -> None:
    cleaned: list[str] = []

    async def slowly() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0.5)
            cleaned.append("slowly")

    async def fails() -> None:
        raise ValueError

    tasks = [asyncio.create_task(each()) for each in (for_ever, slowly, fails)]
    await asyncio.sleep(0.1)
    await end_tasks(tasks)
    assert [task.cancelled() for task in tasks] == [True, True, False]
    assert cleaned == ["slowly"]


@in_virtual_time
async def test_one_that_loses_its_cancellation_is_cancelled_again() -> None:
    """As happens in `asyncio.wait_for`, when what it waits for is done in the same moment."""
    rounds = 0

    async def again_and_again() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            with contextlib.suppress(asyncio.CancelledError if rounds == 1 else TimeoutError):
                await for_ever()

    task = asyncio.create_task(again_and_again())
    await asyncio.sleep(0.1)
    await end_tasks([task])
    assert (rounds, task.cancelled()) == (2, True)


@in_virtual_time
async def test_nothing_to_end() -> None:
    await end_tasks([])
