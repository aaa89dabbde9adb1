"""Group commit: calls that arrive while others are being stored are stored together in the next transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final, NamedTuple

from sockudo.errors import SockudoError

__all__ = ["Bounds", "Call", "Commit", "GroupCommit", "Withdraw"]

_UNAVAILABLE: Final = 503


class Bounds(NamedTuple):
    """``group`` and ``calls``: weight and number of calls at which a transaction is full. ``waiting``: the weight of
    waiting calls above which `GroupCommit.do` refuses more.
    """

    group: int
    waiting: int
    calls: int = 1_000_000


class Call:
    """One request on its way into the store; ``weight`` counts towards the bounds, in their unit."""

    __slots__ = ("future", "request", "weight")

    def __init__(self, request: Any, weight: int) -> None:
        self.request = request
        self.weight = weight
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def abandoned(self) -> bool:
        """Whether the caller has gone and the request need not be stored."""
        return self.future.cancelled()

    def answer(self, result: Any) -> None:
        """Gives the caller its result, unless it has an answer or has gone."""
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, problem: BaseException) -> None:
        """Raises the problem at the caller, unless it has an answer or has gone."""
        if self.future.done():
            return
        if isinstance(problem, SockudoError):
            # A traceback grows with each raise, so each caller has an exception of its own.
            problem = type(problem)(problem.spec, problem.text, problem.retry_after)
        self.future.set_exception(problem)
        # A caller that has gone does not read it, which is no defect.
        self.future.exception()


Commit = Callable[[Sequence[Any]], Awaitable[Sequence[Any] | None]]
"""Stores all of the calls, each a `Call`, or none. Returns a result for each; None when it has answered them itself."""

Withdraw = Callable[[Any, Any], Sequence[Any]]
"""The requests that undo a request whose result has no taker; called with both."""


class GroupCommit:
    """Stores calls in groups, one group after another, in the order of their arrival.

    A group whose failure ``is_shared`` fails as a whole: by default a defect, and an error with status 503. Any other
    failure is that of single calls: the group is halved and tried again, until each call that can be stored is.
    ``turn`` surrounds each group, which is chosen inside of it. ``refusal`` makes the error for a full queue from the
    end of a sentence. ``name`` is for the names of tasks.
    """

    def __init__(
        self,
        commit: Commit,
        bounds: Bounds,
        refusal: Callable[[str], SockudoError],
        *,
        name: str,
        is_shared: Callable[[Exception], bool] | None = None,
        withdraw: Withdraw = lambda _request, _result: (),
        turn: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
    ) -> None:
        self._commit = commit
        self._bounds = bounds
        self._refusal = refusal
        self._name = name
        self._is_shared = is_shared or _is_unavailable
        self._withdraw = withdraw
        self._turn = turn
        self._waiting: deque[Call] = deque()
        self._task: asyncio.Task[None] | None = None
        self.waiting_weight = 0
        self.group_size = 0

    @property
    def waiting(self) -> int:
        """Calls that are in no group yet."""
        return len(self._waiting)

    async def do(self, request: Any, weight: int = 1) -> Any:
        """Returns the result of the request once its group is durable.

        Raises the refusal while more waits than the bounds allow. A request whose caller goes before its group began
        is not stored; when the caller goes later, the result is withdrawn.
        """
        if self.waiting_weight > self._bounds.waiting:
            raise self._refusal("has more to do than it can")
        call = Call(request, weight)
        self.submit(call)
        try:
            return await call.future
        except asyncio.CancelledError:
            # The result was on its way.
            if not call.future.cancelled() and call.future.exception() is None:
                self._undo(call, call.future.result())
            raise

    def submit(self, call: Call) -> None:
        """Puts the call at the end of the queue, past the bounds; its future is the caller's."""
        self._waiting.append(call)
        self.waiting_weight += call.weight
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"group commit of {self._name}")

    def refuse_waiting(self, problem: SockudoError) -> None:
        """Fails every call that is in no group yet."""
        waiting = list(self._waiting)
        self._waiting.clear()
        self.waiting_weight = 0
        for call in waiting:
            call.fail(problem)

    async def close(self) -> None:
        """Returns once every call has its answer."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            while self._waiting:
                async with self._turn():
                    group = self._next()
                    self.group_size = len(group)
                    await self._store(group)
        finally:
            self._task = None
            self.group_size = self.waiting_weight = 0
            for call in self._waiting:
                call.future.cancel()
            self._waiting.clear()

    def _next(self) -> list[Call]:
        group: list[Call] = []
        weight = 0
        while self._waiting and weight < self._bounds.group and len(group) < self._bounds.calls:
            call = self._waiting.popleft()
            weight += call.weight
            if not call.abandoned:
                group.append(call)
        self.waiting_weight -= weight
        return group

    async def _store(self, calls: Sequence[Call]) -> None:
        if not calls:
            return
        try:
            results = await self._commit(calls)
        except Exception as problem:  # noqa: BLE001 - the callers get it
            if len(calls) == 1 or self._is_shared(problem):
                for call in calls:
                    call.fail(problem)
            else:
                middle = len(calls) // 2
                await self._store(calls[:middle])
                await self._store(calls[middle:])
        except BaseException:
            for call in calls:
                call.future.cancel()
            raise
        else:
            if results is not None:
                self._answer(calls, results)

    def _answer(self, calls: Sequence[Call], results: Sequence[Any]) -> None:
        for call, result in zip(calls, results, strict=True):
            if call.future.cancelled():
                self._undo(call, result)
            else:
                call.answer(result)

    def _undo(self, call: Call, result: Any) -> None:
        for request in self._withdraw(call.request, result):
            undoing = Call(request, 1)
            undoing.future.add_done_callback(_retrieve)
            self.submit(undoing)


def _is_unavailable(problem: Exception) -> bool:
    return not isinstance(problem, SockudoError) or problem.spec.status == _UNAVAILABLE


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
