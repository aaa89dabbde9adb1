"""Which stores the configuration asks for to keep the apps, the revocations and the history in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sockudo.apps.ports import AppStore
from sockudo.auth.ports import RevocationStore
from sockudo.config import Settings
from sockudo.config.apps import App
from sockudo.config.databases import DatabaseKind, database_of
from sockudo.drivers.memory_apps import MemoryAppStore
from sockudo.drivers.memory_history import MemoryHistoryStore
from sockudo.drivers.revocations import RevocationFile
from sockudo.drivers.stand_in import StandInAppStore
from sockudo.hub.streams.ports import HistoryStore

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

# How long a connection of the pool is waited for (spec: platform § 1.4).
_TIMEOUT_MS: Final = 5000


def app_store(settings: Settings, *, serving: bool = False, run_dir: Path | None = None) -> AppStore:
    """The store of ``app_manager.driver``, not opened yet.

    ``serving`` is for the server, which starts without its database when the configuration has apps
    (spec: platform § 1.7). Of several workers the memory is a file in their ``run_dir``, which ends with the server.
    Raises ConfigError when the driver of the database is not installed.
    """
    database = _database(settings)
    in_memory = settings.app_manager.driver == "memory"
    if in_memory and run_dir is None:
        return MemoryAppStore()
    # Takes a while to import, which those that need no database should not pay for.
    from sockudo.drivers.sql.apps import SqlAppStore, sqlite_apps
    from sockudo.storage.engine import server_engine

    if database is None:
        return sqlite_apps(run_dir / FILE_NAME if in_memory and run_dir is not None else _file(settings))
    server = database.server(settings)
    engine = server_engine(server, pool_size=1, timeout_ms=_TIMEOUT_MS)
    store = SqlAppStore(engine, server.table_name, server=server)
    return StandInAppStore(store) if serving and starts_without_database(settings) else store


def starts_without_database(settings: Settings) -> bool:
    """Whether the apps are on a database server, and the configuration has some to serve until it answers."""
    return _database(settings) is not None and bool(settings.apps)


def revocation_store(settings: Settings) -> RevocationStore:
    """The store of revocations, not opened yet: where the apps are, or in a file while they are in memory.

    Raises ConfigError when the driver of the database is not installed.
    """
    file = Path(settings.data_dir) / REVOCATIONS_FILE_NAME
    database = _database(settings)
    if database is None:
        return RevocationFile(file)
    # Takes a while to import, which those that need no database should not pay for.
    from sockudo.drivers.sql.revocations import SqlRevocations
    from sockudo.storage.engine import server_engine

    server = database.server(settings)
    engine = server_engine(server, pool_size=1, timeout_ms=_TIMEOUT_MS)
    return SqlRevocations(engine, server=server, earlier=file)


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
    database = _database(settings)
    if database is not None:
        server = database.server(settings)
        return f"table '{server.table_name}' of database '{server.database}' at {server.place}"
    return "memory" if settings.app_manager.driver == "memory" else str(_file(settings).absolute())


def _file(settings: Settings) -> Path:
    return Path(settings.data_dir) / FILE_NAME


def _database(settings: Settings) -> DatabaseKind | None:
    """Where the apps are, if that is a database server."""
    return database_of(settings.app_manager.driver)


def history_store(settings: Settings) -> HistoryStore:
    """The store of ``history.backend``, not opened yet. Raises ConfigError when its driver is not installed."""
    backend = settings.history.backend
    if backend == "memory":
        return MemoryHistoryStore()
    # Takes a while to import, which those that need no database should not pay for.
    from sockudo.drivers.sql import server_history, sqlite_history

    if (database := database_of(backend)) is not None:
        return server_history(database.server(settings), database.history(settings))
    return sqlite_history(settings.data_dir, settings.history.sqlite)


def history_exists(settings: Settings) -> bool:
    """Whether there may be something in the store: not in one of another process's memory, nor in a file never made."""
    if settings.history.backend == "sqlite":
        from sockudo.drivers.sql.history import FILE_NAME

        return (Path(settings.data_dir) / FILE_NAME).exists()
    return settings.history.backend != "memory"
