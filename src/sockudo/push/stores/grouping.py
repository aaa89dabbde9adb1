"""Changes of the push store that come at the same time share a transaction, in one order of kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sockudo import errors
from sockudo.errors import OutcomeUnknown, SockudoError
from sockudo.storage.failures import RETRY_AFTER, Subject, capital
from sockudo.storage.group_commit import Bounds, Call, GroupCommit
from sockudo.storage.worker import Worker

__all__ = ["Groups", "Work"]

Work = Callable[[Connection, Sequence[Any]], Sequence[Any]]
"""Makes several changes of one kind; a result for each, in order."""

_BOUNDS: Final = Bounds(group=2000, waiting=200_000)


class Groups:
    """The group commit of a push store, whose calls are changes of several kinds; weights are in rows.

    ``kinds`` is the order in which kinds of work take their locks, so that processes do not wait for each other in a
    circle.
    """

    def __init__(self, worker: Worker, kinds: Sequence[Work], of: Subject) -> None:
        self._worker = worker
        self._kinds = tuple(kinds)
        self._commits = GroupCommit(
            self._commit,
            _BOUNDS,
            lambda text: of.spec(f"{capital(of.store)} {text}", retry_after=RETRY_AFTER),
            name=of.store,
            is_shared=_is_of_database,
        )

    async def close(self) -> None:
        """Returns once the changes that wait are made."""
        await self._commits.close()

    async def do(self, work: Work, request: Any, *, weight: int = 1) -> Any:
        """Returns the result of the change once it is durable. ``weight`` is how many rows it is about.

        A change whose caller goes before it was begun is not made.
        """
        return await self._commits.do((work, request), weight)

    async def _commit(self, calls: Sequence[Call]) -> None:
        by_kind = [[call for call in calls if call.request[0] == kind] for kind in self._kinds]
        works = [(kind[0].request[0], [call.request[1] for call in kind]) for kind in by_kind if kind]
        results = await self._worker.write(partial(_make, works))
        for call, result in zip((call for kind in by_kind for call in kind), results, strict=True):
            call.answer(result)


def _is_of_database(problem: Exception) -> bool:
    """A record that cannot be read has status 503 too, but concerns a single change."""
    if not isinstance(problem, SockudoError) or problem.spec is errors.INVALID_INPUT:
        return False
    return isinstance(problem, OutcomeUnknown) or isinstance(problem.__cause__, DBAPIError | OSError)


def _make(works: Sequence[tuple[Work, Sequence[Any]]], connection: Connection) -> list[Any]:
    return [result for work, requests in works for result in work(connection, requests)]
