"""Which stores the configuration asks for to keep the apps, the revocations and the history in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sockudo.apps.ports import AppStore
from sockudo.auth.ports import RevocationStore
from sockudo.config import Settings
from sockudo.config.apps import App
from sockudo.config.sections.databases import SqlDatabase
from sockudo.drivers.memory_apps import MemoryAppStore
from sockudo.drivers.memory_history import MemoryHistoryStore
from sockudo.drivers.revocations import RevocationFile
from sockudo.drivers.stand_in import StandInAppStore
from sockudo.hub.streams.ports import HistoryStore

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = [
    "FILE_NAME",
    "REVOCATIONS_FILE_NAME",
    "app_place",
    "app_store",
    "history_exists",
    "history_store",
    "revocation_store",
    "starts_without_database",
    "stored_apps",
]

FILE_NAME: Final = "apps.sqlite3"
REVOCATIONS_FILE_NAME: Final = "revocations.sqlite3"

_SERVERS: Final = frozenset({"pgsql", "mysql"})

# How long a connection of the pool is waited for (spec: platform § 1.4).
_TIMEOUT_MS: Final = 5000


def app_store(settings: Settings, *, serving: bool = False) -> AppStore:
    """The store of ``app_manager.driver``, not opened yet.

    ``serving`` is for the server, which starts without its database when the configuration has apps
    (spec: platform § 1.7). Raises ConfigError when the driver of the database is not installed.
    """
    match settings.app_manager.driver:
        case "memory":
            return MemoryAppStore()
        case "sqlite":
            # Takes a while to import, which those that need no database should not pay for.
            from sockudo.drivers.sql.apps import sqlite_apps

            return sqlite_apps(_file(settings))
    store = _sql_store(settings)
    return StandInAppStore(store) if serving and starts_without_database(settings) else store


def starts_without_database(settings: Settings) -> bool:
    """Whether the apps are on a database server, and the configuration has some to serve until it answers."""
    return settings.app_manager.driver in _SERVERS and bool(settings.apps)


def revocation_store(settings: Settings) -> RevocationStore:
    """The store of revocations, not opened yet: where the apps are, or in a file while they are in memory.

    Raises ConfigError when the driver of the database is not installed.
    """
    file = Path(settings.data_dir) / REVOCATIONS_FILE_NAME
    if settings.app_manager.driver not in _SERVERS:
        return RevocationFile(file)
    # Takes a while to import, which those that need no database should not pay for.
    from sockudo.drivers.sql.revocations import SqlRevocations

    section, server = _server(settings)
    return SqlRevocations(_engine(settings), place=_address(server), section=section, earlier=file)


async def stored_apps(settings: Settings) -> Sequence[App] | None:
    """Every app in that store, None where there is no store yet: none is made by looking.

    Raises ConfigError when the driver of the database is not installed, and errors.SERVICE_UNAVAILABLE.
    """
    driver = settings.app_manager.driver
    if driver == "memory" or (driver == "sqlite" and not _file(settings).exists()):
        return None
    store = app_store(settings)
    await store.start()
    try:
        return await store.all()
    finally:
        await store.stop()


def app_place(settings: Settings) -> str:
    """Where that store is, for people."""
    match settings.app_manager.driver:
        case "memory":
            return "memory"
        case "sqlite":
            return str(_file(settings).absolute())
    _, server = _server(settings)
    return f"table '{server.table_name}' of database '{server.database}' at {_address(server)}"


def _file(settings: Settings) -> Path:
    return Path(settings.data_dir) / FILE_NAME


def _sql_store(settings: Settings) -> AppStore:
    # Takes a while to import, which those that need no database should not pay for.
    from sockudo.drivers.sql.apps import SqlAppStore

    section, server = _server(settings)
    return SqlAppStore(
        _engine(settings), server.table_name, place=_address(server), section=section, user=server.username
    )


def _engine(settings: Settings) -> Engine:
    """One connection to the server of the apps."""
    from sockudo.storage.engine import mysql_engine, postgres_engine

    section, server = _server(settings)
    make = postgres_engine if section == "database.postgres" else mysql_engine
    return make(server, pool_size=1, timeout_ms=_TIMEOUT_MS)


def _server(settings: Settings) -> tuple[str, SqlDatabase]:
    if settings.app_manager.driver == "pgsql":
        return "database.postgres", settings.database.postgres
    return "database.mysql", settings.database.mysql


def _address(server: SqlDatabase) -> str:
    if server.host.startswith("/"):
        return server.host
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"


def history_store(settings: Settings) -> HistoryStore:
    """The store of ``history.backend``, not opened yet. Raises ConfigError when its driver is not installed."""
    history, database = settings.history, settings.database
    if history.backend == "memory":
        return MemoryHistoryStore()
    # Takes a while to import, which those that need no database should not pay for.
    from sockudo.drivers.sql import mysql_history, postgres_history, sqlite_history

    if history.backend == "postgres":
        return postgres_history(database.postgres, history.postgres)
    if history.backend == "mysql":
        return mysql_history(database.mysql, history.mysql)
    return sqlite_history(settings.data_dir, history.sqlite)


def history_exists(settings: Settings) -> bool:
    """Whether there may be something in the store: not in one of another process's memory, nor in a file never made."""
    if settings.history.backend == "sqlite":
        from sockudo.drivers.sql.history import FILE_NAME

        return (Path(settings.data_dir) / FILE_NAME).exists()
    return settings.history.backend != "memory"
