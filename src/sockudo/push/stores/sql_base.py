"""What the parts of the SQL push store have in common: where reads go, and changes, which share transactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, Select
from sqlalchemy.exc import DBAPIError

from sockudo import errors
from sockudo.errors import OutcomeUnknown, SockudoError
from sockudo.push.stores.changes import change_locks, change_publishes, put_devices, put_subscriptions, record_keys
from sockudo.push.stores.schema import Tables
from sockudo.push.stores.statements import Statements
from sockudo.storage.failures import RETRY_AFTER, Subject, capital
from sockudo.storage.group_commit import Bounds, Call, GroupCommit
from sockudo.storage.worker import Worker

__all__ = ["Groups", "Kinds", "SqlRoom", "Work", "kinds_of", "one_by_one"]

Work = Callable[[Connection, Sequence[Any]], Sequence[Any]]
"""Makes several changes of one kind; a result for each, in order."""

_BOUNDS: Final = Bounds(group=2000, waiting=200_000)

T = TypeVar("T")


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


class Kinds(NamedTuple):
    """Work that is done for many at a time, in the order in which it takes its locks."""

    publishes: Work
    recording: Work
    locking: Work
    devices: Work
    subscriptions: Work
    others: Work


def kinds_of(sql: Statements) -> Kinds:
    return Kinds(
        publishes=partial(change_publishes, sql),
        recording=partial(record_keys, sql),
        locking=partial(change_locks, sql),
        devices=partial(put_devices, sql),
        subscriptions=partial(put_subscriptions, sql),
        others=one_by_one,
    )


class SqlRoom:
    """Reads go to threads that never wait for a writer, changes into the next transaction."""

    def __init__(self, tables: Tables, sql: Statements, readers: Worker, groups: Groups, kinds: Kinds) -> None:
        self._tables = tables
        self._sql = sql
        self._readers = readers
        self._groups = groups
        self._kinds = kinds

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._readers.read(work)

    async def _all(
        self, wanted: Select[Any], record_of: Callable[[Row[Any]], T], given: Mapping[str, object] | None = None
    ) -> list[T]:
        def read(connection: Connection) -> list[T]:
            return [record_of(row) for row in connection.execute(wanted, given).all()]

        return await self._read(read)

    async def _write(self, work: Callable[[Connection], T], *, weight: int = 1) -> T:
        """Makes a change that gains nothing from being made with others."""
        result: T = await self._groups.do(self._kinds.others, work, weight=weight)
        return result


def one_by_one(connection: Connection, requests: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    """The kind of work of changes that gain nothing from being made together."""
    return [request(connection) for request in requests]
