"""Telling backends what happens: events, endpoints, and deliveries that arrive at least once and in order."""

from sockudo.webhooks.batches import BatchOptions
from sockudo.webhooks.deliverer import DeliveryOptions, EndpointCounters
from sockudo.webhooks.endpoints import AppEndpoints, Endpoint, Retry, app_endpoints
from sockudo.webhooks.ports import Claim, Outcome, Sender, WebhookQueue
from sockudo.webhooks.records import Answer, Attempt, Counts, Delivery, Event, State, Target
from sockudo.webhooks.service import WebhookOptions, Webhooks

__all__ = [
    "Answer",
    "AppEndpoints",
    "Attempt",
    "BatchOptions",
    "Claim",
    "Counts",
    "Delivery",
    "DeliveryOptions",
    "Endpoint",
    "EndpointCounters",
    "Event",
    "Outcome",
    "Retry",
    "Sender",
    "State",
    "Target",
    "WebhookOptions",
    "WebhookQueue",
    "Webhooks",
    "app_endpoints",
]
