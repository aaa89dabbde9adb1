"""Group commit for queues: calls that come while others are being stored are done together in the next step."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from sockudo import errors

__all__ = ["Rounds"]

C = TypeVar("C")

_Waiting = tuple[C, "asyncio.Future[Any]"]

_ROUND_BYTES: Final = 8 * 1024 * 1024
_WAITING_BYTES: Final = 64 * 1024 * 1024


class Rounds(Generic[C]):
    """Hands calls to ``work`` in rounds, one after another, and each its result.

    ``work`` does all of a round or none of it. A round that cannot be stored as it is (errors.INVALID_INPUT) is done
    again call by call, so that one call fails alone. ``weight`` is about how many bytes a call has: rounds are bounded,
    and so is what waits for one. A call whose caller has gone is not begun; when one goes during the round,
    ``unclaimed`` says with which calls its result is taken back. ``name`` is that of the queue in texts.
    """

    def __init__(
        self,
        work: Callable[[Sequence[C]], Awaitable[Sequence[Any]]],
        weight: Callable[[C], int],
        unclaimed: Callable[[C, Any], Sequence[C]],
        name: str,
    ) -> None:
        self._work = work
        self._weight = weight
        self._unclaimed = unclaimed
        self._name = name
        self._waiting: deque[_Waiting[C]] = deque()
        self._bytes = 0
        self._running: asyncio.Task[None] | None = None

    async def call(self, call: C) -> Any:
        """The result of the call, once its round is durable."""
        if self._bytes > _WAITING_BYTES:
            raise errors.SERVICE_UNAVAILABLE(f"{self._name} has more to do than it can", retry_after=1)
        future = self._add(call)
        try:
            return await future
        except asyncio.CancelledError:
            # The result was on its way.
            if not future.cancelled() and future.exception() is None:
                self._take_back(call, future.result())
            raise

    def _add(self, call: C) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((call, future))
        self._bytes += self._weight(call)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name=f"rounds of {self._name}")
        return future

    async def close(self) -> None:
        """Waits for what was asked for."""
        while self._running is not None:
            await asyncio.wait({self._running})

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._do(self._next())
        finally:
            self._running = None
            for _, future in self._waiting:
                future.cancel()
            self._waiting.clear()
            self._bytes = 0

    def _next(self) -> list[_Waiting[C]]:
        chosen: list[_Waiting[C]] = []
        size = 0
        while self._waiting and size < _ROUND_BYTES:
            call, future = self._waiting.popleft()
            size += self._weight(call)
            if not future.cancelled():
                chosen.append((call, future))
        self._bytes -= size
        return chosen

    async def _do(self, calls: Sequence[_Waiting[C]]) -> None:
        if not calls:
            return
        try:
            results = await self._work([call for call, _ in calls])
        except errors.SockudoError as problem:
            if problem.spec is errors.INVALID_INPUT and len(calls) > 1:
                for each in calls:
                    await self._do([each])
            else:
                _refuse(calls, problem)
        except Exception as mistake:  # noqa: BLE001 - whoever called gets it
            _refuse(calls, mistake)
        except BaseException:
            for _, future in calls:
                future.cancel()
            raise
        else:
            self._answer(calls, results)

    def _answer(self, calls: Sequence[_Waiting[C]], results: Sequence[Any]) -> None:
        for (call, future), result in zip(calls, results, strict=True):
            if future.cancelled():
                self._take_back(call, result)
            else:
                future.set_result(result)

    def _take_back(self, call: C, result: Any) -> None:
        for back in self._unclaimed(call, result):
            self._add(back).add_done_callback(_seen)


def _refuse(calls: Sequence[_Waiting[C]], problem: Exception) -> None:
    for _, future in calls:
        if not future.done():
            future.set_exception(_again(problem))


def _again(problem: Exception) -> Exception:
    """The same for each caller, since the way that an error went is noted in it."""
    if isinstance(problem, errors.SockudoError):
        return type(problem)(problem.spec, problem.text, problem.retry_after)
    return problem


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
