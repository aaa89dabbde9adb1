"""Adapters of the webhook queue."""

from __future__ import annotations

from sockudo.queues.memory import MemoryWebhookQueue
from sockudo.queues.selection import webhook_queue
from sockudo.queues.sqlite import SqliteWebhookQueue

__all__ = ["MemoryWebhookQueue", "SqliteWebhookQueue", "webhook_queue"]
