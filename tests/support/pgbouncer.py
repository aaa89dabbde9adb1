"""PgBouncer on loopback, in front of a PostgreSQL server of the tests, in transaction mode."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

import msgspec
import psycopg

from sockudo.config.sections import Postgres
from support.databases import PASSWORD, DatabaseServer, folder_of, program, system_user
from support.parts import cannot_run
from support.ports import free_port
from support.waiting import wait_until

__all__ = ["pgbouncer"]

PART = "PgBouncer"


@contextlib.contextmanager
def pgbouncer(server: DatabaseServer) -> Iterator[Postgres]:
    """How to reach the server through it: each transaction has another of two connections."""
    binary = program("pgbouncer", "/usr/sbin")
    if binary is None:
        cannot_run(PART, "it is not installed (apt-get install pgbouncer)")
    user = system_user(PART, "postgres")
    direct, port = server.postgres, free_port()
    with folder_of(user) as folder:
        (folder / "users").write_text(f'"{direct.username}" "{PASSWORD}"\n')
        config = folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n{direct.database} = host={direct.host} port={direct.port}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
            f"auth_file = {folder / 'users'}\npool_mode = transaction\ndefault_pool_size = 2\n"
        )
        for file in folder.iterdir():
            file.chmod(0o644)
        through = msgspec.structs.replace(direct, port=port)
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen([binary, str(config)], user=user, cwd=folder, stdout=output, stderr=output)

        def ready() -> bool:
            if process.poll() is not None:
                last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
                cannot_run(PART, f"it ended with {process.returncode} at its start: {last}")
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(
                    host=through.host,
                    port=port,
                    user=through.username,
                    password=through.password,
                    dbname=through.database,
                ).close()
                return True
            return False

        try:
            wait_until(ready, f"{PART} to start")
            yield through
        finally:
            process.terminate()
            process.wait(30)
