"""The history in an SQL database: SQLite, which needs nothing installed, PostgreSQL, MySQL or MariaDB.

One thread writes, with a connection of its own, so what is to be written is written in order. A few others read, each
with its own connection, and never wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, text

from sockudo import errors
from sockudo.base.message_records import Latest
from sockudo.base.stream_records import (
    KEEP_ALL,
    WHOLE_STREAM,
    Append,
    Bounds,
    Committed,
    Direction,
    DurableState,
    Page,
    Purged,
    Retention,
    StreamInfo,
)
from sockudo.config.sections.databases import SqlDatabase
from sockudo.config.sections.streams import HistorySqlite, HistoryTables
from sockudo.drivers.sql.history_commit import commit
from sockudo.drivers.sql.history_evict import Taken
from sockudo.drivers.sql.history_read import read_info, read_message, read_page, read_totals, read_versions
from sockudo.drivers.sql.history_retract import retract
from sockudo.drivers.sql.history_upkeep import delete_some, ensure, expire, mark, purge_some, reset_some, rotate
from sockudo.drivers.sql.schema import STEPS, history_tables
from sockudo.drivers.sql.statements import Statements
from sockudo.hub.streams.totals import Evicted, Group, Total
from sockudo.storage.engine import server_engines, sqlite_engine
from sockudo.storage.failures import Subject
from sockudo.storage.migrations import TYPES, migrate, rewrite
from sockudo.storage.sqlite_files import make_private_file
from sockudo.storage.worker import Worker

__all__ = ["FILE_NAME", "READERS", "SUBJECT", "SqlHistoryStore", "server_history", "sqlite_history"]

FILE_NAME: Final = "history.sqlite3"

READERS: Final = 3

SUBJECT: Final = Subject(
    errors.HISTORY_UNAVAILABLE,
    "sockudo.history",
    "the history store",
    "the history's file",
    "this message",
    "Choose another table_prefix.",
)

_P = ParamSpec("_P")
_R = TypeVar("_R")


def sqlite_history(data_dir: Path | str, settings: HistorySqlite) -> SqlHistoryStore:
    """The history in ``history.sqlite3`` in the data directory, both made readable by their owner alone.

    Once `commit` has returned, its messages survive the end of the process in any way; with ``synchronous`` full also
    the loss of power, as far as the disk keeps what it confirms. Other processes may read at the same time.
    """
    path = Path(data_dir) / FILE_NAME
    timeout_ms = settings.write_timeout_ms
    return SqlHistoryStore(
        sqlite_engine(path, pool_size=1, timeout_ms=timeout_ms, writing=True, synchronous=settings.synchronous),
        sqlite_engine(path, pool_size=READERS, timeout_ms=timeout_ms, writing=False),
        table_prefix=settings.table_prefix,
        timeout_ms=timeout_ms,
        prepare=partial(make_private_file, path),
    )


def server_history(server: SqlDatabase, settings: HistoryTables) -> SqlHistoryStore:
    """The history in a database that nodes may share. Raises `ConfigError` without its driver.

    In MySQL ids of apps and names of channels may have up to 255 characters.
    """
    timeout_ms = settings.write_timeout_ms
    writing, reading = server_engines(server, readers=READERS, timeout_ms=timeout_ms)
    return SqlHistoryStore(writing, reading, table_prefix=settings.table_prefix, timeout_ms=timeout_ms, server=server)


class SqlHistoryStore:
    """A `HistoryStore` in the tables ``<table_prefix>_…`` of a database.

    ``writing`` takes the locks that it needs with its transactions, those of ``reading`` see one state of the database.
    ``prepare`` is what has to be done before the first connection, ``server`` where it is, None for a file. Raises
    `ConfigError` for an unusable prefix.
    """

    def __init__(
        self,
        writing: Engine,
        reading: Engine,
        *,
        table_prefix: str,
        timeout_ms: int,
        prepare: Callable[[], None] | None = None,
        server: SqlDatabase | None = None,
    ) -> None:
        self._server = server
        self.evicted = Evicted()
        self._prefix = table_prefix
        self._timeout_ms = timeout_ms
        self._prepare = prepare
        self._sql = Statements(history_tables(table_prefix), writing.dialect)
        self._writer = Worker(writing, "history-writer", 1, timeout_ms, SUBJECT)
        self._readers = Worker(reading, "history-reader", READERS, timeout_ms, SUBJECT)

    async def start(self) -> None:
        self._writer.start()
        self._readers.start()
        try:
            await self._writer.open(self._migrate, self._server)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._writer.close()
        await self._readers.close()

    async def commit(self, appends: Sequence[Append]) -> list[Committed]:
        if not appends:
            return []
        outcomes, taken = await self._write(commit, appends)
        self._note(taken)
        return outcomes

    async def retract(self, appends: Sequence[Append], after: int, now_ms: int) -> StreamInfo | None:
        return await self._write(retract, appends, after, now_ms)

    async def rotate(self, app_id: str, channel: str, now_ms: int) -> StreamInfo:
        return await self._write(rotate, app_id, channel, now_ms)

    async def ensure(self, app_id: str, channel: str, now_ms: int, retention: Retention = KEEP_ALL) -> StreamInfo:
        return await self._write(ensure, app_id, channel, now_ms, retention)

    async def info(self, app_id: str, channel: str) -> StreamInfo | None:
        return await self._read(read_info, app_id, channel)

    async def read(
        self,
        app_id: str,
        channel: str,
        *,
        bounds: Bounds = WHOLE_STREAM,
        direction: Direction = "newest_first",
        limit: int,
        after: int | None = None,
        latest: bool = False,
    ) -> Page:
        return await self._read(read_page, app_id, channel, bounds, direction, limit, after, latest)

    async def message(self, app_id: str, log: str, message_serial: str) -> Latest | None:
        return await self._read(read_message, app_id, log, message_serial)

    async def versions(
        self,
        app_id: str,
        log: str,
        message_serial: str,
        *,
        direction: Direction = "newest_first",
        limit: int,
        after: str | None = None,
    ) -> Page:
        return await self._read(read_versions, app_id, log, message_serial, direction, limit, after)

    async def reset(self, app_id: str, channel: str, now_ms: int) -> Purged:
        messages = size = 0
        while True:
            deleted, its_size, previous, info = await self._write(reset_some, app_id, channel, now_ms)
            messages += deleted
            size += its_size
            if info is not None:
                return Purged(messages, size, info, previous)

    async def purge(
        self,
        app_id: str,
        channel: str,
        now_ms: int,
        *,
        before_serial: int | None = None,
        before_time_ms: int | None = None,
    ) -> Purged:
        messages = size = 0
        while True:
            deleted, its_size, bound, info = await self._write(
                purge_some, app_id, channel, now_ms, before_serial, before_time_ms
            )
            messages += deleted
            size += its_size
            if not deleted:
                return Purged(messages, size, info)
            # What is published meanwhile stays.
            before_serial, before_time_ms = bound, None

    async def mark(
        self, app_id: str, channel: str, state: DurableState, reason: str | None, node_id: str | None, now_ms: int
    ) -> None:
        await self._write(mark, app_id, channel, state, reason, node_id, now_ms)

    async def expire(self, now_ms: int, limit: int) -> tuple[int, bool]:
        deleted, more, taken = await self._write(expire, now_ms, limit)
        self._note(taken)
        return deleted, more

    async def delete_app(self, app_id: str) -> None:
        while await self._write(delete_some, app_id):
            pass

    async def totals(self) -> dict[Group, Total]:
        return await self._read(read_totals)

    def _note(self, taken: Iterable[Taken]) -> None:
        for each in taken:
            self.evicted.note(*each)

    async def check(self) -> bool:
        return await self._readers.read(lambda connection: connection.scalar(text("SELECT 1")) == 1)

    async def probe(self) -> None:
        await self._writer.write(lambda connection: rewrite(connection, self._prefix))

    async def _write(
        self, work: Callable[Concatenate[Connection, Statements, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        return await self._writer.write(lambda connection: work(connection, self._sql, *args, **kwargs))

    async def _read(
        self, work: Callable[Concatenate[Connection, Statements, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        return await self._readers.read(lambda connection: work(connection, self._sql, *args, **kwargs))

    def _migrate(self, engine: Engine) -> None:
        if self._prepare is not None:
            self._prepare()
        migrate(engine, self._prefix, STEPS, TYPES[engine.dialect.name], self._timeout_ms, SUBJECT)
