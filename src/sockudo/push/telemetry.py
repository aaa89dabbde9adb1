"""What push counts (spec: push § 11) and tells operators (spec: push § 9): numbers by label, read when a request asks,
and structured log lines. Labels are bounded: no label ever holds a publish, a device or a token.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import structlog

from sockudo.base.measures import Buckets, Distribution, Labels, Numbers
from sockudo.push.recipients import Provider

__all__ = [
    "DECADES",
    "FAMILIES",
    "SECONDS",
    "AuditAction",
    "Family",
    "MetaEvent",
    "PushCounters",
    "Spread",
    "audit",
    "meta_event",
    "push_measures",
]

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
DECADES: Final = (1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0, 1_000_000.0)
"""Upper bounds of the buckets, of seconds and of sizes."""

_PREFIX: Final = "sockudo_push_"
"""Of every name, also where another prefix is configured."""

MetaEvent = Literal[
    "push-accepted",
    "publish-completed",
    "device-state-changed",
    "provider-rejected",
    "token-invalidated",
    "token-invalidation-guard",
    "quota-event",
    "scheduler-event",
    "circuit-breaker-event",
    "dead-letter",
    "cleanup-event",
]
_ROUTINE: Final[frozenset[MetaEvent]] = frozenset(
    {"push-accepted", "publish-completed", "device-state-changed", "provider-rejected", "scheduler-event"}
)
"""What happens with every publish or delivery: in the log at level ``debug``, since there may be thousands a second."""

AuditAction = Literal["credentialWrite", "removeWhere", "quotaOverride", "deadLetterReplay"]

_meta: Final = structlog.get_logger("[meta]log:push")
_audit: Final = structlog.get_logger("sockudo_push_audit")


class Family(NamedTuple):
    """One name: its kind for Prometheus, its labels and its help text."""

    kind: str
    labels: tuple[str, ...]
    text: str


def _counter(text: str, *labels: str) -> Family:
    return Family("counter", labels, text)


def _gauge(text: str, *labels: str) -> Family:
    return Family("gauge", labels, text)


def _histogram(text: str, *labels: str) -> Family:
    return Family("histogram", labels, text)


FAMILIES: Final[Mapping[str, Family]] = {
    "dispatched_total": _counter("Sends by what they came to", "provider", "status", "app"),
    "publish_accepted_total": _counter("Publishes that were accepted, or hit a quota", "app", "result"),
    "delivery_jobs_emitted_total": _counter("Deliveries planned", "provider", "app"),
    "circuit_breaker_open_total": _counter("Times a provider was left alone", "provider", "tenant"),
    "circuit_breaker_deferred_total": _counter("Batches that wait for a provider left alone", "provider", "app"),
    "rate_limiter_throttled_total": _counter("Times sending was slowed down", "provider", "tenant"),
    "duplicate_suppressed_total": _counter("Outcomes that were known already"),
    "invariant_violations_total": _counter("What must not happen and was refused", "invariant"),
    "status_cas_conflicts_total": _counter("Changes of a status that were tried again", "component"),
    "status_cas_exhausted_total": _counter("Changes of a status given up for now", "component"),
    "device_state_transitions_total": _counter("Devices that came into another state", "from", "to", "app"),
    "token_invalidations_total": _counter("Devices deleted because their token is dead", "provider", "app"),
    "provider_failures_total": _counter("Sends that failed", "provider", "failure_class", "app"),
    "token_invalidation_guard_total": _counter("Publishes with suspiciously many dead tokens", "provider", "app"),
    "quota_acceptance_rejections_total": _counter("Publishes over the acceptance rate", "app"),
    "channel_publish_total": _counter("Publishes to channels"),
    "rate_dropped_total": _counter("Notifications of rules over their rate", "app"),
    "rate_queued_total": _counter("Notifications that wait for their device's rate", "app"),
    "delivery_status_total": _counter("Delivery reports that were handed in", "status", "app"),
    "wfq_dispatched_total": _counter("Batches sent in their app's turn", "provider", "app"),
    "retry_scheduled_total": _counter("Retries planned", "provider", "app"),
    "retry_attempted_total": _counter("Retries sent on their way", "provider", "app"),
    "retry_deferred_total": _counter("Retries put off by a provider", "provider", "app"),
    "retry_expired_total": _counter("Retries whose notification had expired", "provider", "app"),
    "retry_dead_lettered_total": _counter("Retries given up", "provider", "app"),
    "retry_malformed_total": _counter("Retries that could not be read", "provider", "reason"),
    "worker_exits_total": _counter("Workers that were started again", "kind", "worker", "reason"),
    "queue_local_requeued_total": _counter("Messages given back to the queue", "stage", "reason"),
    "repair_scanned_total": _counter("Publishes that repair looked at", "category"),
    "repair_requeued_total": _counter("Publishes that repair had planned", "stage", "reason"),
    "repair_skipped_total": _counter("Publishes that repair left alone", "reason"),
    "cleanup_scanned_total": _counter("Rows found to be over", "category"),
    "cleanup_deleted_total": _counter("Rows deleted", "category"),
    "cleanup_errors_total": _counter("Cleanups that failed", "backend", "category"),
    "dispatch_inflight": _gauge("Sends under way", "provider", "app"),
    "publish_log_lag_seconds": _gauge("Publishes that wait to be planned (a number, by its historical name)"),
    "queue_oldest_age_seconds": _gauge("Age of the oldest message", "stage", "state"),
    "worker_pool_size": _gauge("Batches that can be sent at a time", "provider"),
    "worker_pool_busy": _gauge("Batches being sent", "provider"),
    "circuit_breaker_state": _gauge("0 closed, 1 trying again, 2 open", "provider", "tenant"),
    "quota_consumed_acceptance": _gauge("Publishes of the current second", "app"),
    "quota_consumed_delivery": _gauge("Recipients of the last publish that was counted", "app"),
    "retry_deferred_delay_seconds": _gauge("Longest wait that a provider asked for last", "provider", "app"),
    "dispatch_duration_seconds": _histogram("Time of one send", "provider", "app"),
    "publish_acceptance_duration_seconds": _histogram("Time to accept a publish", "app"),
    "planner_duration_seconds": _histogram("Time to plan one step of a publish"),
    "fanout_size": _histogram("Deliveries of one publish", "app"),
    "cleanup_tick_duration_seconds": _histogram("Time of one cleanup"),
}
"""Every name without its prefix, in the order in which they are shown."""


class Spread:
    """How often a value came into each bucket of ``bounds``, with one more for all above; and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def note(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class PushCounters:
    """Counts, gauges and spreads by name of `FAMILIES` and the values of its labels, in their order."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.gauges: dict[tuple[str, tuple[str, ...]], float] = {}
        self.spreads: dict[tuple[str, tuple[str, ...]], Spread] = {}

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        self.counts[name, labels] += by

    def set(self, name: str, value: float, *labels: str) -> None:
        self.gauges[name, labels] = value

    def note(self, name: str, value: float, *labels: str) -> None:
        """Of a histogram."""
        place = name, labels
        spread = self.spreads.get(place)
        if spread is None:
            spread = self.spreads[place] = Spread(DECADES if name == "fanout_size" else SECONDS)
        spread.note(value)


# ---- metrics, under names of their own ----


def push_measures(counters: PushCounters) -> Iterator[Numbers | Distribution]:
    """All that have a value; those without labels have one from the start."""
    counts: dict[str, list[tuple[Labels, float]]] = {}
    for found in (counters.counts, counters.gauges):
        for (name, values), value in list(found.items()):
            counts.setdefault(name, []).append((_labels(name, values), float(value)))
    spreads: dict[str, list[tuple[Labels, Buckets]]] = {}
    for (name, values), spread in list(counters.spreads.items()):
        spreads.setdefault(name, []).append((_labels(name, values), _buckets(spread)))
    for name, family in FAMILIES.items():
        if family.kind == "histogram":
            if name in spreads:
                yield Distribution(name, family.text, spreads[name], _PREFIX)
        elif name in counts or not family.labels:
            yield Numbers(name, family.kind, family.text, counts.get(name, [({}, 0.0)]), _PREFIX)


def _buckets(spread: Spread) -> Buckets:
    return Buckets((*map(str, spread.bounds), "+Inf"), list(spread.counts), spread.total)


def _labels(name: str, values: tuple[str, ...]) -> Labels:
    return dict(zip(FAMILIES[name].labels, values, strict=True))


# ---- meta events and the audit trail; no caller passes a recipient, a payload, an endpoint or a token ----


def meta_event(
    event: MetaEvent, app_id: str, publish_id: str | None = None, provider: Provider | None = None, **detail: Any
) -> None:
    """One line; ``app_id`` is ``_system`` for what is about no app. ``detail`` holds counts and words alone.

    ``log_level = "info,[meta]log:push=debug"`` shows all of them.
    """
    log = _meta.debug if event in _ROUTINE else _meta.info
    log(event, app_id=app_id, publish_id=publish_id, provider=provider, detail=detail)


def audit(action: AuditAction, app_id: str, **about: Any) -> None:
    """One line for an operation with the app's key; ``about`` holds ids and counts alone."""
    _audit.info("push audit", action=action, app_id=app_id, **about)
