"""Which queue the configuration asks for to keep webhook deliveries in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sockudo.config import Settings
from sockudo.jobs.selection import job_queue
from sockudo.webhooks.earlier import EarlierQueue
from sockudo.webhooks.queue import WEBHOOK_QUEUE, WebhookQueue

__all__ = ["FILE_NAME", "webhook_queue"]

FILE_NAME: Final = "webhooks.sqlite3"


def webhook_queue(settings: Settings) -> WebhookQueue | None:
    """The queue of ``queue.driver``, not opened yet; None when webhooks are switched off.

    Raises ConfigError when its driver is not installed.
    """
    driver, capacity = settings.queue.driver, settings.queue.reliability.memory_capacity
    if driver == "none":
        return None
    return WebhookQueue(
        job_queue(WEBHOOK_QUEUE, driver, settings, FILE_NAME, capacity=capacity), _earlier(driver, settings)
    )


def _earlier(driver: str, settings: Settings) -> EarlierQueue | None:
    """Where a version before kept deliveries of this driver."""
    match driver:
        case "sqlite":
            # Takes a while to import, which those that need no database should not pay for.
            from sockudo.webhooks.earlier_file import EarlierFile

            return EarlierFile(Path(settings.data_dir) / FILE_NAME)
        case "redis":
            from sockudo.webhooks.earlier_redis import EarlierRedis

            return EarlierRedis(settings)
    return None
