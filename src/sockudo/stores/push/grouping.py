"""Changes that are asked for at the same time share a transaction: whatever waits when one ends goes into the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sockudo.errors import SockudoError
from sockudo.stores.sql.failures import RETRY_AFTER, Subject, capital
from sockudo.stores.sql.worker import Worker
from sockudo.streams.ports import OutcomeUnknown

__all__ = ["Groups", "Work"]

Work = Callable[[Connection, Sequence[Any]], Sequence[Any]]
"""Makes several changes of one kind; a result for each, in order."""

_MOST_WEIGHT: Final = 2000
_MOST_WAITING: Final = 200_000


class _Entry:
    __slots__ = ("future", "request", "weight", "work")

    def __init__(self, work: Work, request: Any, weight: int, future: asyncio.Future[Any]) -> None:
        self.work = work
        self.request = request
        self.weight = weight
        self.future = future

    def fail(self, problem: BaseException) -> None:
        if self.future.done():
            return
        if isinstance(problem, SockudoError):
            # Everybody raises an exception of their own.
            problem = type(problem)(problem.spec, problem.text, problem.retry_after)
        self.future.set_exception(problem)
        # Who is gone does not ask, which is no defect.
        self.future.exception()


class Groups:
    """The queue of changes of one process, and the only thing that makes them.

    ``kinds`` is the order in which kinds of work take their locks, so that processes do not wait for each other in a
    circle. A change that the database cannot hold fails alone: the others of its group are made without it.
    """

    def __init__(self, worker: Worker, kinds: Sequence[Work], of: Subject) -> None:
        self._worker = worker
        self._kinds = tuple(kinds)
        self._of = of
        self._waiting: deque[_Entry] = deque()
        self._waiting_weight = 0
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """On the running loop, which may be another one than before."""
        if self._task is None:
            self._arrived = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._run(), name="push-store-writer")

    async def close(self) -> None:
        """Makes the changes that wait, and takes no more."""
        task, self._task = self._task, None
        if task is not None:
            self._arrived.set()
            await task

    async def do(self, work: Work, request: Any, *, weight: int = 1) -> Any:
        """The result of the change once it is durable. ``weight`` is how many rows it is about.

        A change whose caller has gone before it was begun is not made.
        """
        if self._task is None:
            raise self._closed()
        if self._waiting_weight > _MOST_WAITING:
            raise self._of.spec(f"{capital(self._of.store)} has more to do than it can", retry_after=RETRY_AFTER)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(work, request, weight, future))
        self._waiting_weight += weight
        self._arrived.set()
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting or self._task is not None:
                await self._arrived.wait()
                if self._waiting:
                    group = self._take()
                    if group:
                        await self._commit(group)
                elif self._task is not None:
                    self._arrived.clear()
        finally:
            while self._waiting:
                self._waiting.popleft().fail(self._closed())

    def _closed(self) -> SockudoError:
        return self._of.spec(f"{capital(self._of.store)} is not open", retry_after=RETRY_AFTER)

    def _take(self) -> list[_Entry]:
        group: list[_Entry] = []
        weight = 0
        while self._waiting and (not group or weight + self._waiting[0].weight <= _MOST_WEIGHT):
            entry = self._waiting.popleft()
            self._waiting_weight -= entry.weight
            if not entry.future.cancelled():
                group.append(entry)
                weight += entry.weight
        return group

    async def _commit(self, group: Sequence[_Entry]) -> None:
        by_kind = [[entry for entry in group if entry.work == kind] for kind in self._kinds]
        entries = [entry for kind in by_kind for entry in kind]
        calls = [(kind[0].work, [entry.request for entry in kind]) for kind in by_kind if kind]
        try:
            results = await self._worker.write(partial(_make, calls))
        except Exception as problem:  # noqa: BLE001 - whoever asked for the change hears of it
            if len(group) == 1 or self._is_trouble(problem):
                for entry in group:
                    entry.fail(problem)
                return
            # One of them cannot be made: the others must not suffer.
            middle = len(group) // 2
            await self._commit(group[:middle])
            await self._commit(group[middle:])
        else:
            for entry, result in zip(entries, results, strict=True):
                if not entry.future.done():
                    entry.future.set_result(result)

    def _is_trouble(self, problem: Exception) -> bool:
        """Whether it is the database's, so that none of the changes has a chance."""
        of_database = isinstance(problem, SockudoError) and problem.spec is self._of.spec
        return of_database and (
            isinstance(problem, OutcomeUnknown) or isinstance(problem.__cause__, DBAPIError | OSError)
        )


def _make(calls: Sequence[tuple[Work, Sequence[Any]]], connection: Connection) -> list[Any]:
    return [result for work, requests in calls for result in work(connection, requests)]
