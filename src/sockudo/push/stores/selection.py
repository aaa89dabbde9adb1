"""Which store the configuration asks for to keep push in."""

from __future__ import annotations

import time
from pathlib import Path

from sockudo.config import Settings
from sockudo.config.databases import database_of
from sockudo.push.ports import PushStore

__all__ = ["forget_app", "push_exists", "push_store"]


def push_store(settings: Settings) -> PushStore:
    """The store of ``push.storage_driver``, not opened yet. Raises ConfigError when its driver is not installed."""
    driver = settings.push.storage_driver
    # Takes a while to import, which servers without push should not pay for.
    from sockudo.push.stores.sql import MemoryPushStore, server_push, sqlite_push

    if driver == "memory":
        return MemoryPushStore()
    if (database := database_of(driver)) is not None:
        return server_push(database.server(settings))
    return sqlite_push(settings.data_dir)


def push_exists(settings: Settings) -> bool:
    """Whether there may be something in the store: not in one of another process's memory, nor in a file never made."""
    if settings.push.storage_driver == "sqlite":
        from sockudo.push.stores.sql import FILE_NAME

        return (Path(settings.data_dir) / FILE_NAME).exists()
    return settings.push.storage_driver != "memory"


async def forget_app(settings: Settings, app_id: str) -> None:
    """Has what a removed app keeps deleted by the servers. Raises ConfigError and `errors.SockudoError`."""
    if not push_exists(settings):
        return
    store = push_store(settings)
    try:
        await store.start()
        await store.note_removal(app_id, int(time.time() * 1000))
    finally:
        await store.close()
