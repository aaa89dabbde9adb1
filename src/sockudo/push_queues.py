"""Which queue the configuration asks for to keep notifications in while they wait.

Databases belong to one room of adapters and Redis to another, so the choice is made above both.
"""

from __future__ import annotations

from sockudo.config import Settings
from sockudo.config.installed import driver_missing
from sockudo.push.queue import PushQueue
from sockudo.queues.push_memory import MemoryPushQueue

__all__ = ["push_queue"]


def push_queue(settings: Settings) -> PushQueue:
    """The queue of ``push.queue_driver``, not opened yet. Raises ConfigError when its driver is not installed."""
    match settings.push.queue_driver:
        case "memory":
            return MemoryPushQueue()
        case "redis":
            return _redis_queue(settings)
    # Takes a while to import, which those that need no database should not pay for.
    from sockudo.stores.sql.push_queue import mysql_push_queue, postgres_push_queue, sqlite_push_queue

    match settings.push.queue_driver:
        case "postgres":
            return postgres_push_queue(settings.database.postgres)
        case "mysql":
            return mysql_push_queue(settings.database.mysql)
    return sqlite_push_queue(settings.data_dir)


def _redis_queue(settings: Settings) -> PushQueue:
    try:
        # Takes a while to import, and is an extra.
        from sockudo.queues.push_redis import RedisPushQueue
    except ImportError as error:
        raise driver_missing("redis") from error
    server, queue = settings.database.redis, settings.queue.redis
    return RedisPushQueue(
        server.server(queue.url_override),
        server.master_tls,
        prefix=queue.prefix,
        timeout_ms=queue.response_timeout_ms,
    )
