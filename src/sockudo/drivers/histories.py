"""Which store the configuration asks for to keep the history in."""

from __future__ import annotations

from pathlib import Path

from sockudo.config import Settings
from sockudo.drivers.memory_history import MemoryHistoryStore
from sockudo.hub.streams.ports import HistoryStore

__all__ = ["history_exists", "history_store"]


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
