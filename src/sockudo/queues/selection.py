"""Which queue the configuration asks for to keep webhook deliveries in."""

from __future__ import annotations

from sockudo.config import Settings
from sockudo.queues.memory import MemoryWebhookQueue
from sockudo.queues.sqlite import SqliteWebhookQueue
from sockudo.webhooks.ports import WebhookQueue

__all__ = ["webhook_queue"]


def webhook_queue(settings: Settings) -> WebhookQueue | None:
    """The queue of ``queue.driver``, not opened yet; None when webhooks are switched off."""
    match settings.queue.driver:
        case "none":
            return None
        case "memory":
            return MemoryWebhookQueue(settings.queue.reliability.memory_capacity)
    return SqliteWebhookQueue(settings.data_dir)
