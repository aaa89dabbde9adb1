"""Calls of the history store, each awaited no longer than the configured time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from sockudo import errors
from sockudo.hub.streams.ports import OutcomeUnknown

__all__ = ["RETRY_AFTER", "Sleep", "StoreCalls", "unavailable"]

RETRY_AFTER = 1
"""Seconds after which a publisher may try again: a store that is back is noticed sooner."""

Sleep = Callable[[float], Awaitable[None]]
"""Waits for so many seconds; `asyncio.sleep`, but for tests."""

T = TypeVar("T")

_log = structlog.get_logger("sockudo.history")


def unavailable(text: str | None = None) -> errors.SockudoError:
    """The refusal while the store does not do what it should."""
    return errors.HISTORY_UNAVAILABLE(text, retry_after=RETRY_AFTER)


class StoreCalls:
    """Reads, which are given up when they take too long, and changes, which cannot be.

    A change is made under ``lock``, so there is one at a time, and what it did is taken notice of before the next one.
    One that takes too long goes on by itself: until it has ended nothing else is sent to the store, since what it
    does may still happen. An exception of a driver that an adapter does not handle becomes an `OutcomeUnknown`.
    """

    def __init__(self, timeout: float, sleep: Sleep) -> None:
        self.lock = asyncio.Lock()
        self._timeout = timeout
        self._sleep = sleep
        # The change that was given up and has not ended.
        self._hanging: asyncio.Task[Any] | None = None

    @property
    def hanging(self) -> bool:
        """Whether a change has been given up that is still under way."""
        return self._hanging is not None

    async def read(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of ``call``; raises errors.HISTORY_UNAVAILABLE when it takes too long."""
        task = asyncio.ensure_future(_mapped(call))
        try:
            if not await self._ends(task):
                raise unavailable(f"The history store did not answer within {self._timeout:g} s")
        finally:
            task.cancel()
        return task.result()

    async def change(self, call: Coroutine[Any, Any, T], late: Callable[[asyncio.Task[T]], None] | None = None) -> T:
        """The result of ``call``, made while ``lock`` is held.

        Raises `OutcomeUnknown` when it takes too long; ``late`` is then called with the task once it has ended. Raises
        errors.HISTORY_UNAVAILABLE, with nothing sent, while another one hangs.
        """
        if self._hanging is not None:
            call.close()
            raise unavailable("The history store hangs")
        task = asyncio.ensure_future(_mapped(call))
        if await self._ends(task):
            return task.result()
        self._hanging = task
        _log.warning("the history store hangs", seconds=self._timeout)
        if late is not None:
            task.add_done_callback(late)
        task.add_done_callback(self._answered)
        raise _unknown(f"The history store did not confirm within {self._timeout:g} s; nothing was published")

    async def free(self) -> None:
        """Returns once no change hangs."""
        if self._hanging is not None:
            await asyncio.wait({self._hanging})

    async def close(self) -> None:
        """Gives up a change that still hangs."""
        if self._hanging is not None:
            self._hanging.cancel()
            await asyncio.wait({self._hanging})

    def _answered(self, task: asyncio.Task[Any]) -> None:
        self._hanging = None
        problem = None if task.cancelled() else task.exception()
        _log.info("the history store answers again", problem=None if problem is None else type(problem).__name__)

    async def _ends(self, task: asyncio.Future[Any]) -> bool:
        timer = asyncio.ensure_future(self._sleep(self._timeout))
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        return task.done()


async def _mapped(call: Coroutine[Any, Any, T]) -> T:
    try:
        return await call
    except errors.SockudoError:
        raise
    except Exception as defect:
        _log.error("the history store failed in an unforeseen way", exc_info=defect)
        raise _unknown("The history store failed; nothing was published") from defect


def _unknown(text: str) -> OutcomeUnknown:
    return OutcomeUnknown(errors.HISTORY_UNAVAILABLE, text, RETRY_AFTER)
