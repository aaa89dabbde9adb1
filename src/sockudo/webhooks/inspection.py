"""What operators are shown of a delivery while they look on."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from sockudo import errors
from sockudo.config.webhooks import shown_url
from sockudo.inspector import Entry, Kind
from sockudo.webhooks.advice import advice_on, explanation
from sockudo.webhooks.endpoints import Endpoint
from sockudo.webhooks.records import Answer, Delivery, Outcome, State

__all__ = ["entry_of", "logged"]

_KINDS: Final[dict[State, Kind]] = {
    "delivered": "webhook_delivered",
    "waiting": "webhook_failed",
    "dead": "webhook_dead",
}
_NAMED_EVENTS: Final = 5


class _Event(msgspec.Struct):
    name: str = ""
    channel: str = ""


class _Body(msgspec.Struct):
    events: list[_Event] = []


_decode = msgspec.json.Decoder(_Body).decode


def entry_of(endpoint: Endpoint, delivery: Delivery, answer: Answer, outcome: Outcome, at: int) -> Entry:
    """One request to an endpoint and what became of it.

    Of the URL neither user and password nor the query's values are shown. The channel is named when all events are of
    the same one.
    """
    events = _events(delivery)
    names = list(dict.fromkeys(event.name for event in events))
    channels = {event.channel for event in events}
    return Entry(
        at,
        _KINDS[outcome.state],
        delivery.app_id,
        channel=channels.pop() or None if len(channels) == 1 else None,
        event=", ".join(names[:_NAMED_EVENTS]) + (", …" if len(names) > _NAMED_EVENTS else "") or None,
        error=_error(answer, outcome),
        text=_text(answer, outcome),
        cause=advice_on(answer.status, answer.problem, answer.snippet),
        request=f"POST {shown_url(endpoint.url)}",
        status=answer.status,
        endpoint=endpoint.id,
        delivery=delivery.id,
        attempt=delivery.attempts + 1,
        took_ms=answer.took_ms,
    )


def logged(endpoint: Endpoint, delivery: Delivery, answer: Answer) -> dict[str, Any]:
    """A log line of a request: its target, its result and, of one that failed, the remedy."""
    about: dict[str, Any] = {
        "app_id": delivery.app_id,
        "endpoint": endpoint.id,
        "url": shown_url(endpoint.url),
        "webhook_job_id": delivery.id,
        "attempt": delivery.attempts + 1,
        "status": answer.status,
        "took_ms": answer.took_ms,
    }
    if not answer.delivered:
        about["problem"] = answer.problem
        about["advice"] = advice_on(answer.status, answer.problem, answer.snippet)
    return about


def _events(delivery: Delivery) -> list[_Event]:
    try:
        return _decode(delivery.body).events
    except msgspec.DecodeError:
        # The queue was written to from outside: that is for the endpoint to judge.
        return []


def _error(answer: Answer, outcome: Outcome) -> str | None:
    if outcome.state == "delivered":
        return None
    row = explanation(outcome.reason or "") or explanation(answer.problem or "") or errors.WEBHOOK_FAILED
    return row.slug


def _text(answer: Answer, outcome: Outcome) -> str:
    row = explanation(answer.problem or "")
    if answer.status is not None:
        text = f"the endpoint answered {answer.status}"
    else:
        text = row.meaning.removesuffix(".") if row is not None else f"no answer: {answer.problem}"
    if outcome.state == "waiting":
        return f"{text}; it is tried again"
    return text if outcome.state == "delivered" else f"{text}; given up"
