"""How an endpoint does: results of its requests, and whether it is left alone for now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sockudo.webhooks.records import Answer
from sockudo.webhooks.requests import is_retried

__all__ = ["Breaker", "EndpointCounters"]


_FAILURES: Final = 5
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


class Breaker:
    """Opens after five failures in a row; then one attempt at a time is let through after a pause that doubles.

    One success closes it. Times are monotonic seconds.
    """

    __slots__ = ("_failures", "_now", "_pause", "_probing", "_until")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures = 0
        self._pause = _FIRST_PAUSE
        self._until = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether attempts are held back now."""
        return self._failures >= _FAILURES and (self._probing or self._now() < self._until)

    @property
    def tripped(self) -> bool:
        """Whether the endpoint counts as failing, be it held back or being probed."""
        return self._failures >= _FAILURES

    @property
    def until(self) -> float:
        """When the next attempt is let through, if it is open."""
        return self._until

    def begin(self) -> None:
        """An attempt is being made."""
        if self.tripped:
            self._probing = True

    def abandoned(self) -> None:
        """The attempt was given up before it came to anything."""
        self._probing = False

    def succeeded(self) -> None:
        """The endpoint took something."""
        self._failures = 0
        self._pause = _FIRST_PAUSE
        self._probing = False

    def failed(self) -> None:
        """The endpoint could not be reached, or answered that it is not able to now."""
        self._failures += 1
        self._probing = False
        if self.tripped:
            self._until = self._now() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)


# ---- results ----


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
