"""What webhooks ask of the queue that keeps them, and of whatever sends them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from sockudo.webhooks.records import Answer, Attempt, Counts, Delivery, State, Target

__all__ = ["Claim", "Endpoints", "Outcome", "Sender", "WebhookQueue"]

Endpoints = Collection[tuple[str, str]]
"""Endpoints by app id and endpoint id."""


class Claim(NamedTuple):
    """A delivery that one process may attempt until its lease ends. ``token`` proves it."""

    delivery: Delivery
    token: str


class Outcome(NamedTuple):
    """What is to become of a claimed delivery. ``due_at_ms`` is for one that goes on ``waiting``."""

    state: State
    attempt: Attempt | None
    due_at_ms: int = 0
    reason: str | None = None


class WebhookQueue(Protocol):
    """Deliveries that wait, in lanes. One contract suite runs over every implementation, the memory one first.

    Every method raises errors.SERVICE_UNAVAILABLE when the queue cannot be reached, and nothing has changed then; none
    hangs for good. Times are Unix milliseconds. The first waiting delivery of a lane is its head, and the only one that
    can be claimed; whatever comes behind it waits, so a lane keeps its order whatever happens.
    """

    async def start(self) -> None:
        """Opens the queue and brings its schema up to date; several processes may do so at once."""

    async def close(self) -> None:
        """Gives everything back. Calling it twice does no harm."""

    async def append(self, deliveries: Sequence[Delivery]) -> None:
        """Keeps all of them, at the ends of their lanes, in this order; once it has returned they survive the process.

        An id that is known already is not appended again.
        """

    async def claim(
        self, now_ms: int, lease_until_ms: int, limit: int, *, besides: Endpoints = frozenset()
    ) -> list[Claim]:
        """At most ``limit`` heads that are due and that nobody has, those that have been due for longest first.

        Nobody else gets one of these lanes before ``lease_until_ms``. After that anybody may; until somebody has, the
        holder may still renew the lease and settle. Lanes of the endpoints in ``besides`` are left alone.
        """
        ...

    async def renew(self, claims: Sequence[Claim], lease_until_ms: int) -> None:
        """Keeps the leases for longer; one that has been lost stays lost."""

    async def settle(self, outcomes: Sequence[tuple[Claim, Outcome]], now_ms: int) -> list[bool]:
        """Ends claims, for each whether it was still the lane's last; nothing changes for one that was not.

        An attempt is counted in the delivery and kept beside it. One that goes on waiting stays the head of its lane.
        """
        ...

    async def next_due(self, *, besides: Endpoints = frozenset()) -> int | None:
        """When the next head becomes due or its lease ends, whichever is later; None when nothing waits."""
        ...

    async def counts(self) -> Mapping[tuple[str, str], Counts]:
        """Counts by app and endpoint, for all that the queue knows of."""
        ...

    async def page(
        self,
        app_id: str,
        *,
        endpoint: str | None = None,
        state: State | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Delivery]:
        """The newest deliveries of an app first, below the sequence ``before``."""
        ...

    async def get(self, app_id: str, delivery_id: str) -> tuple[Delivery, list[Attempt]] | None:
        """A delivery and what was tried, oldest first, as far as it is kept; None when it is not known."""
        ...

    async def replay(
        self, app_id: str, now_ms: int, *, ids: Sequence[str] | None = None, endpoint: str | None = None
    ) -> int:
        """Has settled deliveries made again, at the ends of their lanes and as if for the first time; how many.

        With ``ids`` those, delivered or dead; else every dead one, of an endpoint or of all. They keep the order that
        they had among themselves.
        """
        ...

    async def expire(self, app_id: str, endpoint: str, created_before_ms: int, now_ms: int, reason: str) -> int:
        """Gives up what was created earlier and waits for an endpoint that is left alone; how many.

        Lanes that are leased are not touched; of the others any delivery may go, wherever it stands. Bounded work: call
        it again.
        """
        ...

    async def trim(self, keep_delivered: int, keep_dead: int) -> int:
        """Drops the oldest settled deliveries beyond so many of each; how many. Bounded work: call it again."""
        ...


class Sender(Protocol):
    """Makes the requests."""

    async def send(self, target: Target, body: bytes) -> Answer:
        """Posts the body once: no redirect is followed, and no address is tried that is not allowed.

        Never raises for what an endpoint does or fails to do; the answer says it.
        """
        ...

    async def close(self) -> None:
        """Ends the connections that it keeps."""
