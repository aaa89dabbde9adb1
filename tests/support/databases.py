"""Throw-away PostgreSQL and MariaDB servers on loopback, each in a folder of its own, with their default durability.

Both refuse to run as root, so under root they run as the system user that their Debian package makes.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import pwd
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import pbkdf2_hmac, sha256
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from sockudo.config.sections import Mysql, Postgres
from support.parts import cannot_run
from support.ports import free_port
from support.waiting import wait_until

__all__ = [
    "PASSWORD",
    "DatabaseServer",
    "empty_file",
    "folder_of",
    "mariadb_server",
    "postgres_server",
    "program",
    "system_user",
]

PASSWORD = "p@ss/w:rd %41"
"""Has every character that a connection string could stumble over."""

TESTER = "tester"
"""Who the tests themselves are on MariaDB, so that its connections can be told apart."""

START_WITHIN = 60.0


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
        """The server is there but does not answer: every one of its processes is stopped."""
        pids = [self.pid, *_children(self.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(map(_is_stopped, pids)), "the server to stop")
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


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
    initdb, postgres = program("initdb", binaries), program("postgres", binaries)
    if initdb is None or postgres is None:
        cannot_run(part, "the server is not installed (apt-get install postgresql)")
    user = system_user(part, "postgres")
    with folder_of(user) as folder:
        secret = folder / "password"
        secret.write_text(_scram(PASSWORD))
        secret.chmod(0o644)
        data = folder / "data"
        how = ["--username=sockudo", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        _prepare(part, [initdb, f"--pgdata={data}", "--no-sync", *how], user, folder)
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "max_connections": 60}
        # Only a crash of the machine would need it, and none of the tests has one.
        settings["fsync"] = "off"
        command = [postgres, "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]
        database = Postgres("127.0.0.1", port, "sockudo", PASSWORD, "postgres")
        with _running(part, command, user, folder, database, signal.SIGQUIT) as server:
            yield server


@contextlib.contextmanager
def mariadb_server() -> Iterator[DatabaseServer]:
    """MariaDB with one database."""
    part = "MariaDB"
    install, daemon = program("mariadb-install-db"), program("mariadbd", "/usr/sbin")
    if install is None or daemon is None:
        cannot_run(part, "the server is not installed (apt-get install mariadb-server)")
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
        _prepare(part, [install, "--no-defaults", f"--datadir={data}", *how], user, folder)
        port = free_port()
        settings = {"datadir": data, "port": port, "bind-address": "127.0.0.1", "init-file": first}
        settings |= {"socket": folder / "socket", "pid-file": folder / "pid"}
        # As with PostgreSQL: written at each commit, but not forced to the disk.
        settings["innodb-flush-log-at-trx-commit"] = 2
        command = [daemon, "--no-defaults", *(f"--{name}={value}" for name, value in settings.items())]
        database = Mysql("127.0.0.1", port, "sockudo", PASSWORD, "sockudo")
        with _running(part, command, user, folder, database, signal.SIGKILL) as server:
            yield server


def _scram(password: str) -> str:
    """What PostgreSQL keeps of a password (RFC 5803), with one round in place of 4096: tests log in very often."""
    salt = b"of the tests"
    salted = pbkdf2_hmac("sha256", password.encode(), salt, 1)
    client, server = (hmac.digest(salted, b"%s Key" % whose, "sha256") for whose in (b"Client", b"Server"))
    coded = (b64encode(part).decode() for part in (salt, sha256(client).digest(), server))
    return "SCRAM-SHA-256$1:{}${}:{}".format(*coded)


def program(name: str, *places: str) -> str | None:
    """Where a program is: on the path, or the newest in these folders, which may be patterns."""
    found = shutil.which(name)
    if found is not None:
        return found
    versions = [path for place in places for path in Path("/").glob(f"{place[1:]}/{name}")]
    return str(max(versions, key=_version)) if versions else None


def _version(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", str(path))]


def system_user(part: str, name: str) -> str | None:
    """Who a server that refuses to be root runs as; None where the tests are not root either."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        cannot_run(part, f"there is no system user {name} for it to run as")


@contextlib.contextmanager
def folder_of(user: str | None) -> Iterator[Path]:
    """A folder of that user's own."""
    with tempfile.TemporaryDirectory(prefix="sockudo-db-", ignore_cleanup_errors=True) as name:
        if user is not None:
            shutil.chown(name, user)
        yield Path(name)


def _environment(folder: Path) -> dict[str, str]:
    """With temporary files of its own: MariaDB names them by process id and number, and removes any it finds."""
    return {**os.environ, "TMPDIR": str(folder)}


def _prepare(part: str, command: list[str], user: str | None, folder: Path) -> None:
    # Not from the folder of the checkout, which that user may not enter.
    done = subprocess.run(
        command,
        user=user,
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=START_WITHIN,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        cannot_run(part, f"{Path(command[0]).name} ended with {done.returncode}: {last}")


@contextlib.contextmanager
def _running(
    part: str, command: list[str], user: str | None, folder: Path, database: Postgres | Mysql, end: signal.Signals
) -> Iterator[DatabaseServer]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, user=user, cwd=folder, env=_environment(folder), stdout=output, stderr=output
        )
    server = DatabaseServer(database, process.pid)

    def ready() -> bool:
        if process.poll() is not None:
            last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
            cannot_run(part, f"the server ended with {process.returncode} at its start: {last}")
        with contextlib.suppress(psycopg.OperationalError, pymysql.err.OperationalError):
            return server.execute("SELECT 1") == [(1,)]
        return False

    try:
        wait_until(ready, f"{part} to start", timeout=START_WITHIN)
        yield server
    finally:
        server.close()
        process.send_signal(end)
        process.wait(30)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_stopped(pid: int) -> bool:
    """With each of its threads, and those go on for a moment after the signal; or ended."""
    states = set()
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            states.add((thread / "stat").read_text().rpartition(") ")[2][0])
    return states <= {"T", "Z"}
