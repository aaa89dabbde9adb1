"""The webhooks of a server: opened once an app has an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from sockudo import errors
from sockudo.apps.registry import AppRegistry
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.base.spans import Tracer
from sockudo.config import Settings
from sockudo.hub.edges import Edges
from sockudo.inspector import Inspector
from sockudo.jobs.selection import job_queue
from sockudo.webhooks.batches import BatchOptions
from sockudo.webhooks.deliverer import DeliveryOptions
from sockudo.webhooks.earlier import EarlierQueue
from sockudo.webhooks.endpoints import Retry
from sockudo.webhooks.queue import WEBHOOK_QUEUE, WebhookQueue
from sockudo.webhooks.records import Sender
from sockudo.webhooks.service import WebhookOptions, Webhooks
from sockudo.webhooks.traced import WebhookTraces

__all__ = ["FILE_NAME", "WebhookRuntime", "webhook_options", "webhook_queue"]


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


# ---- the runtime ----


_log = structlog.get_logger("sockudo.server")


class WebhookRuntime:
    """``service`` takes what happens and delivers it. ``queue`` makes the configured queue, None where there is none;
    ``sender`` makes what sends the requests.
    """

    def __init__(
        self,
        edges: Edges,
        inspector: Inspector,
        apps: AppRegistry,
        clock: Clock,
        settings: Settings,
        queue: Callable[[Settings], WebhookQueue | None],
        sender: Callable[[Settings], Sender],
        tracer: Tracer | None = None,
    ) -> None:
        self._edges = edges
        self._inspector = inspector
        self._apps = apps
        self._clock = clock
        self._settings = settings
        self._make_queue = queue
        self._make_sender = sender
        self._tracer = tracer
        self.service: Component[Webhooks] = Component(
            "webhooks",
            self._open,
            self._close,
            partial(errors.SERVICE_UNAVAILABLE, "No app has a webhook, or the queue is not open yet", retry_after=1),
        )

    @property
    def needed(self) -> bool:
        """Whether some app has an endpoint, and the queue is not switched off."""
        return self._settings.queue.driver != "none" and any(app.record.policy.webhooks for app in self._apps.all())

    async def _open(self) -> Webhooks:
        settings = self._settings
        queue = self._make_queue(settings)
        if queue is None:
            raise errors.WEBHOOKS_OFF('This server has no webhooks: queue.driver is "none"')
        sender = self._make_sender(settings)
        webhooks = Webhooks(queue, sender, self._apps.by_id, self._clock, webhook_options(settings), self._inspector)
        if self._tracer is not None:
            webhooks.trace(WebhookTraces(self._tracer))
        try:
            await webhooks.start()
        except errors.SockudoError:
            await sender.close()
            raise
        for kind, observer in webhooks.observers.items():
            self._edges.add(kind, observer)
        _log.info("webhooks", queue=settings.queue.driver)
        return webhooks

    async def _close(self, webhooks: Webhooks) -> None:
        """Puts what has happened into the queue and lets what is due go out."""
        self._edges.close()
        for kind, observer in webhooks.observers.items():
            self._edges.remove(kind, observer)
        await webhooks.close()


def webhook_options(settings: Settings) -> WebhookOptions:
    """The configuration of webhooks."""
    webhooks, kept = settings.webhooks, settings.queue.reliability
    return WebhookOptions(
        batches=BatchOptions(
            enabled=webhooks.batching.enabled,
            duration=webhooks.batching.duration / 1000,
            size=webhooks.batching.size,
            capacity=kept.memory_capacity,
        ),
        delivery=DeliveryOptions(
            per_endpoint=webhooks.concurrency,
            size=webhooks.batching.size if webhooks.batching.enabled else 1,
            keep_delivered=kept.completed_retention,
            keep_dead=kept.failed_retention,
        ),
        retry=Retry(
            enabled=webhooks.retry.enabled,
            max_attempts=webhooks.retry.max_attempts,
            max_elapsed_time_ms=webhooks.retry.max_elapsed_time_ms,
            initial_backoff_ms=webhooks.retry.initial_backoff_ms,
            max_backoff_ms=webhooks.retry.max_backoff_ms,
        ),
        timeout_ms=webhooks.request_timeout_ms,
    )
