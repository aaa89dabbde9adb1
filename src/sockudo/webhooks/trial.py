"""One signed example, sent to an endpoint as a delivery would be, and what came back."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sockudo import errors
from sockudo.apps.signer import Signer
from sockudo.base.ids import unique_id
from sockudo.config.problems import nearest
from sockudo.config.webhooks import EVENT_TYPES, shown_url
from sockudo.webhooks import events
from sockudo.webhooks.advice import advice_on
from sockudo.webhooks.endpoints import Endpoint
from sockudo.webhooks.records import Answer, Delivery, Event, Sender
from sockudo.webhooks.requests import request_of

__all__ = ["SLOW_MS", "Trial", "sample_body", "try_out"]


_CHANNEL: Final = "sockudo-test"
_ROOM: Final = "presence-sockudo-test"
_USER: Final = "sockudo-test-user"


def sample_body(name: str, time_ms: int) -> bytes:
    """The body of a request with one event of this name; raises KeyError for one that is never sent."""
    event = _sample(name, time_ms)
    return b'{"time_ms":%d,"events":[%b]}' % (time_ms, event.body)


def _sample(name: str, time_ms: int) -> Event:
    if name not in EVENT_TYPES:
        raise KeyError(name)
    match name:
        case "member_added" | "member_removed":
            return events.member_event(name, _ROOM, _USER, time_ms)
        case "member_updated":
            return events.member_event(name, _ROOM, _USER, time_ms, b'{"name":"A test"}')
        case "client_event":
            return events.client_event(f"private-{_CHANNEL}", "client-test", b'{"test":true}', "1.1", None, time_ms)
        case "cache_miss":
            return events.cache_miss(f"cache-{_CHANNEL}", time_ms)
        case "subscription_count":
            return events.subscription_count(_CHANNEL, 1, time_ms)
        case "push.publish_failed":
            why = {"state": "failed", "code": "provider_auth_failed", "error_reason": "auth_failure"}
            counters = {"planned": 1, "dispatched": 1, "failed": 1}
            about = {"publish_id": "sockudo-test", **why, "counters": counters}
            return events.app_event(name, about, time_ms)
        case "push.device_invalidated":
            device = {"device_id": "sockudo-test-device", "provider": "fcm", "publish_id": "sockudo-test"}
            return events.app_event(name, device, time_ms)
        case "user_online" | "user_offline":
            return events.user_event(name, _USER, time_ms)
    return events.channel_event(name, _CHANNEL, time_ms)


# ---- the trial ----


SLOW_MS: Final = 2000
"""An answer that takes longer is near enough to the usual limits that a busy day turns it into a failure."""


class Trial(NamedTuple):
    """What was sent where, and the answer."""

    endpoint: Endpoint
    event: str
    delivery: Delivery
    answer: Answer

    @property
    def slow(self) -> bool:
        """Whether the endpoint answered, and late."""
        return self.answer.status is not None and self.answer.took_ms > SLOW_MS

    def as_dict(self) -> dict[str, Any]:
        """As plain values, without what an address may hide."""
        answer = self.answer
        return {
            "url": shown_url(self.endpoint.url),
            "event": self.event,
            "delivery": self.delivery.id,
            "body": self.delivery.body.decode(),
            "delivered": answer.delivered,
            "status": answer.status,
            "problem": answer.problem,
            "took_ms": answer.took_ms,
            "snippet": answer.snippet,
            "advice": advice_on(answer.status, answer.problem, answer.snippet),
        }


async def try_out(sender: Sender, endpoint: Endpoint, key: str, signer: Signer, event: str, now_ms: int) -> Trial:
    """Sends an example of ``event`` once; nothing of it is kept or tried again.

    Raises errors.INVALID_INPUT for an event that is never sent.
    """
    if event not in EVENT_TYPES:
        guess = nearest(event, EVENT_TYPES)
        hint = f"did you mean {guess}?" if guess else f"events: {', '.join(sorted(EVENT_TYPES))}"
        raise errors.INVALID_INPUT(f"No event is called '{event[:100]}'; {hint}")
    body = sample_body(event, now_ms)
    delivery = Delivery(f"test-{unique_id()}", endpoint.app_id, endpoint.id, "", body, 1, now_ms, now_ms)
    return Trial(endpoint, event, delivery, await sender.send(request_of(endpoint, key, signer, delivery), body))
