"""The request of a delivery, or of several joined, and what its answer means for them (spec: platform § 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

from sockudo.apps.signer import Signer
from sockudo.base.ids import unique_id
from sockudo.base.spans import TraceHeaders
from sockudo.webhooks.endpoints import Endpoint
from sockudo.webhooks.records import Answer, Attempt, Delivery, Outcome, Target

__all__ = ["attempt_of", "body_of", "is_joinable", "is_retried", "joined", "outcome_of", "outcomes_of", "request_of"]

_RETRIED: Final = frozenset({408, 409, 425, 429})
# Problems that stay until something is changed, and those after which the endpoint cannot have read anything.
_PERMANENT: Final = frozenset({"address_refused", "url_invalid"})
_NOT_REACHED: Final = frozenset({"dns_failed", "connection_refused", "unreachable", "connection_failed"})
# What is tried one by one is spread over so long: deliveries that fail stand beside each other, and would look like an
# endpoint that fails as a whole.
_SPREAD_MS: Final = 1000

_TIME: Final = b'{"time_ms":'
_EVENTS: Final = b',"events":['
_END: Final = b"]}"


# ---- bodies ----


class _Parts(NamedTuple):
    time_ms: int
    events: bytes


def body_of(time_ms: int, events: Sequence[bytes]) -> bytes:
    """The body of a request with these events, JSON objects, of which the earliest happened at that time."""
    return b'{"time_ms":%d,"events":[%b]}' % (time_ms, b",".join(events))


def _parts(body: bytes) -> _Parts | None:
    time, found, events = body.removeprefix(_TIME).partition(_EVENTS)
    if not (body.startswith(_TIME) and found and time.isdigit() and events.endswith(_END)):
        return None
    return _Parts(int(time), events.removesuffix(_END))


def is_joinable(delivery: Delivery) -> bool:
    """Whether a delivery may be sent together with others."""
    return not delivery.alone and _parts(delivery.body) is not None


def joined(deliveries: Sequence[Delivery]) -> Delivery:
    """These in one: a delivery of its own, with all of their events in this order."""
    first = deliveries[0]
    parts = [parts for each in deliveries if (parts := _parts(each.body)) is not None]
    channels = {each.channel for each in deliveries}
    return Delivery(
        unique_id(),
        first.app_id,
        first.endpoint,
        first.channel if len(channels) == 1 else "",
        body_of(min(each.time_ms for each in parts), [each.events for each in parts]),
        sum(each.events for each in deliveries),
        first.created_at_ms,
        first.due_at_ms,
        trace=next((each.trace for each in deliveries if each.trace), ()),
    )


def request_of(
    endpoint: Endpoint, key: str, signer: Signer, delivery: Delivery, trace: TraceHeaders | None = None
) -> Target:
    """The request of the next attempt: where it goes, and its headers (spec: platform § 5.2 and ours).

    ``trace`` are those of the attempt, or else the delivery's own; an endpoint that has such headers keeps them.
    """
    trace = delivery.trace if trace is None else trace
    if trace and any(name.lower() in ("traceparent", "tracestate") for name, _ in endpoint.headers):
        trace = ()
    headers = (
        ("Content-Type", "application/json"),
        ("X-Pusher-Key", key),
        ("X-Pusher-Signature", signer.hexdigest(delivery.body)),
        ("X-Sockudo-Delivery", delivery.id),
        ("X-Sockudo-Attempt", str(delivery.attempts + 1)),
        *trace,
        *endpoint.headers,
    )
    return Target(endpoint.url, headers, endpoint.timeout)


# ---- answers ----


def is_retried(answer: Answer) -> bool:
    """Whether the same request may well succeed later."""
    if answer.status is None:
        return answer.problem not in _PERMANENT
    return answer.status >= 500 or answer.status in _RETRIED


def outcome_of(endpoint: Endpoint, delivery: Delivery, answer: Answer, attempt: Attempt, now_ms: int) -> Outcome:
    """What is to become of a delivery after a request of its own, or one that did not reach the endpoint."""
    if answer.delivered:
        return Outcome("delivered", attempt)
    if not is_retried(answer):
        return Outcome("dead", attempt, reason="refused")
    retry = endpoint.retry
    if not retry.enabled:
        return Outcome("dead", attempt, reason="retry_disabled")
    if retry.max_attempts is not None and attempt.number >= retry.max_attempts:
        return Outcome("dead", attempt, reason="attempts_exhausted")
    due = now_ms + max(retry.pause_ms(attempt.number), _asked(endpoint, answer))
    if due - delivery.created_at_ms > retry.max_elapsed_time_ms:
        return Outcome("dead", attempt, reason="time_exhausted")
    return Outcome("waiting", attempt, due, alone=answer.problem not in _NOT_REACHED)


def outcomes_of(
    endpoint: Endpoint, deliveries: Sequence[Delivery], answer: Answer, at_ms: int, now_ms: int
) -> list[Outcome]:
    """What is to become of several deliveries after their joined request failed.

    When the endpoint answered, one of them may be the reason: each is tried alone, and only then counted. When it did
    not, all of them have failed.
    """
    counted = [outcome_of(endpoint, each, answer, attempt_of(each, answer, at_ms), now_ms) for each in deliveries]
    if answer.status is None or not endpoint.retry.enabled:
        return counted
    asked = _asked(endpoint, answer)
    if len({each.channel for each in deliveries}) == 1:
        # They wait for the first of them anyway.
        first = counted[0] if is_retried(answer) else Outcome("waiting", None, now_ms + asked, alone=True)
        return [first, *[Outcome("waiting", None, now_ms, alone=True)] * (len(deliveries) - 1)]
    spread = max(1, min(_SPREAD_MS, endpoint.retry.initial_backoff_ms))
    pauses = (max(crc32(each.id.encode()) % spread, asked) for each in deliveries)
    return [Outcome("waiting", None, now_ms + pause, alone=True) for pause in pauses]


def attempt_of(delivery: Delivery, answer: Answer, at_ms: int) -> Attempt:
    """The attempt of a delivery that came to this answer."""
    return Attempt(delivery.attempts + 1, at_ms, answer.took_ms, answer.status, answer.problem, answer.snippet)


def _asked(endpoint: Endpoint, answer: Answer) -> int:
    """The pause that the endpoint asked for, in milliseconds, within limits."""
    return min((answer.retry_after or 0) * 1000, endpoint.retry.max_backoff_ms)
