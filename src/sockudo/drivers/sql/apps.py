"""Apps in a database: in an SQLite file, or in a table of PostgreSQL or MySQL that is shared with other versions, other
nodes and a dashboard.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import DataError

from sockudo import errors
from sockudo.apps.ports import Edit, Origin, key_taken, origin_of
from sockudo.config.apps import App
from sockudo.config.sections.databases import SqlDatabase
from sockudo.drivers.sql import apps_file
from sockudo.drivers.sql.apps_rows import app_of, check_room, row_of
from sockudo.drivers.sql.apps_schema import READ, app_table, fingerprint, prepare
from sockudo.storage.engine import sqlite_engine
from sockudo.storage.failures import Subject
from sockudo.storage.migrations import migrate_file
from sockudo.storage.sqlite_files import make_private_file
from sockudo.storage.worker import Worker

__all__ = ["RAREST_SECONDS", "SqlAppStore", "sqlite_apps"]

RAREST_SECONDS: Final = 15.0
"""The longest time after which a change made elsewhere is noticed."""

# Looking for changes takes at most a twentieth of the time.
_PAUSE: Final = 19

_TIMEOUT_MS: Final = 5000

_P = ParamSpec("_P")
_R = TypeVar("_R")


def sqlite_apps(path: Path, *, timeout_ms: int = _TIMEOUT_MS) -> SqlAppStore:
    """The store in this file, which is made, with its folder, readable by its owner alone.

    Any number of processes of one machine may use it at once; a writer waits for another one up to ``timeout_ms``.
    """
    engine = sqlite_engine(path, pool_size=1, timeout_ms=timeout_ms, writing=True, complete=True)
    return SqlAppStore(engine, apps_file.TABLE, file=path, timeout_ms=timeout_ms)


class SqlAppStore:
    """Keeps the apps in a table that is made when it is missing; one thread, with one connection, does everything.

    ``place`` says in texts where a server is, ``section`` where the configuration says so, ``user`` who logs in there;
    ``file`` is the path of an SQLite file instead. Any number of nodes may use the table at once, and so may programs
    that change it with SQL. A file keeps its revision itself. That of a server is a fingerprint of the rows, which
    takes as long as reading them does: the next look waits nineteen times as long as the last one took,
    `RAREST_SECONDS` at most, but not after a change of our own. The number itself grows within this process only.

    An ``edit`` is asked again when the same app is added elsewhere meanwhile.
    """

    def __init__(
        self,
        engine: Engine,
        table: str,
        *,
        server: SqlDatabase | None = None,
        file: Path | None = None,
        timeout_ms: int = _TIMEOUT_MS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dialect = engine.dialect.name
        self.file = file
        self._table = app_table(table) if file is None else app_table(table, apps_file.COLUMNS)
        self._columns = [column for column in self._table.c if column.name in READ]
        self._fingerprint = fingerprint(self._table, self._dialect) if file is None else apps_file.REVISION
        self._server = server
        self._clock = clock
        self._subject = Subject(
            errors.SERVICE_UNAVAILABLE,
            "sockudo.apps",
            "the app store" if server is None else f"the app store at {server.place}",
            "the app store's file",
            "this app",
            secrets=True,
        )
        self._worker = Worker(engine, "app-store", 1, timeout_ms, self._subject, optimistic=True)
        self._seen: object = None
        self._number = 0
        self._next_look = 0.0

    async def start(self) -> None:
        self._worker.start()
        try:
            await self._worker.open(self._prepare, self._server)
        except errors.SockudoError:
            await self.stop()
            raise

    async def stop(self) -> None:
        await self._worker.close()

    async def all(self) -> Sequence[App]:
        return await self._worker.read(self._all)

    async def origins(self) -> Mapping[str, Origin | None]:
        return await self._worker.read(self._origins)

    async def save(self, app: App, origin: Origin | None = None) -> None:
        await self._write(self._change, app.id, lambda _: app, origin)

    async def change(self, app_id: str, edit: Edit) -> App:
        return await self._write(self._change, app_id, edit, None)

    async def remove(self, app_id: str) -> bool:
        return await self._write(self._remove, app_id)

    async def revision(self) -> int:
        return await self._worker.read(self._revision)

    async def _write(self, work: Callable[Concatenate[Connection, _P], _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return await self._worker.write(lambda connection: work(connection, *args, **kwargs))
        finally:
            self._next_look = 0.0

    # ---- what follows runs in the thread ----

    def _prepare(self, engine: Engine) -> None:
        if self.file is None:
            prepare(engine, self._table.name)
        else:
            make_private_file(self.file)
            migrate_file(engine, apps_file.STEPS, self._subject)

    def _all(self, connection: Connection) -> Sequence[App]:
        rows = connection.execute(select(*self._columns)).mappings().all()
        return sorted((app_of(row) for row in rows), key=lambda app: app.id)

    def _origins(self, connection: Connection) -> Mapping[str, Origin | None]:
        columns = self._table.c
        return {row.id: origin_of(row.origin) for row in connection.execute(select(columns.id, columns.origin))}

    def _change(self, connection: Connection, app_id: str, edit: Edit, origin: Origin | None) -> App:
        columns = self._table.c
        row = self._locked(connection, app_id)
        current = None if row is None or row["id"] != app_id else app_of(row)
        app = edit(current)
        if app == current:
            if origin is not None:
                marked = update(self._table).where(columns.id == app_id, columns.origin.is_distinct_from(origin.value))
                connection.execute(marked.values(origin=origin.value))
            return app
        values = {name: value for name, value in row_of(app).items() if name in columns}
        if origin is not None or current is None:
            values["origin"] = (origin or Origin.OPERATOR).value
        check_room(app, self._dialect)
        if row is not None and current is None:
            raise errors.INVALID_INPUT(f"App '{app_id}' and app '{row['id']}' have the same id to the database")
        if connection.execute(select(columns.id).where(columns.key == app.key, columns.id != app_id)).first():
            raise key_taken(app)
        try:
            if current is None:
                connection.execute(insert(self._table).values(values))
            else:
                values["updated_at"] = func.current_timestamp()
                connection.execute(update(self._table).where(columns.id == app_id).values(values))
        except DataError:
            # What the driver says may quote the secret.
            raise errors.INVALID_INPUT(f"App '{app_id}' has a value that the database cannot hold") from None
        return app

    def _remove(self, connection: Connection, app_id: str) -> bool:
        row = self._locked(connection, app_id)
        if row is None or row["id"] != app_id:
            return False
        connection.execute(delete(self._table).where(self._table.c.id == app_id))
        return True

    def _locked(self, connection: Connection, app_id: str) -> RowMapping | None:
        """The row until the end of the transaction; some collations find one that is not spelled the same."""
        wanted = select(*self._columns).where(self._table.c.id == app_id)
        return connection.execute(wanted.with_for_update()).mappings().first()

    def _revision(self, connection: Connection) -> int:
        if self.file is not None:
            number: int = connection.execute(self._fingerprint).scalar_one()
            return number
        if self._clock() >= self._next_look:
            began = self._clock()
            seen = tuple(connection.execute(self._fingerprint).one())
            ended = self._clock()
            self._next_look = ended + min(RAREST_SECONDS, _PAUSE * (ended - began))
            if seen != self._seen:
                self._seen = seen
                self._number += 1
        return self._number
