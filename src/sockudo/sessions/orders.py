"""Orders of a backend to the sessions of every node: end those of a user, end those with a revoked token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from sockudo import errors
from sockudo.auth.ports import Revocation
from sockudo.auth.revocations import Revocations
from sockudo.cluster.items import Request
from sockudo.cluster.ports import DEADLINE, Bus
from sockudo.cluster.router import Router
from sockudo.errors import ErrorSpec
from sockudo.sessions.gateway import Gateway

__all__ = ["EndTokens", "EndUser", "answer_orders", "end_tokens", "end_user"]

_ENDINGS: Final = {spec.slug: spec for spec in (errors.TERMINATED, errors.FORCE_RECONNECT)}


class EndUser(Request, frozen=True, tag="end_user"):
    """Ends every connection of a user; the answer is how many. ``error`` is the slug of what they are closed with."""

    reply: ClassVar = int

    app_id: str
    user_id: str
    error: str


class EndTokens(Request, frozen=True, tag="end_tokens"):
    """Refuses revoked tokens from now on and ends the sessions that use them; the answer is how many."""

    reply: ClassVar = int

    app_id: str
    revocations: tuple[Revocation, ...]


def answer_orders(router: Router, gateway: Gateway, revocations: Revocations) -> None:
    """Has this node carry out the orders."""

    def user(order: EndUser) -> int:
        return gateway.end_user(order.app_id, order.user_id, _ENDINGS[order.error])

    def tokens(order: EndTokens) -> int:
        revocations.add(order.revocations)
        return gateway.revoke(order.app_id, order.revocations)

    router.on_request(EndUser, user)
    router.on_request(EndTokens, tokens)


async def end_user(bus: Bus, app_id: str, user_id: str, error: ErrorSpec) -> int:
    """Ends every connection of a user on all nodes; how many they were."""
    answers = await bus.ask(EndUser(app_id, user_id, error.slug), deadline=DEADLINE)
    return sum(answers.values.values())


async def end_tokens(bus: Bus, app_id: str, revocations: Sequence[Revocation]) -> int:
    """Makes every node refuse revoked tokens and end the sessions that use them; how many they were."""
    answers = await bus.ask(EndTokens(app_id, tuple(revocations)), deadline=DEADLINE)
    return sum(answers.values.values())
