"""Apps in PostgreSQL or MySQL, in a table shared with other versions, other nodes and a dashboard (contract 70 § 2.4).

One connection lives in one thread of its own, so that a slow database never stops the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, RowMapping, delete, event, func, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, DisconnectionError, InterfaceError, OperationalError

from sockudo import errors
from sockudo.apps.ports import Edit, Origin
from sockudo.config.apps import App
from sockudo.stores.app_records import key_taken, origin_of
from sockudo.stores.sql.apps_fingerprint import fingerprint
from sockudo.stores.sql.apps_rows import app_of, check_room, row_of
from sockudo.stores.sql.apps_schema import READ, app_table, prepare

__all__ = ["RAREST_SECONDS", "SqlAppStore"]

RAREST_SECONDS: Final = 15.0
"""The longest time after which a change made elsewhere is noticed."""

# Looking for changes takes at most a twentieth of the time.
_PAUSE: Final = 19

# A key or row that another transaction has just added, or two that wait for each other: PostgreSQL's codes, MySQL's.
_COLLISIONS: Final = frozenset({"23505", "40P01", 1062, 1213})
_TRIES: Final = 5

_P = ParamSpec("_P")
_R = TypeVar("_R")


class SqlAppStore:
    """Keeps the apps in a table that is made when it is missing.

    ``place`` says in texts where the database is, ``section`` where the configuration says so. Any number of nodes may
    use the table at once, and so may whoever changes it with SQL: `revision` is a fingerprint of its rows, which takes
    as long as reading them does. So the next look waits nineteen times as long as the last one took, `RAREST_SECONDS`
    at most; after a change of our own it does not wait. The number itself grows within this process only.

    An ``edit`` is asked again when somebody else adds the same app meanwhile.
    """

    def __init__(
        self, engine: Engine, table: str, *, place: str, section: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._table = app_table(table)
        self._fingerprint = fingerprint(self._table, engine.dialect.name)
        self._place = place
        self._section = section
        self._clock = clock
        self._executor: ThreadPoolExecutor | None = None
        self._seen: object = None
        self._number = 0
        self._next_look = 0.0
        event.listen(engine, "checkout", self._check_alive)

    async def start(self) -> None:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="app-store")
        try:
            await self._run(SqlAppStore._start)
        except errors.SockudoError:
            await self.stop()
            raise

    async def stop(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.get_running_loop().run_in_executor(executor, self._engine.dispose)
            executor.shutdown()

    async def all(self) -> Sequence[App]:
        return await self._run(SqlAppStore._all)

    async def origins(self) -> Mapping[str, Origin | None]:
        return await self._run(SqlAppStore._origins)

    async def save(self, app: App, origin: Origin | None = None) -> None:
        await self._run(SqlAppStore._change, app.id, lambda _: app, origin)

    async def change(self, app_id: str, edit: Edit) -> App:
        return await self._run(SqlAppStore._change, app_id, edit)

    async def remove(self, app_id: str) -> bool:
        return await self._run(SqlAppStore._remove, app_id)

    async def revision(self) -> int:
        return await self._run(SqlAppStore._revision)

    async def _run(self, work: Callable[Concatenate[SqlAppStore, _P], _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        if self._executor is None:
            raise errors.SERVICE_UNAVAILABLE("The app store is not open")

        def mapped() -> _R:
            with self._foreign_errors():
                return work(self, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._executor, mapped)

    # ---- what follows runs in the thread ----

    def _start(self) -> None:
        try:
            with self._foreign_errors():
                prepare(self._engine, self._table.name)
        except errors.SockudoError as error:
            remedy = f"See that the database runs and that {self._section} says how to reach it"
            raise errors.SERVICE_UNAVAILABLE(f"{error.text}. {remedy}.") from error.__cause__

    def _check_alive(self, connection: Any, _entry: object, _proxy: object) -> None:
        # A restart of the database or an idle limit of it ends connections; the pool makes another one.
        dialect = self._engine.dialect
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error

    def _all(self) -> Sequence[App]:
        with self._engine.connect() as connection:
            rows = connection.execute(select(*(self._table.c[name] for name in READ))).mappings().all()
        return sorted((app_of(row) for row in rows), key=lambda app: app.id)

    def _origins(self) -> Mapping[str, Origin | None]:
        columns = self._table.c
        with self._engine.connect() as connection:
            return {row.id: origin_of(row.origin) for row in connection.execute(select(columns.id, columns.origin))}

    def _change(self, app_id: str, edit: Edit, origin: Origin | None = None) -> App:
        for _ in range(_TRIES):
            try:
                with self._engine.begin() as connection:
                    return self._changed(connection, app_id, edit, origin)
            except DBAPIError as error:
                if _code(error) not in _COLLISIONS:
                    raise
            finally:
                self._next_look = 0.0
        raise errors.SERVICE_UNAVAILABLE(f"App '{app_id}' cannot be changed: others keep changing it. Try again.")

    def _changed(self, connection: Connection, app_id: str, edit: Edit, origin: Origin | None) -> App:
        columns = self._table.c
        row = self._locked(connection, app_id)
        current = None if row is None or row["id"] != app_id else app_of(row)
        app = edit(current)
        if app == current:
            if origin is not None:
                marked = update(self._table).where(columns.id == app_id, columns.origin.is_distinct_from(origin.value))
                connection.execute(marked.values(origin=origin.value))
            return app
        values = row_of(app)
        if origin is not None or current is None:
            values["origin"] = (origin or Origin.OPERATOR).value
        check_room(app, self._engine.dialect.name)
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

    def _remove(self, app_id: str) -> bool:
        self._next_look = 0.0
        with self._engine.begin() as connection:
            row = self._locked(connection, app_id)
            if row is None or row["id"] != app_id:
                return False
            connection.execute(delete(self._table).where(self._table.c.id == app_id))
            return True

    def _locked(self, connection: Connection, app_id: str) -> RowMapping | None:
        """The row until the end of the transaction; some collations find one that is not spelled the same."""
        wanted = select(*(self._table.c[name] for name in READ)).where(self._table.c.id == app_id)
        return connection.execute(wanted.with_for_update()).mappings().first()

    def _revision(self) -> int:
        now = self._clock()
        if now >= self._next_look:
            with self._engine.connect() as connection:
                began = self._clock()
                seen = tuple(connection.execute(self._fingerprint).one())
                ended = self._clock()
            self._next_look = ended + min(RAREST_SECONDS, _PAUSE * (ended - began))
            if seen != self._seen:
                self._seen = seen
                self._number += 1
        return self._number

    @contextmanager
    def _foreign_errors(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            text = f"The app store at {self._place} does not answer: {_reason(error)}"
            raise errors.SERVICE_UNAVAILABLE(text) from error.orig
        except DBAPIError as error:
            # The error itself may quote a row, and a row has a secret.
            text = f"The app store at {self._place} cannot be used: {_reason(error)}"
            raise errors.SERVICE_UNAVAILABLE(text) from None


def _code(error: DBAPIError) -> object:
    """MySQL's number, else the SQLSTATE."""
    first = next(iter(error.orig.args), None) if error.orig is not None else None
    return first if isinstance(first, int) else getattr(error.orig, "sqlstate", None)


def _reason(error: DBAPIError) -> str:
    """What the driver says, without details about rows and without advice, which have lines of their own."""
    if error.orig is None:
        return "it failed"
    diagnosis = getattr(error.orig, "diag", None)
    primary = diagnosis.message_primary if diagnosis is not None else None
    said = primary or next(reversed(error.orig.args), type(error.orig).__name__)
    return " ".join(line for line in str(said).splitlines() if not line.startswith("\t"))
