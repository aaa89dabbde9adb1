"""PgBouncer on loopback, in front of a PostgreSQL server of the tests, in transaction mode."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import msgspec
import psycopg

from sockudo.config.sections.databases import Postgres
from support.daemons import Daemon, folder_of, program, system_user
from support.databases import PASSWORD, DatabaseServer
from support.ports import free_port

__all__ = ["pgbouncer"]

PART = "PgBouncer"


@contextlib.contextmanager
def pgbouncer(server: DatabaseServer) -> Iterator[Postgres]:
    """How to reach the server through it: each transaction has another of two connections."""
    binary = program(PART, "pgbouncer", "pgbouncer", "/usr/sbin")
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
        reached = {"host": through.host, "port": port, "dbname": through.database}

        def answers() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(user=through.username, password=through.password, **reached).close()
                return True
            return False

        daemon = Daemon(PART, [binary, str(config)], folder, user)
        try:
            daemon.launch(answers)
            yield through
        finally:
            daemon.kill(signal.SIGTERM)
