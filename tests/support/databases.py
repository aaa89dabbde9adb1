"""Throw-away PostgreSQL and MariaDB servers on loopback, each in a folder of its own, with their default durability.

Both refuse to run as root, so under root they run as the system user that their Debian package makes.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pymysql

from sockudo.config.sections import Mysql, Postgres
from support.parts import cannot_run
from support.waiting import wait_until

__all__ = ["DatabaseServer", "mariadb_server", "postgres_server"]

PASSWORD = "p@ss/w:rd %41"
"""Has every character that a connection string could stumble over."""

START_WITHIN = 60.0


@dataclass(frozen=True)
class DatabaseServer:
    """A running server. The user may do everything in ``database``."""

    kind: str
    database: Postgres | Mysql
    pid: int

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server is there but does not answer: every one of its processes is stopped."""
        pids = [self.pid, *_children(self.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def postgres_server() -> Iterator[DatabaseServer]:
    """PostgreSQL with one database."""
    part = "PostgreSQL"
    programs = _program("initdb", "/usr/lib/postgresql/*/bin"), _program("postgres", "/usr/lib/postgresql/*/bin")
    initdb, postgres = programs
    user = _user(part, "postgres")
    if initdb is None or postgres is None:
        cannot_run(part, "the server is not installed (apt-get install postgresql)")
    with _folder(user) as folder:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = folder / "data"
        how = ["--username=sockudo", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        _prepare(part, [initdb, f"--pgdata={data}", "--no-sync", *how], user)
        port = _free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "max_connections": 60}
        command = [postgres, "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]
        database = Postgres("127.0.0.1", port, "sockudo", PASSWORD, "postgres")

        def connect() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(
                    host=database.host, port=port, user=database.username, password=PASSWORD, dbname=database.database
                ).close()
                return True
            return False

        with _running(part, command, user, folder, connect, signal.SIGQUIT) as pid:
            yield DatabaseServer("postgres", database, pid)


@contextlib.contextmanager
def mariadb_server() -> Iterator[DatabaseServer]:
    """MariaDB with one database."""
    part = "MariaDB"
    install, daemon = _program("mariadb-install-db"), _program("mariadbd", "/usr/sbin")
    user = _user(part, "mysql")
    if install is None or daemon is None:
        cannot_run(part, "the server is not installed (apt-get install mariadb-server)")
    with _folder(user) as folder:
        data, local = folder / "data", folder / "socket"
        how = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        _prepare(part, [install, "--no-defaults", f"--datadir={data}", *how], user)
        port = _free_port()
        settings = {
            "datadir": data,
            "port": port,
            "bind-address": "127.0.0.1",
            "socket": local,
            "pid-file": folder / "pid",
        }
        command = [daemon, "--no-defaults", *(f"--{name}={value}" for name, value in settings.items())]
        database = Mysql("127.0.0.1", port, "sockudo", PASSWORD, "sockudo")

        def connect() -> bool:
            with contextlib.suppress(pymysql.err.OperationalError):
                pymysql.connect(unix_socket=str(local), user="root").close()
                return True
            return False

        with _running(part, command, user, folder, connect, signal.SIGKILL) as pid:
            with pymysql.connect(unix_socket=str(local), user="root") as connection, connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE sockudo")
                cursor.execute("CREATE USER sockudo@'%%' IDENTIFIED BY %s", (PASSWORD,))
                cursor.execute("GRANT ALL ON *.* TO sockudo@'%'")
            yield DatabaseServer("mysql", database, pid)


def _program(name: str, *places: str) -> str | None:
    found = shutil.which(name)
    if found is not None:
        return found
    versions = sorted(str(path) for place in places for path in Path("/").glob(f"{place[1:]}/{name}"))
    return versions[-1] if versions else None


def _user(part: str, name: str) -> str | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        cannot_run(part, f"there is no system user {name} for it to run as")


@contextlib.contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sockudo-db-", ignore_cleanup_errors=True) as name:
        if user is not None:
            shutil.chown(name, user)
        yield Path(name)


def _prepare(part: str, command: list[str], user: str | None) -> None:
    done = subprocess.run(command, user=user, capture_output=True, text=True, timeout=START_WITHIN, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        cannot_run(part, f"{Path(command[0]).name} ended with {done.returncode}: {last}")


@contextlib.contextmanager
def _running(
    part: str, command: list[str], user: str | None, folder: Path, connect: Callable[[], bool], end: signal.Signals
) -> Iterator[int]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, user=user, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:

        def ready() -> bool:
            if process.poll() is not None:
                last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
                cannot_run(part, f"the server ended with {process.returncode} at its start: {last}")
            return connect()

        wait_until(ready, f"{part} to start", timeout=START_WITHIN)
        yield process.pid
    finally:
        process.send_signal(end)
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
