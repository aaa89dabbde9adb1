"""What operators ask about webhooks, and what they may do by hand: the replies of the signed routes, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

import msgspec
import structlog

from sockudo import errors
from sockudo.config.webhooks import shown_url
from sockudo.webhooks.advice import advice_on
from sockudo.webhooks.counters import EndpointCounters
from sockudo.webhooks.endpoints import Endpoint
from sockudo.webhooks.records import Attempt, Counts, Delivery, State
from sockudo.webhooks.service import Webhooks

__all__ = [
    "MAX_IDS",
    "MAX_PAGE",
    "NO_DELIVERIES",
    "NO_ENDPOINTS",
    "Replay",
    "delivery_page",
    "delivery_state",
    "endpoint_values",
    "one_delivery",
    "overview",
    "queue_values",
    "replay",
]

MAX_PAGE: Final = 100
"""Deliveries of a page at most; their bodies are read with them."""

MAX_IDS: Final = 100
"""Ids of a replay at most."""

NO_ENDPOINTS: Final[dict[str, Any]] = {
    "endpoints": [],
    "ignored": [],
    "queue": {"healthy": True, "events_not_queued": 0, "events_lost": 0},
}
"""The `overview` of a server on which no app has a webhook."""

NO_DELIVERIES: Final[dict[str, Any]] = {"deliveries": [], "limit": MAX_PAGE // 2, "next_before": None}
"""The `delivery_page` of such a server."""

_STATES: Final[tuple[State, ...]] = get_args(State)

_log = structlog.get_logger("sockudo.webhooks")


class Replay(msgspec.Struct):
    """The body of a replay: exactly one of the three selects what is sent again."""

    ids: list[str] | None = None
    endpoint: str | None = None
    all: bool = False

    def check(self) -> None:
        """Raises errors.INVALID_INPUT for a body that cannot be meant."""
        if (self.ids is not None) + (self.endpoint is not None) + self.all != 1:
            raise errors.INVALID_INPUT("Name what to replay: ids, endpoint or all, one of them")
        if self.ids is not None and not 1 <= len(self.ids) <= MAX_IDS:
            raise errors.INVALID_INPUT(f"ids must hold 1 to {MAX_IDS} ids of deliveries, got {len(self.ids)}")


# ---- endpoints ----


async def overview(webhooks: Webhooks, app_id: str) -> dict[str, Any]:
    """Every endpoint of the app with what became of its deliveries, and how the queue is.

    Endpoints that are not in the app's record any more come last, as long as deliveries for them are kept; their
    ``url`` is null. Counts are of what is kept. Attempts and the last answer are of this process, since its start.
    Raises errors.SERVICE_UNAVAILABLE.
    """
    configured = webhooks.endpoints(app_id)
    counts = await webhooks.queue.counts()
    known = {} if configured is None else dict(configured.by_id)
    gone = sorted(name for app, name in counts if app == app_id and name not in known)
    return {
        "endpoints": [endpoint_values(webhooks, app_id, name, counts) for name in (*known, *gone)],
        "ignored": [] if configured is None else list(configured.ignored),
        "queue": await queue_values(webhooks),
    }


async def queue_values(webhooks: Webhooks) -> dict[str, Any]:
    """How the queue is."""
    return {
        "healthy": not (webhooks.batches.failing or webhooks.deliverer.failing),
        "events_not_queued": webhooks.batches.depth,
        "events_lost": webhooks.batches.lost,
    }


def endpoint_values(
    webhooks: Webhooks, app_id: str, name: str, counts: Mapping[tuple[str, str], Counts]
) -> dict[str, Any]:
    """One endpoint, by its id; ``counts`` are the queue's. One that the app does not have any more has no url."""
    configured = webhooks.endpoints(app_id)
    endpoint = None if configured is None else configured.by_id.get(name)
    if endpoint is None:
        return {"id": name, "url": None, "counts": _counts(counts.get((app_id, name), Counts()))}
    return _endpoint(webhooks, endpoint, counts)


def _endpoint(webhooks: Webhooks, endpoint: Endpoint, counts: Mapping[tuple[str, str], Counts]) -> dict[str, Any]:
    key = (endpoint.app_id, endpoint.id)
    counters = webhooks.deliverer.counters.get(key) or EndpointCounters()
    return {
        "id": endpoint.id,
        "url": shown_url(endpoint.url),
        "events": sorted(endpoint.events),
        "filter": {
            name: value for name, value in msgspec.structs.asdict(endpoint.condition).items() if value is not None
        },
        "headers": sorted(name for name, _ in endpoint.headers),
        "retry": _retry(endpoint),
        "timeout_ms": int(endpoint.timeout * 1000),
        "counts": _counts(counts.get(key, Counts())),
        "state": _breaker(counters),
        "attempt_count": counters.attempts,
        "failed_count": counters.failed,
        "average_ms": round(counters.seconds * 1000 / counters.attempts) if counters.attempts else None,
        "last_answer": _last(counters),
    }


def _retry(endpoint: Endpoint) -> dict[str, Any]:
    retry = endpoint.retry
    return {
        "enabled": retry.enabled,
        "max_attempts": retry.max_attempts,
        "max_elapsed_time_ms": retry.max_elapsed_time_ms,
        "initial_backoff_ms": retry.initial_backoff_ms,
        "max_backoff_ms": retry.max_backoff_ms,
    }


def _counts(counts: Counts) -> dict[str, int]:
    return {"waiting": counts.waiting, "in_flight": counts.leased, "delivered": counts.delivered, "dead": counts.dead}


def _breaker(counters: EndpointCounters) -> str:
    """``ok``, ``failing`` or, while attempts are held back, ``held_back``; ``untried`` before the first attempt."""
    if not counters.attempts:
        return "untried"
    breaker = counters.breaker
    if breaker is not None and breaker.open:
        return "held_back"
    last = counters.last
    return "failing" if last is not None and not last.delivered else "ok"


def _last(counters: EndpointCounters) -> dict[str, Any] | None:
    last = counters.last
    if last is None:
        return None
    return {
        "at_ms": counters.last_at_ms,
        "status": last.status,
        "problem": last.problem,
        "took_ms": last.took_ms,
        "snippet": last.snippet,
        "advice": advice_on(last.status, last.problem, last.snippet),
    }


# ---- deliveries ----


def delivery_state(text: str | None) -> State | None:
    """A state as it stands in a query. Raises errors.INVALID_INPUT."""
    if text is None:
        return None
    for state in _STATES:
        if text == state:
            return state
    raise errors.INVALID_INPUT(f"state must be one of {', '.join(_STATES)}, got '{text[:100]}'")


async def delivery_page(
    webhooks: Webhooks,
    app_id: str,
    *,
    endpoint: str | None = None,
    state: State | None = None,
    before: int | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """The newest deliveries first, without bodies; ``next_before`` leads to the next page, null on the last one.

    Raises errors.INVALID_INPUT, errors.ENDPOINT_NOT_FOUND for an endpoint that nothing is known of, and
    errors.SERVICE_UNAVAILABLE.
    """
    if limit == 0:
        raise errors.INVALID_INPUT("limit must be greater than 0")
    size = min(limit or MAX_PAGE // 2, MAX_PAGE)
    found = await webhooks.queue.page(app_id, endpoint=endpoint, state=state, before=before, limit=size + 1)
    if endpoint is not None and not found:
        await _check_endpoint(webhooks, app_id, endpoint, kept=True)
    page = found[:size]
    return {
        "deliveries": [_delivery(webhooks, delivery) for delivery in page],
        "limit": size,
        "next_before": page[-1].sequence if len(found) > size else None,
    }


async def one_delivery(webhooks: Webhooks, app_id: str, delivery_id: str) -> dict[str, Any]:
    """A delivery with its body, exactly as it is signed, and its attempts, the oldest of those that are kept first.

    Raises errors.DELIVERY_NOT_FOUND and errors.SERVICE_UNAVAILABLE.
    """
    found = await webhooks.queue.get(app_id, delivery_id)
    if found is None:
        raise errors.DELIVERY_NOT_FOUND(f"No webhook delivery of the app has the id '{delivery_id[:100]}'")
    delivery, attempts = found
    return {
        **_delivery(webhooks, delivery),
        "body": delivery.body.decode(),
        "attempts": [_attempt(attempt) for attempt in attempts],
    }


def _delivery(webhooks: Webhooks, delivery: Delivery) -> dict[str, Any]:
    endpoints = webhooks.endpoints(delivery.app_id)
    endpoint = None if endpoints is None else endpoints.by_id.get(delivery.endpoint)
    return {
        "id": delivery.id,
        "endpoint": delivery.endpoint,
        "url": None if endpoint is None else shown_url(endpoint.url),
        "state": delivery.state,
        "reason": delivery.reason,
        "events": delivery.events,
        "bytes": len(delivery.body),
        # Of the time when an endpoint had numbered lanes, each in order: clients may read it.
        "lane": 0,
        "sequence": delivery.sequence,
        "attempt_count": delivery.attempts,
        "created_at_ms": delivery.created_at_ms,
        "due_at_ms": delivery.due_at_ms if delivery.state == "waiting" else None,
        "first_attempt_at_ms": delivery.first_attempt_at_ms,
        "settled_at_ms": delivery.settled_at_ms,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    advice = advice_on(attempt.status, attempt.problem, attempt.snippet)
    return {**msgspec.structs.asdict(attempt), "advice": advice}


# ---- by hand ----


async def replay(webhooks: Webhooks, app_id: str, wanted: Replay) -> dict[str, Any]:
    """Sends settled deliveries again, behind those of their channels; returns how many, and which ids could not be.

    ``unknown`` are ids of no delivery, ``waiting`` those of deliveries that are under way anyway. Raises
    errors.INVALID_INPUT, errors.DELIVERY_NOT_FOUND when no id is known, errors.ENDPOINT_NOT_FOUND and
    errors.SERVICE_UNAVAILABLE.
    """
    wanted.check()
    unknown: list[str] = []
    waiting: list[str] = []
    if wanted.ids is not None:
        unknown, waiting = await _not_settled(webhooks, app_id, wanted.ids)
    elif wanted.endpoint is not None:
        await _check_endpoint(webhooks, app_id, wanted.endpoint, kept=False)
    now_ms = webhooks.now_ms()
    count = await webhooks.queue.replay(app_id, now_ms, ids=wanted.ids, endpoint=wanted.endpoint)
    webhooks.deliverer.wake()
    _log.info("webhooks replayed", app_id=app_id, endpoint=wanted.endpoint, count=count)
    return {"replayed": count, "unknown": unknown, "waiting": waiting}


async def _not_settled(webhooks: Webhooks, app_id: str, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    unknown: list[str] = []
    waiting: list[str] = []
    for delivery_id in dict.fromkeys(ids):
        found = await webhooks.queue.get(app_id, delivery_id)
        if found is None:
            unknown.append(delivery_id)
        elif found[0].state == "waiting":
            waiting.append(delivery_id)
    if len(unknown) == len(set(ids)):
        listed = ", ".join(f"'{delivery_id[:100]}'" for delivery_id in unknown[:3])
        raise errors.DELIVERY_NOT_FOUND(f"No webhook delivery of the app has the id {listed}")
    return unknown, waiting


async def _check_endpoint(webhooks: Webhooks, app_id: str, endpoint: str, *, kept: bool) -> None:
    """Raises errors.ENDPOINT_NOT_FOUND; with ``kept`` it is enough that deliveries for it are kept."""
    configured = webhooks.endpoints(app_id)
    if configured is not None and endpoint in configured.by_id:
        return
    if kept and (app_id, endpoint) in await webhooks.queue.counts():
        return
    raise errors.ENDPOINT_NOT_FOUND(f"No webhook of the app has the id '{endpoint[:100]}'")
