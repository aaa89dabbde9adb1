"""Work that many ask for at the same time is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

__all__ = ["SingleFlight"]

_Result = TypeVar("_Result")


class SingleFlight(Generic[_Result]):
    """Runs each key's work in a task of its own, so that one who gives up takes nothing from the others."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[_Result]] = {}

    async def run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """The result of the work that is under way for ``key``, or is started now; what it raises reaches all."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.get_running_loop().create_task(work())
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: Hashable, task: asyncio.Task[_Result]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled():
            # Whoever waited for it may have given up; its failure is then nobody's.
            task.exception()
