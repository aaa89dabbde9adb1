"""What happens to channels and users, and what becomes of telling backends about it (spec: platform § 5)."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from sockudo.base.spans import TraceHeaders

__all__ = [
    "CHALLENGE",
    "LOCATION",
    "MAX_SNIPPET",
    "Answer",
    "Attempt",
    "Counts",
    "Delivery",
    "Event",
    "Outcome",
    "Sender",
    "State",
    "Target",
]


State = Literal["waiting", "delivered", "dead"]
"""``waiting`` for its turn or its next attempt; ``dead`` once it was given up, until it is replayed."""

MAX_SNIPPET: Final = 200
"""Bytes that are kept of what an endpoint answered."""

LOCATION: Final = "Location"
CHALLENGE: Final = "WWW-Authenticate"


class Event(NamedTuple):
    """Something that happened. ``body`` is its JSON object as endpoints get it; times are Unix milliseconds.

    ``trace`` are the W3C headers of what caused it, as far as that is traced.
    """

    name: str
    channel: str
    body: bytes
    time_ms: int
    trace: TraceHeaders = ()


class Answer(NamedTuple):
    """What one request to an endpoint came to: a status, or the reason why there is none.

    ``snippet`` is the beginning of what the endpoint answered, as text; that of a redirect and of a 401 begins with
    the header with details, `LOCATION` without what may be secret in it or `CHALLENGE` with its scheme alone.
    ``retry_after`` in seconds, if it asked for it.
    """

    status: int | None
    problem: str | None = None
    took_ms: int = 0
    snippet: str = ""
    retry_after: int | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Target(NamedTuple):
    """Where a request goes, and with which headers; ``timeout`` in seconds, for all of it."""

    url: str
    headers: tuple[tuple[str, str], ...]
    timeout: float


class Attempt(msgspec.Struct, frozen=True):
    """One request that was made, to diagnose why an endpoint got nothing."""

    number: int
    at_ms: int
    took_ms: int
    status: int | None = None
    problem: str | None = None
    snippet: str = ""


class Outcome(NamedTuple):
    """What is to become of a claimed delivery. ``due_at_ms`` is for one that goes on ``waiting``; ``alone`` that it is
    not to be joined with others any more.
    """

    state: State
    attempt: Attempt | None
    due_at_ms: int = 0
    reason: str | None = None
    alone: bool = False


class Delivery(msgspec.Struct, array_like=True):
    """A request that an endpoint is to get, again and again until it takes it: the same id and bytes every time.

    Those of one ``channel`` are delivered to an endpoint one after the other, in the order in which they were appended.
    Until a request was made of it, a delivery may be joined with others into one request, which has an id of its own;
    one that is ``alone`` may not. ``body`` is exactly what is sent and signed. ``sequence`` is its number in the queue,
    ascending. ``trace`` are the W3C headers of what caused it.
    """

    id: str
    app_id: str
    endpoint: str
    channel: str
    body: bytes
    events: int
    created_at_ms: int
    due_at_ms: int
    state: State = "waiting"
    attempts: int = 0
    first_attempt_at_ms: int | None = None
    settled_at_ms: int | None = None
    reason: str | None = None
    sequence: int = 0
    trace: TraceHeaders = ()
    alone: bool = False


class Counts(NamedTuple):
    """Deliveries of an endpoint by what became of them; ``leased`` are being attempted, and are in ``waiting`` too."""

    waiting: int = 0
    leased: int = 0
    delivered: int = 0
    dead: int = 0


# ---- who makes the requests ----


class Sender(Protocol):
    """Makes the requests."""

    async def send(self, target: Target, body: bytes) -> Answer:
        """Posts the body once: no redirect is followed, and no address is tried that is not allowed.

        Never raises for what an endpoint does or fails to do; the answer holds it.
        """
        ...

    async def close(self) -> None:
        """Ends the connections that it keeps."""
