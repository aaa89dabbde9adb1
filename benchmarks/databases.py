"""A throw-away PostgreSQL on loopback, with its default durability, for as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import cpu_seconds, tree
from benchmarks.settings import CLIENT_CORE, DISK, PYTHON
from benchmarks.tools import Missing, output_of, run

__all__ = ["Postgres", "postgres"]

_HINT = "install PostgreSQL (Debian: apt install postgresql)"
_START_SECONDS = 60
_PASSWORD = "bench"


@dataclass(frozen=True)
class Postgres:
    """A running server: what the configuration says of it, its process, and its version."""

    section: dict[str, object]
    pid: int
    version: str

    def cpu_seconds(self) -> float:
        """What it and its workers have used so far."""
        return cpu_seconds(tree(self.pid))


def _program(name: str) -> str:
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default=None)
    if found is None:
        raise Missing(f"{name} is missing: {_HINT}")
    return found


def _user() -> str | None:
    """It refuses to run as root."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    raise Missing(f"there is no system user postgres: {_HINT}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ready = _program("pg_isready")
    deadline = time.monotonic() + _START_SECONDS
    while "accepting connections" not in output_of(ready, "-h", "127.0.0.1", "-p", str(port)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Missing(f"PostgreSQL did not start: {log.read_text(errors='replace')[-300:].strip()}")
        time.sleep(0.1)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """With one database, on the clients' core. Raises Missing where none can be started or reached."""
    run(PYTHON, "-c", "import psycopg", hint="install the server's driver (pip install 'sockudo[postgres]')")
    initdb, program, user = _program("initdb"), _program("postgres"), _user()
    folder = Path(tempfile.mkdtemp(prefix="bench-postgres-", dir=DISK))
    try:
        secret, data, log = folder / "password", folder / "data", folder / "log"
        secret.write_text(_PASSWORD)
        if user is not None:
            shutil.chown(folder, user)
            secret.chmod(0o644)
        how = ["--username=sockudo", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run([initdb, f"--pgdata={data}", *how], user=user, capture_output=True, text=True, timeout=_START_SECONDS, check=False)
        if done.returncode:
            raise Missing(f"initdb failed: {done.stderr.strip()[-160:]}")
        port = _free_port()
        command = [program, "-D", str(data), "-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "unix_socket_directories="]
        with log.open("wb") as output:
            process = subprocess.Popen(command, user=user, cwd=folder, stdout=output, stderr=output, start_new_session=True)
        try:
            os.sched_setaffinity(process.pid, {CLIENT_CORE})
            _wait(process, port, log)
            section = {"host": "127.0.0.1", "port": port, "username": "sockudo", "password": _PASSWORD, "database": "postgres"}
            yield Postgres(section, process.pid, output_of(program, "--version"))
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
