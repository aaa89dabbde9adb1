"""Webhooks as a wing of the server: what they add, their metrics among it (spec: platform § 6.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sockudo.base.measures import BUCKETS_MS, Buckets, Distribution, Labels, Numbers
from sockudo.dashboard.board import Area
from sockudo.edge.wings import Wing
from sockudo.monitoring.health import HealthChecks
from sockudo.webhooks.counters import EndpointCounters
from sockudo.webhooks.routes import webhook_routes
from sockudo.webhooks.runtime import WebhookRuntime
from sockudo.webhooks.service import Webhooks

__all__ = ["webhook_measures", "webhook_wing"]


_QUEUE = "webhooks"
# What is measured in milliseconds, under names that promise seconds.
_BOUNDS_IN_SECONDS = (*(str(bound / 1000) for bound in BUCKETS_MS), "+Inf")


def webhook_measures(webhooks: Webhooks, backend: str) -> Iterator[Numbers | Distribution]:
    """All of them; ``backend`` is the driver of the queue. What the queue holds was counted some seconds ago."""
    yield from _requests(list(webhooks.deliverer.counters.items()))
    batches = webhooks.batches
    yield Numbers(
        "webhook_events_waiting", "gauge", "Events that are not in the queue yet", [({}, float(batches.depth))]
    )
    yield Numbers(
        "webhook_events_lost_total", "counter", "Events that the queue could not take", [({}, float(batches.lost))]
    )
    queue = {"backend": backend, "queue": _QUEUE}
    yield from _queue(webhooks, queue)
    yield from _times(webhooks, queue)


def _requests(counters: list[tuple[tuple[str, str], EndpointCounters]]) -> Iterator[Numbers]:
    labelled = [({"app_id": app_id, "endpoint": endpoint}, of) for (app_id, endpoint), of in counters]
    outcomes: list[tuple[Labels, float]] = []
    for labels, of in labelled:
        outcomes.append(({**labels, "outcome": "delivered"}, float(of.delivered)))
        outcomes.append(({**labels, "outcome": "failed"}, float(of.failed)))
    yield Numbers("webhook_requests_total", "counter", "Requests to endpoints", outcomes)
    for name, kind, text, value in (
        ("webhook_request_seconds_total", "counter", "Time that they took", lambda of: of.seconds),
        ("webhook_dead_letters_total", "counter", "Deliveries that were given up", lambda of: float(of.dead)),
        (
            "webhook_circuit_open",
            "gauge",
            "1 while an endpoint is left alone because it fails",
            lambda of: float(of.breaker is not None and of.breaker.tripped),
        ),
    ):
        yield Numbers(name, kind, text, [(labels, value(of)) for labels, of in labelled])


def _queue(webhooks: Webhooks, labels: Labels) -> Iterator[Numbers]:
    counters = [of for _, of in webhooks.deliverer.counters.items()]
    appended = [({**labels, "outcome": "enqueued"}, float(webhooks.batches.queued))]
    yield Numbers("sockudo_queue_enqueue_total", "counter", "Deliveries put into the queue", appended, prefix="")
    claimed = [(labels, float(webhooks.deliverer.claimed))]
    yield Numbers("sockudo_queue_claimed_total", "counter", "Deliveries taken to be made", claimed, prefix="")
    settled = {
        "completed": sum(of.delivered for of in counters),
        "retry": sum(of.retried for of in counters),
        "dead-letter": sum(of.dead for of in counters),
    }
    yield Numbers(
        "sockudo_queue_settled_total",
        "counter",
        "Attempts by what became of their delivery",
        [({**labels, "outcome": outcome}, float(count)) for outcome, count in settled.items()],
        prefix="",
    )
    counts = webhooks.deliverer.counts.values()
    active = sum(count.leased for count in counts)
    depth = {
        "ready": sum(count.waiting for count in counts) - active,
        "active": active,
        "dead-letter": sum(count.dead for count in counts),
        "completed": sum(count.delivered for count in counts),
    }
    yield Numbers(
        "sockudo_queue_depth",
        "gauge",
        "Deliveries in the queue",
        [({**labels, "state": state}, float(count)) for state, count in depth.items()],
        prefix="",
    )


def _times(webhooks: Webhooks, labels: Labels) -> Iterator[Distribution]:
    batches, deliverer = webhooks.batches, webhooks.deliverer
    for name, text, times in (
        ("enqueue", "Time of an append of one delivery", batches.append_times),
        ("batch_enqueue", "Time of an append of several deliveries at once", batches.batch_append_times),
        ("processing", "Time of an attempt, until the queue knows its outcome", deliverer.attempt_times),
    ):
        buckets = Buckets(_BOUNDS_IN_SECONDS, list(times.counts), times.sum_ms / 1000)
        yield Distribution(f"sockudo_queue_{name}_duration_seconds", text, [(labels, buckets)], prefix="")


# ---- the wing ----


def webhook_wing(runtime: WebhookRuntime, queue_driver: str) -> Wing[Area]:
    """Their routes, the health of their queue, their metrics; ``queue_driver`` is a label of those."""

    def add_checks(health: HealthChecks) -> None:
        health.add_component("webhooks", runtime.service, Webhooks.check)

    def area() -> Area:
        # Pages take a while to import, which servers without a dashboard should not pay for.
        from sockudo.webhooks.dashboard.area import webhook_area

        return webhook_area(runtime.service)

    def measures() -> Iterable[Numbers | Distribution]:
        webhooks = runtime.service.if_open
        return () if webhooks is None else webhook_measures(webhooks, queue_driver)

    return Wing(
        routes=lambda edge: webhook_routes(edge, runtime.service), add_checks=add_checks, measures=measures, area=area
    )
