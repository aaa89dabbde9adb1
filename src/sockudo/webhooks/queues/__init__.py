"""Adapters of the webhook queue."""

from __future__ import annotations

from sockudo.webhooks.queues.memory import MemoryWebhookQueue
from sockudo.webhooks.queues.selection import webhook_queue

__all__ = ["MemoryWebhookQueue", "webhook_queue"]
