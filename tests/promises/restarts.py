"""A server that is killed and comes back, over every store that outlives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.databases import DatabaseServer
from support.server import ServerProcess, start_server

__all__ = ["Restart", "database_of"]


def database_of(server: DatabaseServer, name: str, backend: str) -> dict[str, Any]:
    database = server.database
    section = {
        "host": database.host,
        "port": database.port,
        "username": database.username,
        "password": database.password,
        "database": database.database,
    }
    history = {"enabled": True, "backend": backend, backend: {"table_prefix": f"promise_{name}"}}
    return {"database": {backend: section}, "history": history}


class Restart:
    """A server that comes back on the same port with the same data."""

    def __init__(self, stored: dict[str, Any], data: Path) -> None:
        self._config = {"log_level": "warn", "connection_recovery": {"enabled": True}, **stored}
        self._data = data
        self.server: ServerProcess | None = None

    def configure(self, **changes: Any) -> None:
        """Sections that are configured besides."""
        self._config |= changes

    def __call__(self) -> ServerProcess:
        if self.server is not None:
            self._config["port"] = self.server.port
            self.server.check_log()
            self.server.close()
        self.server = start_server(self._config, env={"SOCKUDO_DATA_DIR": str(self._data)})
        return self.server
