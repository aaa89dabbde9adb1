"""What the configuration asks for to keep and send notifications with: store, queue and providers.

Stores, queues and providers are adapters that must not know each other, so the choice is made above all of them.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from sockudo.base.clock import Clock
from sockudo.config import Settings
from sockudo.config.databases import database_of
from sockudo.jobs.ports import JobQueue
from sockudo.jobs.selection import job_queue
from sockudo.outbound.addresses import is_public
from sockudo.push.credentials import CredentialCheck
from sockudo.push.delivery import Materials
from sockudo.push.endpoints import EndpointRules
from sockudo.push.messages import FILE_NAME, PUSH_QUEUE
from sockudo.push.ports import PushStore
from sockudo.push.runtime import Providers, PublishOnChannel

__all__ = ["ConfiguredPush", "forget_app", "push_exists", "push_queue", "push_store"]


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


# ---- the drivers of a server ----


class ConfiguredPush:
    """The `PushDrivers` of a server. Raises ConfigError for a driver that is not installed."""

    def store(self, settings: Settings) -> PushStore:
        return push_store(settings)

    def exists(self, settings: Settings) -> bool:
        return push_exists(settings)

    def queue(self, settings: Settings) -> JobQueue:
        return push_queue(settings)

    def is_public(self, address: str) -> bool:
        return is_public(address)

    def credential_check(self, settings: Settings) -> CredentialCheck:
        # Providers take a while to import.
        from sockudo.push.providers import check_credential

        return partial(check_credential, allow_local=settings.push.webpush.allow_local_endpoints)

    def providers(
        self, settings: Settings, rules: EndpointRules, materials: Materials, publish: PublishOnChannel, clock: Clock
    ) -> Providers:
        from sockudo.outbound.exchange import Exchange
        from sockudo.push.providers import Surroundings, push_providers

        exchange = Exchange(allow_local=settings.push.webpush.allow_local_endpoints)
        around = Surroundings(exchange, clock.time, clock.monotonic)
        return Providers(push_providers(settings.push, rules, materials, publish, around), exchange.close)


def push_queue(settings: Settings) -> JobQueue:
    """The queue of ``push.queue_driver``, not opened yet. Raises ConfigError when its driver is not installed."""
    return job_queue(PUSH_QUEUE, settings.push.queue_driver, settings, FILE_NAME)
