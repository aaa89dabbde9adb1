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

from sqlalchemy import Connection, Engine, Table, delete, func, select, text

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.config.sections.databases import SqlDatabase
from sockudo.push.paging import time_after
from sockudo.push.ports import FOREVER_BELOW_MS, Category, Cleaned, OperatorNote, Removal
from sockudo.push.records import TERMINAL
from sockudo.push.stores.changes import Locking, Recording, owners_of, statuses_of
from sockudo.push.stores.rows import note_of, sql_state
from sockudo.push.stores.rules import ENDED, is_live, stored_key
from sockudo.push.stores.schema import SCHEMA_VERSION, STEPS, TYPES, push_tables
from sockudo.push.stores.sql_base import Groups, kinds_of, one_by_one
from sockudo.push.stores.sql_devices import SqlDevices, SqlSettings, count_channels
from sockudo.push.stores.sql_publishes import SqlPublishes, find_intents
from sockudo.push.stores.statements import Statements, behind, by_app, values
from sockudo.storage.engine import memory_engine, server_engines, sqlite_engine
from sockudo.storage.failures import Subject
from sockudo.storage.migrations import migrate
from sockudo.storage.sqlite_files import make_private_file
from sockudo.storage.worker import Worker

__all__ = [
    "FILE_NAME",
    "READERS",
    "MemoryPushStore",
    "SqlPushStore",
    "clean_category",
    "delete_app",
    "server_push",
    "sqlite_push",
]


_FIRST_EVER: Final = -(2**63)


def clean_category(sql: Statements, connection: Connection, category: Category, before_ms: int, limit: int) -> Cleaned:
    """Deletes at most so many rows that are older, or have ended before this time."""
    tables = sql.tables
    if category == "publish_status":
        gone = _clean_statuses(sql, connection, before_ms, limit)
        return Cleaned(category, *gone)
    if category == "idempotency":
        deleted = _delete(sql, connection, tables.idempotency, "expires_at_ms", FOREVER_BELOW_MS, before_ms, limit)
        if deleted < limit:
            deleted += _delete(
                sql, connection, tables.step_keys, "expires_at_ms", _FIRST_EVER, before_ms, limit - deleted
            )
    elif category == "locks":
        deleted = _delete(sql, connection, tables.scheduler_locks, "expires_at_ms", _FIRST_EVER, before_ms, limit)
    else:
        table = {
            "delivery_events": tables.delivery_events,
            "dead_letters": tables.dead_letters,
            "operator_invalidations": tables.operator_invalidations,
        }[category]
        deleted = _delete(sql, connection, table, "occurred_at_ms", _FIRST_EVER, before_ms, limit)
    return Cleaned(category, deleted, deleted)


def _clean_statuses(sql: Statements, connection: Connection, before_ms: int, limit: int) -> tuple[int, int]:
    table = sql.tables.publish_status
    old = (table.c.created_at_ms < before_ms) & (table.c.updated_at_ms < before_ms)
    found: list[tuple[str, str]] = []
    for state in ENDED:
        wanted = select(table.c.app_id, table.c.publish_id).where(table.c.state == sql_state(state), old)
        rows = connection.execute(wanted.order_by(table.c.created_at_ms).limit(limit - len(found))).all()
        found += [(app_id, publish_id) for app_id, publish_id in rows]
        if len(found) >= limit:
            break
    # Each may have got a late outcome between being found and being locked.
    statuses = statuses_of(sql, connection, found, locked=True)
    over = [
        place for place, status in statuses.items() if status.state in TERMINAL and status.updated_at_ms < before_ms
    ]
    for app_id, publish_ids in by_app(over):
        for statement in (sql.delete_statuses, sql.delete_log, sql.delete_shards):
            list(values(statement, connection, app_id, publish_ids))
    return len(found), len(over)


def delete_app(sql: Statements, connection: Connection, app_id: str, limit: int) -> int:
    """Deletes at most so many rows of an app, one table after the other; how many went."""
    tables, deleted = sql.tables, 0
    for table in (
        # What is still to be done comes first.
        tables.scheduled_jobs,
        tables.publish_status,
        tables.publish_log,
        tables.fanout_shards,
        tables.channel_subscribers,
        tables.devices,
        tables.provider_credentials,
        tables.notification_templates,
        tables.delivery_events,
        tables.dead_letters,
        tables.idempotency,
        tables.operator_invalidations,
        tables.scheduler_locks,
    ):
        if deleted < limit:
            deleted += _delete_some(sql, connection, table, "app_id = {}", (app_id,), limit - deleted, "")
    return deleted


def _delete(
    sql: Statements, connection: Connection, table: Table, column: str, since_ms: int, before_ms: int, limit: int
) -> int:
    """Of rows whose time is in between, the first excluded bound being the last."""
    where = f"{column} >= {{}} AND {column} < {{}} ORDER BY {column}"
    return _delete_some(sql, connection, table, where, (since_ms, before_ms), limit, " SKIP LOCKED")


def _delete_some(
    sql: Statements,
    connection: Connection,
    table: Table,
    where: str,
    given: tuple[object, ...],
    limit: int,
    skipping: str,
) -> int:
    """``skipping`` is the clause that passes over rows which another transaction has locked."""
    place = "?" if sql.dialect.name == "sqlite" else "%s"
    name = sql.dialect.identifier_preparer.quote(table.name)
    found = f"{name} WHERE {where} LIMIT {{}}".replace("{}", place)
    match sql.dialect.name:
        case "mysql":
            statement = f"DELETE FROM {found}"  # noqa: S608 - names of ours
        case "postgresql":
            rows = f"SELECT ctid FROM {found} FOR UPDATE{skipping}"  # noqa: S608 - names of ours
            statement = f"DELETE FROM {name} WHERE ctid = ANY (ARRAY({rows}))"  # noqa: S608 - names of ours
        case _:
            key = ", ".join(each.name for each in table.primary_key)
            statement = f"DELETE FROM {name} WHERE ({key}) IN (SELECT {key} FROM {found})"  # noqa: S608 - names of ours
    return connection.exec_driver_sql(statement, (*given, limit)).rowcount


# ---- the store ----


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
