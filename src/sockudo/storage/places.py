"""Tables of a database as a place that one server uses: a row for each group of tables, renewed while its server lives.

A row and not a lock of the session: it says who has the place, it survives a connection that is made again, and a pool
between server and database cannot lose it. Time is the database's.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    delete,
    insert,
    inspect,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from sockudo import errors
from sockudo.config.sections.databases import SqlDatabase
from sockudo.storage.engine import server_engine
from sockudo.storage.failures import is_conflict, is_taken, reason_of
from sockudo.storage.occupants import LEASE_SECONDS, Held, Occupant

__all__ = [
    "NOW",
    "ROWS",
    "TABLE",
    "SqlPlace",
    "occupants_in",
    "of_nodes",
    "opened_table",
    "place_engine",
    "rows_held",
    "silent",
]

T = TypeVar("T")

TABLE: Final = "sockudo_servers"

_TIMEOUT_MS: Final = 3000
# Of servers that start together one makes the table, or the row, and the others have to look again.
_TRIES: Final = 3

ROWS: Final = Table(
    TABLE,
    MetaData(),
    Column("tables", String, primary_key=True),
    Column("token", String),
    Column("occupant", String),
    Column("beats", BigInteger),
    Column("renewed_ms", BigInteger),
)
_CREATE: Final = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (tables VARCHAR(190) NOT NULL PRIMARY KEY, token VARCHAR(64) NOT NULL, "
    "occupant VARCHAR(1000) NOT NULL, beats BIGINT NOT NULL, renewed_ms BIGINT NOT NULL)"
)
NOW: Final = {
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    "mysql": "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
}


class SqlPlace:
    """Claims ``tables``, names of groups of tables, in one database: all of them or none.

    Joined nodes have rows beside these (`sockudo.storage.joined_places`), and keep such a server out as it does them.
    ``section`` is where the configuration says how the database is reached. A claim ends with `release`, when its
    process is seen to be gone, or when it was not renewed for `LEASE_SECONDS`.
    """

    def __init__(self, server: SqlDatabase, tables: Sequence[str], occupant: Occupant, *, section: str) -> None:
        self._tables = tuple(sorted(tables))
        self._occupant = occupant
        self._token = uuid.uuid4().hex
        self._engine = place_engine(server)
        self._has = False
        self.name = f"the database '{server.database}' at {server.host}:{server.port} ({section}: {', '.join(tables)})"

    async def claim(self) -> Held | None:
        try:
            return await asyncio.to_thread(self._claim)
        except DBAPIError as error:
            raise silent(error) from error

    async def release(self) -> None:
        # Else the lease runs out by itself, and on this machine the next start sees that the process is gone.
        with contextlib.suppress(DBAPIError):
            await asyncio.to_thread(self._release)

    def _claim(self) -> Held | None:
        return opened_table(self._engine, self._claim_with)

    def _claim_with(self, connection: Connection) -> Held | None:
        for tables in self._tables:
            held = self._take(connection, tables)
            if held is not None:
                connection.rollback()
                self._has = False
                return held
        connection.commit()
        if not self._has:
            held = next(iter(rows_held(connection, of_nodes(self._tables))), None)
            if held is not None:
                connection.execute(delete(ROWS).where(ROWS.c.token == self._token))
                connection.commit()
                return held
        self._has = True
        return None

    def _take(self, connection: Connection, tables: str) -> Held | None:
        columns = ROWS.c
        row = connection.execute(select(ROWS).where(columns.tables == tables).with_for_update()).first()
        now: int = connection.execute(text(NOW[connection.dialect.name])).scalar_one()
        ours = {"token": self._token, "occupant": self._occupant.text, "renewed_ms": now}
        if row is None:
            connection.execute(insert(ROWS), {"tables": tables, "beats": 1, **ours})
            return None
        if row.token != self._token and now - row.renewed_ms <= LEASE_SECONDS * 1000:
            occupant = Occupant.read(row.occupant)
            if occupant is None or not occupant.has_ended:
                return Held(occupant, certain=occupant is not None and occupant.is_here, beats=row.beats)
        connection.execute(update(ROWS).where(columns.tables == tables).values(beats=columns.beats + 1, **ours))
        return None

    def _release(self) -> None:
        self._has = False
        try:
            with self._engine.begin() as connection:
                if inspect(connection).has_table(TABLE):
                    connection.execute(delete(ROWS).where(ROWS.c.token == self._token))
        finally:
            self._engine.dispose()


def occupants_in(server: SqlDatabase) -> Sequence[Occupant]:
    """Who uses tables of this database now, each once; the oldest first. It waits, so it belongs in a thread.

    Raises ``errors.SERVICE_UNAVAILABLE``, and ConfigError when the driver is not installed.
    """
    engine = place_engine(server)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(TABLE):
                return ()
            now: int = connection.execute(text(NOW[connection.dialect.name])).scalar_one()
            fresh = ROWS.c.renewed_ms >= now - LEASE_SECONDS * 1000
            found = {Occupant.read(row.occupant) for row in connection.execute(select(ROWS).where(fresh))}
    except DBAPIError as error:
        raise silent(error) from error
    finally:
        engine.dispose()
    return sorted((each for each in found if each is not None and not each.has_ended), key=lambda each: each.since)


def of_nodes(groups: Sequence[str]) -> Sequence[ColumnElement[bool]]:
    """Conditions for the rows that joined nodes have of these groups of tables."""
    return [ROWS.c.tables.startswith(f"{group} @", autoescape=True) for group in groups]


def rows_held(connection: Connection, where: Sequence[ColumnElement[bool]], *, but: str = "") -> Sequence[Held]:
    """Who has one of the rows of which a condition is true, each once: those that live, as far as can be seen."""
    now: int = connection.execute(text(NOW[connection.dialect.name])).scalar_one()
    columns = ROWS.c
    fresh = columns.renewed_ms >= now - LEASE_SECONDS * 1000
    rows = connection.execute(select(ROWS).where(or_(*where), fresh, columns.token != but).order_by(columns.tables))
    by_token = {row.token: row for row in rows}
    connection.rollback()
    found = []
    for row in by_token.values():
        occupant = Occupant.read(row.occupant)
        if occupant is None or not occupant.has_ended:
            found.append(Held(occupant, certain=occupant is not None and occupant.is_here, beats=row.beats))
    return found


def opened_table(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Does it on a connection, with the table there, and again when others were in the way of it."""
    for attempt in range(1, _TRIES + 1):
        try:
            with engine.connect() as connection:
                if not inspect(connection).has_table(TABLE):
                    connection.exec_driver_sql(_CREATE)
                return work(connection)
        except DBAPIError as error:
            if attempt == _TRIES or not (is_taken(error) or is_conflict(error)):
                raise
    raise AssertionError("the last try returns or raises")


def place_engine(server: SqlDatabase) -> Engine:
    return server_engine(server, pool_size=1, timeout_ms=_TIMEOUT_MS)


def silent(error: DBAPIError) -> errors.SockudoError:
    return errors.SERVICE_UNAVAILABLE(f"The database does not answer: {reason_of(error)}")
