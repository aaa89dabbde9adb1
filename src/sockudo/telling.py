"""The webhooks of the server: which queue they wait in, and who tells them what happens."""

from __future__ import annotations

import structlog

from sockudo import errors
from sockudo.config import Settings
from sockudo.edge.context import Edge
from sockudo.hub import Hub
from sockudo.queues import webhook_queue
from sockudo.webhooks import BatchOptions, DeliveryOptions, Retry, WebhookOptions, Webhooks
from sockudo.webhooks.traced import WebhookTraces

__all__ = ["Telling"]

_log = structlog.get_logger("sockudo.server")


class Telling:
    """Opens the webhooks once an app has an endpoint, and nothing before: nothing is made that nobody asked for."""

    def __init__(self, edge: Edge, hub: Hub, settings: Settings) -> None:
        self._edge = edge
        self._hub = hub
        self._settings = settings

    async def start_wanted(self) -> None:
        """Opens the webhooks if some app has any. Raises errors.SERVICE_UNAVAILABLE; call it again then."""
        edge = self._edge
        if edge.webhooks is not None or not any(app.record.policy.webhooks for app in edge.apps.all()):
            return
        queue = webhook_queue(self._settings)
        if queue is None:
            return
        # Takes a while to import, which servers without webhooks should not pay for.
        from sockudo.outbound.sender import HttpSender

        options = webhook_options(self._settings)
        sender = HttpSender(allow_private=self._settings.webhooks.allow_private_addresses)
        webhooks = Webhooks(queue, sender, edge.apps.by_id, edge.clock, options, self._hub.inspector)
        if edge.tracer is not None:
            webhooks.trace(WebhookTraces(edge.tracer))
        try:
            await webhooks.start()
        except errors.SockudoError:
            await sender.close()
            raise
        edge.webhooks = webhooks
        edge.degrading["webhooks"] = webhooks.check
        self._hub.on_member.append(webhooks.member)
        self._hub.observer = webhooks
        _log.info("webhooks", queue=self._settings.queue.driver)

    async def close(self) -> None:
        """Puts what has happened into the queue, lets what is due go out, and closes."""
        if self._edge.webhooks is not None:
            self._hub.observer = None
            await self._edge.webhooks.close()


def webhook_options(settings: Settings) -> WebhookOptions:
    """What the configuration says about webhooks."""
    webhooks, kept = settings.webhooks, settings.queue.reliability
    return WebhookOptions(
        batches=BatchOptions(
            enabled=webhooks.batching.enabled,
            duration=webhooks.batching.duration / 1000,
            size=webhooks.batching.size,
            lanes=webhooks.concurrency,
            capacity=kept.memory_capacity,
        ),
        delivery=DeliveryOptions(keep_delivered=kept.completed_retention, keep_dead=kept.failed_retention),
        retry=Retry(
            enabled=webhooks.retry.enabled,
            max_attempts=webhooks.retry.max_attempts,
            max_elapsed_time_ms=webhooks.retry.max_elapsed_time_ms,
            initial_backoff_ms=webhooks.retry.initial_backoff_ms,
            max_backoff_ms=webhooks.retry.max_backoff_ms,
        ),
        timeout_ms=webhooks.request_timeout_ms,
    )
