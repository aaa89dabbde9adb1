"""What the configuration asks for to keep and send notifications with: store, queue and providers.

Stores, queues and providers are adapters that must not know each other, so the choice is made above all of them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sockudo.base.clock import Clock
from sockudo.config import Settings
from sockudo.config.installed import driver_missing
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import JobQueue
from sockudo.outbound.addresses import is_public
from sockudo.push.credentials import CredentialCheck
from sockudo.push.delivery import Materials
from sockudo.push.endpoints import EndpointRules
from sockudo.push.messages import FILE_NAME, PUSH_QUEUE
from sockudo.push.ports import PushStore
from sockudo.push.runtime import Providers, PublishOnChannel
from sockudo.push.stores.selection import push_exists, push_store

__all__ = ["ConfiguredPush", "push_queue"]


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
    match settings.push.queue_driver:
        case "memory":
            return MemoryJobQueue(PUSH_QUEUE)
        case "redis":
            return _redis_queue(settings)
    # Takes a while to import, which those that need no database should not pay for.
    from sockudo.jobs.sql import mysql_jobs, postgres_jobs, sqlite_jobs

    match settings.push.queue_driver:
        case "postgres":
            return postgres_jobs(PUSH_QUEUE, settings.database.postgres)
        case "mysql":
            return mysql_jobs(PUSH_QUEUE, settings.database.mysql)
    return sqlite_jobs(PUSH_QUEUE, Path(settings.data_dir) / FILE_NAME)


def _redis_queue(settings: Settings) -> JobQueue:
    try:
        # Takes a while to import, and is an extra.
        from sockudo.jobs.redis import RedisJobQueue
    except ImportError as error:
        raise driver_missing("redis") from error
    server, queue = settings.database.redis, settings.queue.redis
    return RedisJobQueue(
        PUSH_QUEUE,
        server.server(queue.url_override),
        server.master_tls,
        prefix=queue.prefix,
        timeout_ms=queue.response_timeout_ms,
    )
