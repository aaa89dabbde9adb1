"""Which queue the configuration asks for to keep webhook deliveries in."""

from __future__ import annotations

from sockudo.config import Settings
from sockudo.config.installed import driver_missing
from sockudo.webhooks.ports import WebhookQueue
from sockudo.webhooks.queues.memory import MemoryWebhookQueue

__all__ = ["webhook_queue"]


def webhook_queue(settings: Settings) -> WebhookQueue | None:
    """The queue of ``queue.driver``, not opened yet; None when webhooks are switched off.

    Raises ConfigError when its driver is not installed.
    """
    match settings.queue.driver:
        case "none":
            return None
        case "memory":
            return MemoryWebhookQueue(settings.queue.reliability.memory_capacity)
        case "redis":
            return _redis_queue(settings)
    # Takes a while to import, which those that need no database should not pay for.
    from sockudo.webhooks.queues.sqlite import SqliteWebhookQueue

    return SqliteWebhookQueue(settings.data_dir)


def _redis_queue(settings: Settings) -> WebhookQueue:
    try:
        # Takes a while to import, and is an extra.
        from sockudo.webhooks.queues.redis import RedisWebhookQueue
    except ImportError as error:
        raise driver_missing("redis") from error
    server, queue = settings.database.redis, settings.queue.redis
    return RedisWebhookQueue(
        server.server(queue.url_override),
        server.master_tls,
        prefix=queue.prefix,
        timeout_ms=queue.response_timeout_ms,
    )
