"""Engines for the databases that stores are kept in: how to connect, and for how long to wait.

Every statement ends in time. A server that works has to give up after ``timeout_ms``; when it does not even say so,
because it is stopped or the network swallows its answer, the connection is given up `GRACE_SECONDS` later. No
connection string is ever made, so none with a password can be shown.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from sockudo.config.installed import driver_missing
from sockudo.config.sections.databases import Postgres, SqlDatabase
from sockudo.storage.sqlite_files import write_ahead
from sockudo.storage.turns import order_writers

if TYPE_CHECKING:
    import ssl

    import psycopg
    import pymysql

__all__ = [
    "GRACE_SECONDS",
    "Isolation",
    "memory_engine",
    "mysql_engine",
    "postgres_engine",
    "postgres_options",
    "server_engine",
    "server_engines",
    "sqlite_engine",
]

GRACE_SECONDS: Final = 1.0

Isolation = Literal["READ COMMITTED", "REPEATABLE READ"]

# The writer's working set; readers have the system's cache.
_CACHE_KIB: Final = 16_384


def sqlite_engine(
    path: Path,
    *,
    pool_size: int,
    timeout_ms: int,
    writing: bool,
    synchronous: str = "full",
    complete: bool = False,
) -> Engine:
    """Connections to an SQLite file that exists, in write-ahead mode.

    Transactions of a ``writing`` engine take the write lock at their start, waiting for it up to ``timeout_ms``; those
    of another engine, and of connections with the execution option ``reading``, see the file as it was at their first
    statement. Commits survive the loss of power when
    ``synchronous`` is "full"; when it is "normal", the loss of the process only. When the file is replaced, by a
    restored backup for example, the next transaction uses the new one; one that was removed is an error until it is
    back. A ``complete`` file needs no companion: each commit goes on into it, for data that rarely changes.
    """
    # Read and write, but never create: a file removed a moment ago must not come back empty.
    uri = f"{path.absolute().as_uri()}?mode=rw"

    def connect() -> sqlite3.Connection:
        seconds = timeout_ms / 1000
        connection = sqlite3.connect(uri, uri=True, timeout=seconds, isolation_level=None, check_same_thread=False)
        try:
            write_ahead(connection, seconds)
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            if writing:
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
        return connection

    engine = _engine("sqlite+pysqlite", connect, pool_size)
    begin = "BEGIN IMMEDIATE" if writing else "BEGIN"
    if complete:
        _checkpoint_commits(engine)
    if writing:
        order_writers(engine, path)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else begin)

    @event.listens_for(engine, "connect")
    def _connected(_connection: object, entry: ConnectionPoolEntry) -> None:
        entry.info["file"] = _identity(path)

    @event.listens_for(engine, "checkout")
    def _checkout(_connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
        if entry.info["file"] != _identity(path):
            raise DisconnectionError

    return engine


def memory_engine() -> Engine:
    """An SQLite database in the memory of this process: one connection, with which it ends."""

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)

    engine = sqlalchemy.create_engine("sqlite+pysqlite://", creator=connect, poolclass=StaticPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _checkpoint_commits(engine: Engine) -> None:
    """A copy of the main file is then whole, and a backup in its place gets no left-over log played into it."""

    @event.listens_for(engine, "commit")
    def _commit(connection: Connection) -> None:
        connection.info["checkpoint"] = not connection.get_execution_options().get("reading")

    @event.listens_for(engine, "checkin")
    def _checkin(connection: sqlite3.Connection | None, entry: ConnectionPoolEntry) -> None:
        if entry.info.pop("checkpoint", False) and connection is not None:
            # What cannot be moved now is moved after the next change.
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def postgres_engine(
    server: SqlDatabase,
    *,
    pool_size: int,
    timeout_ms: int,
    isolation: Isolation = "READ COMMITTED",
    by_index: bool = False,
) -> Engine:
    """Connections to PostgreSQL. A ``host`` that begins with ``/`` is the folder of its Unix socket.

    ``by_index`` is for short statements that all have an index that fits: it is then used from the first minute on,
    while the server still takes the tables for empty, and no plan is compiled. Raises `ConfigError` when the driver is
    not installed.
    """
    try:
        import psycopg
    except ImportError as error:
        raise driver_missing("postgres") from error

    connection_class = _bounded(psycopg.Connection, timeout_ms / 1000 + GRACE_SECONDS)

    def connect() -> psycopg.Connection[Any]:
        connection = connection_class.connect(**postgres_options(server, timeout_ms))
        # The last one frees the rows that a node which stopped in the middle of a transaction holds.
        for setting, limit in (
            ("statement_timeout", timeout_ms),
            ("lock_timeout", timeout_ms),
            ("idle_in_transaction_session_timeout", 2 * timeout_ms),
        ):
            connection.execute(f"SET {setting} = {limit:d}".encode())
        if by_index:
            connection.execute("SET enable_seqscan = off")
            connection.execute("SET jit = off")
        connection.autocommit = False
        return connection

    return _engine("postgresql+psycopg", connect, pool_size, isolation_level=isolation, use_native_hstore=False)


def postgres_options(server: SqlDatabase, timeout_ms: int) -> dict[str, Any]:
    """How psycopg connects: without a transaction at first, and so that a server that is gone is noticed."""
    seconds = max(2, round(timeout_ms / 1000))
    return {
        "host": server.host,
        "port": server.port,
        "user": server.username,
        "password": server.password,
        "dbname": server.database,
        "application_name": "sockudo",
        "client_encoding": "UTF8",
        "connect_timeout": seconds,
        "keepalives_idle": seconds,
        "keepalives_interval": seconds,
        "keepalives_count": 3,
        "tcp_user_timeout": timeout_ms,
        "autocommit": True,
    }


def mysql_engine(
    server: SqlDatabase, *, pool_size: int, timeout_ms: int, isolation: Isolation = "READ COMMITTED"
) -> Engine:
    """Connections to MySQL or MariaDB. A ``host`` that begins with ``/`` is its Unix socket.

    Raises `ConfigError` when the driver is not installed.
    """
    try:
        import pymysql
    except ImportError as error:
        raise driver_missing("mysql") from error

    connection_class = _sharing_tls(pymysql.Connection)
    seconds = timeout_ms / 1000
    place: dict[str, Any] = (
        {"unix_socket": server.host} if server.host.startswith("/") else {"host": server.host, "port": server.port}
    )
    # The second one is MariaDB's alone, a comment to MySQL: it frees what a node holds that stopped in a transaction.
    settings = (
        f"SET SESSION innodb_lock_wait_timeout = {max(1, round(seconds))}"
        f" /*M!100300 , SESSION idle_transaction_timeout = {max(1, round(2 * seconds))} */"
    )

    def connect() -> pymysql.Connection[Any]:
        try:
            return connection_class(
                **place,
                user=server.username,
                password=server.password,
                database=server.database,
                charset="utf8mb4",
                sql_mode="TRADITIONAL",
                init_command=settings,
                connect_timeout=max(1, round(seconds)),
                read_timeout=seconds + GRACE_SECONDS,
                write_timeout=seconds + GRACE_SECONDS,
                client_flag=pymysql.constants.CLIENT.FOUND_ROWS,
            )
        except RuntimeError as error:
            # The way in which it says that a password needs the package `cryptography`.
            raise pymysql.err.OperationalError(0, str(error)) from error

    return _engine("mysql+pymysql", connect, pool_size, isolation_level=isolation)


def server_engine(
    server: SqlDatabase,
    *,
    pool_size: int,
    timeout_ms: int,
    isolation: Isolation = "READ COMMITTED",
    by_index: bool = False,
) -> Engine:
    """Connections to a server of any kind. Raises `ConfigError` when its driver is not installed."""
    if isinstance(server, Postgres):
        return postgres_engine(
            server, pool_size=pool_size, timeout_ms=timeout_ms, isolation=isolation, by_index=by_index
        )
    return mysql_engine(server, pool_size=pool_size, timeout_ms=timeout_ms, isolation=isolation)


def server_engines(server: SqlDatabase, *, readers: int, timeout_ms: int) -> tuple[Engine, Engine]:
    """The engine of a store's one writer, and that of its readers, each of which sees one state of the database.

    All statements have an index that fits. Raises `ConfigError` when the driver is not installed.
    """
    return (
        server_engine(server, pool_size=1, timeout_ms=timeout_ms, by_index=True),
        server_engine(server, pool_size=readers, timeout_ms=timeout_ms, isolation="REPEATABLE READ", by_index=True),
    )


def _engine(driver: str, connect: Callable[[], Any], pool_size: int, **options: Any) -> Engine:
    # Parameters are what clients published: they belong in no error text.
    return sqlalchemy.create_engine(
        URL.create(driver),
        creator=connect,
        poolclass=sqlalchemy.QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,
        **options,
    )


def _bounded(base: type[psycopg.Connection[Any]], seconds: float) -> type[psycopg.Connection[Any]]:
    """A connection that waits for no answer longer: neither libpq nor TCP notices a server that is stopped."""
    from psycopg import OperationalError
    from psycopg.abc import PQGen

    class BoundedConnection(base):  # type: ignore[misc, valid-type]
        def wait(self, gen: PQGen[Any], *args: Any, **kwargs: Any) -> Any:
            return super().wait(self._until(gen, time.monotonic() + seconds), *args, **kwargs)

        def _until(self, answer: PQGen[Any], deadline: float) -> PQGen[Any]:
            # Wakes up every tenth of a second for nothing, with a `ready` of 0.
            ready: Any = None
            while True:
                try:
                    wanted = answer.send(ready)
                except StopIteration as ended:
                    return ended.value
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    self.close()
                    raise OperationalError("the server did not answer in time")

    return BoundedConnection


@functools.cache
def _sharing_tls(base: type[pymysql.Connection[Any]]) -> type[pymysql.Connection[Any]]:
    """A connection that does not read the machine's certificates anew: that takes longer than all else of connecting.

    Where the driver makes its context in another way, the connection is as good, and slower to make.
    """

    class SharingConnection(base):  # type: ignore[misc, valid-type]
        _context: ClassVar[ssl.SSLContext | None] = None

        def _create_ssl_ctx(self, settings: dict[str, Any]) -> ssl.SSLContext:
            # We have no settings for it, so all connections want the same: encrypt when the server can.
            cls = type(self)
            if cls._context is None:
                cls._context = super()._create_ssl_ctx(settings)
            return cls._context

    return SharingConnection


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
