"""Which store the configuration asks for to keep push in."""

from __future__ import annotations

from sockudo.config import Settings
from sockudo.push.ports import PushStore
from sockudo.stores.push.memory import MemoryPushStore

__all__ = ["push_store"]


def push_store(settings: Settings) -> PushStore:
    """The store of ``push.storage_driver``, not opened yet. Raises ConfigError when its driver is not installed."""
    driver, database = settings.push.storage_driver, settings.database
    if driver == "memory":
        return MemoryPushStore()
    # Takes a while to import, which those that need no database should not pay for.
    from sockudo.stores.push.sql import mysql_push, postgres_push, sqlite_push

    if driver == "postgres":
        return postgres_push(database.postgres)
    if driver == "mysql":
        return mysql_push(database.mysql)
    return sqlite_push(settings.data_dir)
