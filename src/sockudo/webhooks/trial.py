"""One signed example, sent to an endpoint as a delivery would be, and what came back."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sockudo import errors
from sockudo.apps.signer import Signer
from sockudo.base.ids import unique_id
from sockudo.config.problems import nearest
from sockudo.config.webhooks import EVENT_TYPES, shown_url
from sockudo.webhooks.advice import advice_on
from sockudo.webhooks.endpoints import Endpoint
from sockudo.webhooks.ports import Sender
from sockudo.webhooks.records import Answer, Delivery
from sockudo.webhooks.requests import request_of
from sockudo.webhooks.samples import sample_body

__all__ = ["SLOW_MS", "Trial", "try_out"]

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
