"""Results of the requests to an endpoint, and its state by them."""

from __future__ import annotations

from dataclasses import dataclass, field

from sockudo.webhooks.breaker import Breaker
from sockudo.webhooks.records import Answer
from sockudo.webhooks.requests import is_retried

__all__ = ["EndpointCounters"]


@dataclass(slots=True)
class EndpointCounters:
    """Requests by what became of them; ``seconds`` is what they took together. ``dead`` are deliveries."""

    attempts: int = 0
    delivered: int = 0
    failed: int = 0
    retried: int = 0
    dead: int = 0
    seconds: float = 0.0
    last: Answer | None = None
    last_at_ms: int | None = None
    breaker: Breaker | None = field(default=None, repr=False)

    def note(self, answer: Answer, now_ms: int, *, telling: bool) -> None:
        """Counts a request that was answered, or had no answer.

        ``telling``: a refusal that is worth another try means that the endpoint fails, not only that it does not take
        what was sent.
        """
        self.attempts += 1
        self.seconds += answer.took_ms / 1000
        self.last, self.last_at_ms = answer, now_ms
        if answer.delivered:
            self.delivered += 1
        else:
            self.failed += 1
        if self.breaker is None:
            return
        if not is_retried(answer):
            # It answered; a refusal of this request is no sign for the next.
            self.breaker.succeeded()
        elif answer.status is None or self.breaker.tripped or telling:
            self.breaker.failed()
