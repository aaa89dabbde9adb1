"""The metrics of webhooks, fed by real ones over a queue in memory (spec: platform § 6.3)."""

from __future__ import annotations

import asyncio
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from sockudo.hub.view import HubView
from sockudo.monitoring import Metrics
from sockudo.webhooks.batches import BatchOptions
from sockudo.webhooks.deliverer import DeliveryOptions
from sockudo.webhooks.records import Answer, Target
from sockudo.webhooks.service import WebhookOptions, Webhooks
from sockudo.webhooks.wing import webhook_measures
from support.inside import live_app
from support.virtual_time import LoopClock, in_virtual_time
from support.world import World
from unit.webhooks.parts import memory_queue

HOOK = {"url": "http://hooks.test/in", "event_types": ["channel_occupied"]}
FAST = WebhookOptions(batches=BatchOptions(size=1), delivery=DeliveryOptions(poll=0.01, size=1))


class Loop:
    worst_ms = 0.0
    stalls = 0

    def take_worst_ms(self) -> float:
        return 0.0


class Sender:
    """Answers the first request 404 and the others 200."""

    def __init__(self) -> None:
        self.answers = [404]

    async def send(self, target: Target, body: bytes) -> Answer:
        return Answer(self.answers.pop() if self.answers else 200, took_ms=500)

    async def close(self) -> None:
        """Nothing is open."""


def scraped(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Values by name and the labels that tell series of the name apart."""
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = (sample.labels[name] for name in ("app_id", "outcome", "state") if name in sample.labels)
            found[(sample.name, *labels)] = sample.value
    return found


@in_virtual_time
async def test_everything_that_became_of_deliveries() -> None:
    app = live_app("shop", webhooks=[HOOK])
    queue = memory_queue()
    webhooks = Webhooks(queue, Sender(), {"shop": app}.get, LoopClock(), FAST)
    metrics = Metrics(
        HubView(World().hub),
        refused=Counter(),
        limits=lambda: None,
        loop=Loop(),
        prefix="mine_",
        port=9601,
        sources=[lambda: webhook_measures(webhooks, "memory")],
    )
    await webhooks.start()
    for channel in ("a", "b", "c"):
        webhooks.recorder.occupied("shop", channel)
    await asyncio.sleep(1)
    found = scraped(metrics)
    await webhooks.close()
    assert found["mine_webhook_requests_total", "shop", "delivered"] == 2
    assert found["mine_webhook_requests_total", "shop", "failed"] == 1
    assert found["mine_webhook_request_seconds_total", "shop"] == 1.5
    assert found["mine_webhook_dead_letters_total", "shop"] == 1
    assert found["mine_webhook_circuit_open", "shop"] == 0
    assert found["mine_webhook_events_waiting",] == 0
    assert found["mine_webhook_events_lost_total",] == 0
    assert found["sockudo_queue_enqueue_total", "enqueued"] == 3
    assert found["sockudo_queue_settled_total", "completed"] == 2
    assert found["sockudo_queue_settled_total", "retry"] == 0
    assert found["sockudo_queue_settled_total", "dead-letter"] == 1
    assert found["sockudo_queue_claimed_total",] == 3
    # Of virtual time an append takes none, and the sender answers at once.
    appends = [found[f"sockudo_queue_{kind}_duration_seconds_count",] for kind in ("enqueue", "batch_enqueue")]
    assert sum(appends) == 1
    assert found["sockudo_queue_depth", "completed"] == 2
    assert found["sockudo_queue_depth", "dead-letter"] == 1
    assert found["sockudo_queue_depth", "ready"] == found["sockudo_queue_depth", "active"] == 0


def test_without_webhooks_there_are_none() -> None:
    metrics = Metrics(
        HubView(World().hub), refused=Counter(), limits=lambda: None, loop=Loop(), prefix="mine_", port=9601
    )
    assert not [name for name, *_ in scraped(metrics) if "webhook" in name or "queue" in name]
