"""The push store in an SQL database: SQLite, which needs nothing installed, PostgreSQL, MySQL or MariaDB; or in memory.

One thread writes, with a connection of its own; changes that come while it commits go into its next transaction
together. A few others read, each with its own connection, and never wait for it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, delete, func, select, text

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.config.sections.databases import SqlDatabase
from sockudo.push.paging import time_after
from sockudo.push.ports import Category, Cleaned, OperatorNote, Removal
from sockudo.push.stores.changes import Locking, Recording, owners_of
from sockudo.push.stores.cleaning import clean_category, delete_app
from sockudo.push.stores.rows import note_of
from sockudo.push.stores.rules import is_live, stored_key
from sockudo.push.stores.schema import SCHEMA_VERSION, STEPS, TYPES, push_tables
from sockudo.push.stores.sql_base import Groups, kinds_of, one_by_one
from sockudo.push.stores.sql_devices import SqlDevices, SqlSettings, count_channels
from sockudo.push.stores.sql_publishes import SqlPublishes, find_intents
from sockudo.push.stores.statements import Statements, behind
from sockudo.storage.engine import memory_engine, server_engines, sqlite_engine
from sockudo.storage.failures import Subject
from sockudo.storage.migrations import migrate
from sockudo.storage.sqlite_files import make_private_file
from sockudo.storage.worker import Worker

__all__ = ["FILE_NAME", "READERS", "MemoryPushStore", "SqlPushStore", "server_push", "sqlite_push"]

FILE_NAME: Final = "push.sqlite3"

READERS: Final = 3

_SUBJECT: Final = Subject(
    errors.SERVICE_UNAVAILABLE,
    "sockudo.push",
    "the push store",
    "the push store's file",
    "this record",
    "Choose another database.",
)
_PREFIX: Final = "push"
_TIMEOUT_MS: Final = 5000


def sqlite_push(data_dir: Path | str, *, timeout_ms: int = _TIMEOUT_MS) -> SqlPushStore:
    """The store in ``push.sqlite3`` in the data directory, both made readable by their owner alone.

    What was changed survives the end of the process in any way, and the loss of power as far as the disk keeps what it
    confirms. Other processes may use the file at the same time.
    """
    path = Path(data_dir) / FILE_NAME
    return SqlPushStore(
        sqlite_engine(path, pool_size=1, timeout_ms=timeout_ms, writing=True),
        sqlite_engine(path, pool_size=READERS, timeout_ms=timeout_ms, writing=False),
        timeout_ms=timeout_ms,
        prepare=partial(make_private_file, path),
    )


def server_push(server: SqlDatabase, *, prefix: str = _PREFIX, timeout_ms: int = _TIMEOUT_MS) -> SqlPushStore:
    """The store in a database that nodes may share. Raises `ConfigError` without its driver."""
    writing, reading = server_engines(server, readers=READERS, timeout_ms=timeout_ms)
    return SqlPushStore(writing, reading, prefix=prefix, timeout_ms=timeout_ms, server=server)


class SqlPushStore(SqlDevices, SqlSettings, SqlPublishes):
    """A `PushStore` in the tables ``<prefix>_…`` of a database; on a server, names have up to 255 characters.

    ``writing`` takes all its locks with its transactions, those of ``reading`` see one state of the database.
    ``prepare`` is what has to be done before the first connection, ``server`` where it is, None for a file. Without
    ``threads`` the event loop works on it. Raises `ConfigError` for an unusable prefix.
    """

    def __init__(
        self,
        writing: Engine,
        reading: Engine,
        *,
        prefix: str = _PREFIX,
        timeout_ms: int = _TIMEOUT_MS,
        prepare: Callable[[], None] | None = None,
        threads: bool = True,
        server: SqlDatabase | None = None,
    ) -> None:
        self._server = server
        tables = push_tables(prefix)
        sql = Statements(tables, writing.dialect)
        self._prefix = prefix
        self._timeout_ms = timeout_ms
        self._prepare = prepare
        self._writer = Worker(writing, "push-writer", int(threads), timeout_ms, _SUBJECT, optimistic=True)
        kinds = kinds_of(sql)
        readers = Worker(reading, "push-reader", READERS if threads else 0, timeout_ms, _SUBJECT)
        super().__init__(tables, sql, readers, Groups(self._writer, kinds, _SUBJECT), kinds)
        self._counting = partial(count_channels, sql)
        self._counts = Groups(readers, (self._counting,), _SUBJECT)
        self._finding = partial(find_intents, sql)
        self._planning = Groups(readers, (self._finding, one_by_one), _SUBJECT)

    async def start(self) -> None:
        self._writer.start()
        self._readers.start()
        try:
            await self._writer.open(self._migrate, self._server)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._groups.close()
        await self._counts.close()
        await self._planning.close()
        await self._writer.close()
        await self._readers.close()

    async def check(self) -> bool:
        return await self._read(lambda connection: connection.scalar(text("SELECT 1")) == 1)

    async def lock(self, app_id: str, name: str, owner: str, now_ms: int, until_ms: int) -> bool:
        request = Locking((app_id, stored_key(name)), owner, now_ms, until_ms)
        granted: bool = await self._groups.do(self._kinds.locking, request)
        return granted

    async def unlock(self, app_id: str, name: str, owner: str) -> None:
        await self._groups.do(self._kinds.locking, Locking((app_id, stored_key(name)), owner, 0, None))

    async def record_once(self, app_id: str, key: str, now_ms: int, until_ms: int) -> bool:
        first: bool = await self._groups.do(
            self._kinds.recording, Recording((app_id, stored_key(key)), now_ms, until_ms)
        )
        return first

    async def recorded(self, app_id: str, key: str, now_ms: int) -> bool:
        place = app_id, stored_key(key)

        def read(connection: Connection) -> bool:
            owner = owners_of(self._sql, connection, [place], locked=False).get(place)
            return owner is not None and is_live(owner.expires_at_ms, now_ms)

        return await self._read(read)

    async def note_operator(self, app_id: str, subject: str, at_ms: int) -> None:
        row = app_id, at_ms, unique_id(), subject
        await self._write(lambda connection: self._sql.insert_notes.run(connection, [row]))

    async def operator_notes(self, app_id: str, after: str, limit: int) -> list[OperatorNote]:
        of = self._tables.operator_invalidations.c
        wanted = select(self._tables.operator_invalidations).where(of.app_id == app_id)
        if after:
            wanted = wanted.where(behind(of.occurred_at_ms, of.event_id, time_after(after)))
        return await self._all(wanted.order_by(of.occurred_at_ms, of.event_id).limit(limit), note_of)

    async def note_removal(self, app_id: str, at_ms: int) -> None:
        await self._write(lambda connection: self._sql.keep_removals.run(connection, [(app_id, at_ms)]))

    async def removals(self) -> list[Removal]:
        table = self._tables.removals
        return await self._all(
            select(table).order_by(table.c.app_id), lambda row: Removal(row.app_id, row.removed_at_ms)
        )

    async def end_removal(self, app_id: str) -> None:
        gone = delete(self._tables.removals).where(self._tables.removals.c.app_id == app_id)
        await self._write(lambda connection: connection.execute(gone))

    async def delete_app(self, app_id: str, limit: int) -> int:
        return await self._write(lambda connection: delete_app(self._sql, connection, app_id, limit), weight=limit)

    async def clean(self, before: Mapping[Category, int], now_ms: int, limit: int) -> list[Cleaned]:
        ends: dict[Category, int] = {**before, "idempotency": now_ms + 1, "locks": now_ms + 1}
        return [await self._clean(category, before_ms, limit) for category, before_ms in ends.items()]

    async def _clean(self, category: Category, before_ms: int, limit: int) -> Cleaned:
        return await self._write(
            lambda connection: clean_category(self._sql, connection, category, before_ms, limit), weight=limit
        )

    def _migrate(self, engine: Engine) -> None:
        if self._prepare is not None:
            self._prepare()
        migrate(engine, self._prefix, STEPS, TYPES[engine.dialect.name], self._timeout_ms, _SUBJECT)
        table = self._tables.schema_version
        with engine.connect() as connection:
            version = connection.scalar(select(func.max(table.c.version)))
        if version != SCHEMA_VERSION:
            raise errors.SERVICE_UNAVAILABLE(
                f"The tables '{self._prefix}_…' have version {version} of the push schema, this version of sockudo "
                f"works with {SCHEMA_VERSION}. Run the one that made them, or choose another database."
            )


class MemoryPushStore(SqlPushStore):
    """In the memory of this process, and gone with it: for development and tests.

    Its tables are made with it. Everything happens at once on the event loop, so that nothing waits for a thread.
    """

    def __init__(self) -> None:
        engine = memory_engine()
        super().__init__(engine, engine, threads=False)
        self._migrate(engine)
        # No one has to close what has nothing but memory.
        weakref.finalize(self, engine.dispose)

    async def start(self) -> None:
        """Nothing to open."""
