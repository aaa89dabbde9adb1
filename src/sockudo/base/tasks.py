"""Background tasks: started with an owner, ended for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar

import structlog

__all__ = ["end_tasks", "start_tasks", "without_waiting"]

_ASKED_AGAIN_AFTER: Final = 1.0

_log = structlog.get_logger("sockudo.server")


T = TypeVar("T")


def without_waiting(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for, without a task. Raises RuntimeError if it waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what the coroutine returned
    work.close()
    raise RuntimeError(f"{work!r} waits")


def start_tasks(*works: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    """Starts work that runs until its owner ends it with `end_tasks`; one that fails before is logged as an error."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work, name=getattr(work, "__qualname__", None)) for work in works]
    for task in tasks:
        task.add_done_callback(_report)
    return tasks


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (problem := task.exception()) is not None:
        _log.error("a background task failed", task=task.get_name(), exc_info=problem)


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks and returns when they have ended, however they did. What they raised is dropped.

    To cancel once is not always enough: up to Python 3.11, ``asyncio.wait_for`` loses it when what it waits for is done
    in the same moment, and libraries wait so at every request. A loop without end would go on then, and so would
    its waiter.
    """
    every = tuple(tasks)
    left = {task for task in every if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_ASKED_AGAIN_AFTER)
    for task in every:
        if not task.cancelled():
            task.exception()
