"""Throw-away PostgreSQL and MariaDB servers on loopback, each in a folder of its own, with their default durability.

Both refuse to run as root, so under root they run as the system user that their Debian package makes.
"""

from __future__ import annotations

import contextlib
import hmac
import signal
import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import pbkdf2_hmac, sha256
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from sockudo.config.sections.databases import Mysql, Postgres
from support.daemons import Daemon, folder_of, frozen, prepare, program, system_user
from support.ports import free_port

__all__ = ["PASSWORD", "DatabaseServer", "empty_file", "mariadb_server", "postgres_server"]

PASSWORD = "p@ss/w:rd %41"
"""Has every character that a connection string could stumble over."""

TESTER = "tester"
"""Who the tests themselves are on MariaDB, so that its connections can be told apart."""


@dataclass(frozen=True)
class DatabaseServer:
    """A running server, and how to reach it as a user that may do everything."""

    database: Postgres | Mysql
    pid: int
    _idle: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)
    """Connections that `execute` may use again."""

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets; connections are not."""
        return {"database": self.database, "pid": self.pid, "_idle": []}

    @property
    def postgres(self) -> Postgres:
        assert isinstance(self.database, Postgres)
        return self.database

    @property
    def mysql(self) -> Mysql:
        assert isinstance(self.database, Mysql)
        return self.database

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """The rows of the last statement; each is a transaction of its own, on a connection that is not the stores'."""
        rows: list[tuple[Any, ...]] = []
        if statements:
            connection = self._take()
            try:
                for statement in statements:
                    with contextlib.closing(connection.cursor()) as cursor:
                        cursor.execute(statement)
                        rows = list(cursor.fetchall()) if cursor.description else []
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
        return rows

    def close(self) -> None:
        """Gives back the connections of the tests' own."""
        while self._idle:
            self._idle.pop().close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """The cursor of a transaction that is undone at the end."""
        with contextlib.closing(self._connect(autocommit=False)) as connection:
            yield connection.cursor()
            connection.rollback()

    def _take(self) -> Any:
        """A connection that works: one that nobody uses, unless the server has ended it, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            try:
                with contextlib.closing(connection.cursor()) as cursor:
                    cursor.execute("SELECT 1")
            except (psycopg.OperationalError, pymysql.Error):
                connection.close()
            else:
                return connection
        return self._connect()

    def _connect(self, *, autocommit: bool = True) -> psycopg.Connection[Any] | pymysql.Connection[Any]:
        of = self.database
        place: dict[str, Any] = {"host": of.host, "port": of.port, "password": of.password, "autocommit": autocommit}
        if isinstance(of, Postgres):
            return psycopg.connect(user=of.username, dbname=of.database, **place)
        # Reading the machine's certificates takes longer than all that most tests ask for.
        return pymysql.connect(user=TESTER, database=of.database, ssl_disabled=True, **place)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server is there but does not answer."""
        with frozen(self.pid):
            yield


def empty_file(path: Path) -> None:
    """Takes out of a store's SQLite file, if there is one, all but what says what its tables are."""
    if path.exists():
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
                if not table.endswith(("_migrations", "_schema_version")):
                    connection.execute(f"DELETE FROM {table}")  # noqa: S608


@contextlib.contextmanager
def postgres_server() -> Iterator[DatabaseServer]:
    """PostgreSQL with one database."""
    part, binaries = "PostgreSQL", "/usr/lib/postgresql/*/bin"
    initdb, postgres = (program(part, name, "postgresql", binaries) for name in ("initdb", "postgres"))
    user = system_user(part, "postgres")
    with folder_of(user) as folder:
        secret = folder / "password"
        secret.write_text(_scram(PASSWORD))
        secret.chmod(0o644)
        data = folder / "data"
        how = ["--username=sockudo", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        prepare(part, [initdb, f"--pgdata={data}", "--no-sync", *how], folder, user)
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "max_connections": 60}
        # Only a crash of the machine would need it, and none of the tests has one.
        settings["fsync"] = "off"
        command = [postgres, "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]
        database = Postgres("127.0.0.1", port, "sockudo", PASSWORD, "postgres")
        with _running(Daemon(part, command, folder, user), database, signal.SIGQUIT) as server:
            yield server


@contextlib.contextmanager
def mariadb_server() -> Iterator[DatabaseServer]:
    """MariaDB with one database."""
    part = "MariaDB"
    install, daemon = (
        program(part, name, "mariadb-server", "/usr/sbin") for name in ("mariadb-install-db", "mariadbd")
    )
    user = system_user(part, "mysql")
    with folder_of(user) as folder:
        data, first = folder / "data", folder / "first.sql"
        first.write_text(
            "CREATE DATABASE sockudo;\n"
            + "".join(
                f"CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO {name}@'%';\n"
                for name in ("sockudo", TESTER)
            )
        )
        first.chmod(0o644)
        how = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        prepare(part, [install, "--no-defaults", f"--datadir={data}", *how], folder, user)
        port = free_port()
        settings = {"datadir": data, "port": port, "bind-address": "127.0.0.1", "init-file": first}
        settings |= {"socket": folder / "socket", "pid-file": folder / "pid"}
        # As with PostgreSQL: written at each commit, but not forced to the disk.
        settings["innodb-flush-log-at-trx-commit"] = 2
        command = [daemon, "--no-defaults", *(f"--{name}={value}" for name, value in settings.items())]
        database = Mysql("127.0.0.1", port, "sockudo", PASSWORD, "sockudo")
        with _running(Daemon(part, command, folder, user), database, signal.SIGKILL) as server:
            yield server


def _scram(password: str) -> str:
    """What PostgreSQL keeps of a password (RFC 5803), with one round in place of 4096: tests log in very often."""
    salt = b"of the tests"
    salted = pbkdf2_hmac("sha256", password.encode(), salt, 1)
    client, server = (hmac.digest(salted, b"%s Key" % whose, "sha256") for whose in (b"Client", b"Server"))
    coded = (b64encode(part).decode() for part in (salt, sha256(client).digest(), server))
    return "SCRAM-SHA-256$1:{}${}:{}".format(*coded)


@contextlib.contextmanager
def _running(daemon: Daemon, database: Postgres | Mysql, end: signal.Signals) -> Iterator[DatabaseServer]:
    probe = DatabaseServer(database, pid=0)

    def answers() -> bool:
        with contextlib.suppress(psycopg.OperationalError, pymysql.err.OperationalError):
            return probe.execute("SELECT 1") == [(1,)]
        return False

    try:
        daemon.launch(answers)
        probe.close()
        server = DatabaseServer(database, daemon.pid)
        yield server
        server.close()
    finally:
        daemon.kill(end)
