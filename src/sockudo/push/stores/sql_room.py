"""What the parts of the SQL push store have in common: where reads and changes go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, Select

from sockudo.push.stores.device_changes import put_devices, put_subscriptions
from sockudo.push.stores.grouping import Groups, Work
from sockudo.push.stores.publish_changes import change_publishes
from sockudo.push.stores.schema import Tables
from sockudo.push.stores.sql_keys import change_locks, record_keys
from sockudo.push.stores.statements import Statements
from sockudo.storage.worker import Worker

__all__ = ["Kinds", "SqlRoom", "kinds_of", "one_by_one"]

T = TypeVar("T")


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
