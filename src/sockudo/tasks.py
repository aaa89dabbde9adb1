"""Ends tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["end_tasks"]

_ASKED_AGAIN_AFTER: Final = 1.0


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks and returns when they have ended, however they did. What they raised is not told.

    To cancel once is not always enough: up to Python 3.11, ``asyncio.wait_for`` loses it when what it waits for is done
    in the same moment, and libraries wait so at every request. A loop without end would go on then, and so would
    whoever waits for it.
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
