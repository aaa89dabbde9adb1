"""What the parts of the SQL push store have in common: where reads and changes go."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select

from sockudo.stores.push.grouping import Groups
from sockudo.stores.push.schema import Tables
from sockudo.stores.push.statements import Statements
from sockudo.stores.sql.worker import Worker

__all__ = ["SqlRoom", "one_by_one"]

T = TypeVar("T")


class SqlRoom:
    """Reads go to threads that never wait for a writer, changes into the next transaction."""

    def __init__(self, tables: Tables, sql: Statements, readers: Worker, groups: Groups) -> None:
        self._tables = tables
        self._sql = sql
        self._readers = readers
        self._groups = groups

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._readers.read(work)

    async def _all(self, wanted: Select[Any], record_of: Callable[[Row[Any]], T]) -> list[T]:
        def read(connection: Connection) -> list[T]:
            return [record_of(row) for row in connection.execute(wanted).all()]

        return await self._read(read)

    async def _write(self, work: Callable[[Connection], T], *, weight: int = 1) -> T:
        """Makes a change of its own kind, after those that are made many at a time."""
        result: T = await self._groups.do(one_by_one, work, weight=weight)
        return result

    def _now_ms(self) -> int:
        """For the columns that say when a row was written, which nothing reads."""
        return int(time.time() * 1000)


def one_by_one(connection: Connection, requests: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    """A kind of work for changes that gain nothing from being made together."""
    return [request(connection) for request in requests]
