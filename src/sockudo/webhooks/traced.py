"""Spans of webhooks: one for each delivery that is put into the queue, one for each attempt to make it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from sockudo.base.spans import Span, TraceHeaders, Tracer
from sockudo.webhooks.advice import explanation
from sockudo.webhooks.endpoints import Endpoint
from sockudo.webhooks.records import Answer, Delivery, Event, Outcome

__all__ = ["WebhookTraces"]

_PORTS: Final = {"http": 80, "https": 443}
_OUTCOMES: Final = {"delivered": "delivered", "waiting": "retried", "dead": "dead"}


class WebhookTraces:
    """Traces deliveries: each belongs to what caused its events, also when another process makes it.

    Of an address only host and port are recorded: what follows may be as good as a password.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        # Deliveries that the queue has not taken yet, by their id.
        self._queueing: dict[str, Span] = {}

    def cause(self) -> TraceHeaders:
        """What an event that happens now is a part of."""
        return self._tracer.headers()

    def begin(self, delivery: Delivery, events: Sequence[Event]) -> None:
        """A delivery was made of these events, and takes its ``trace`` from here.

        It is a part of what caused the first of them that was caused by something; the other causes are linked.
        """
        causes = list(dict.fromkeys(event.trace for event in events if event.trace))
        about = {
            **_about(delivery),
            "messaging.operation.name": "enqueue",
            "messaging.operation.type": "send",
            "messaging.batch.message_count": delivery.events,
            "sockudo.webhook.events": list(dict.fromkeys(event.name for event in events)),
        }
        cause = causes[0] if causes else ()
        span = self._tracer.start("enqueue webhook", "producer", about, cause=cause, links=causes[1:])
        delivery.trace = span.headers
        self._queueing[delivery.id] = span

    def queued(self, deliveries: Sequence[Delivery]) -> None:
        """The queue has taken these."""
        self._end(deliveries, None)

    def lost(self, deliveries: Sequence[Delivery]) -> None:
        """The queue will never take these."""
        self._end(deliveries, "lost")

    def _end(self, deliveries: Sequence[Delivery], error: str | None) -> None:
        for delivery in deliveries:
            span = self._queueing.pop(delivery.id, None)
            if span is not None:
                span.end(error=error)

    def attempt(self, endpoint: Endpoint, delivery: Delivery) -> Span:
        """A request is being made."""
        about = {
            **_about(delivery),
            "http.request.method": "POST",
            "sockudo.webhook.attempt": delivery.attempts + 1,
            **_server(endpoint.url),
        }
        if delivery.attempts:
            about["http.request.resend_count"] = delivery.attempts
        return self._tracer.start("POST webhook", "client", about, cause=delivery.trace)

    def attempted(self, span: Span, answer: Answer, outcome: Outcome) -> None:
        """The request has been answered, or has failed."""
        about: dict[str, str | int | bool] = {"sockudo.webhook.outcome": _OUTCOMES[outcome.state]}
        if outcome.reason is not None:
            about["sockudo.webhook.reason"] = outcome.reason
        if answer.status is not None:
            about["http.response.status_code"] = answer.status
        span.end(about, error=_error(answer))


def _about(delivery: Delivery) -> dict[str, str | int | bool | Sequence[str]]:
    return {
        "messaging.system": "sockudo",
        "messaging.destination.name": "webhooks",
        "messaging.message.id": delivery.id,
        "sockudo.app_id": delivery.app_id,
        "sockudo.webhook.endpoint_id": delivery.endpoint,
    }


def _server(url: str) -> dict[str, str | int]:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return {}
    attributes: dict[str, str | int] = {"server.address": parts.hostname or ""}
    return attributes if port is None else {**attributes, "server.port": port}


def _error(answer: Answer) -> str | None:
    if answer.delivered:
        return None
    if answer.status is not None:
        return str(answer.status)
    row = explanation(answer.problem or "")
    return row.slug if row is not None else answer.problem or "_OTHER"
