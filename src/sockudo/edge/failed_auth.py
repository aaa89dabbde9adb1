"""What many failed authentications of one address lead to: 429 in the place of 401, and nothing for right requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sockudo import errors
from sockudo.edge.replies import Reply, error_reply

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["after_failure", "is_operators"]

# Signed routes by which operators find out what is wrong: no limit of requests may close them.
_OPERATORS: Final = ("/problems", "/inspector/stream")


def after_failure(edge: Edge, reply: Reply, address: str) -> Reply:
    """The reply itself, or 429 where it refuses an authentication and the address has failed too often.

    Everything is checked before, so a client that shares the address and signs rightly is served.
    """
    refusal = reply.refusal
    if refusal is None or (refusal.spec.status != 401 and refusal.spec is not errors.APP_NOT_FOUND):
        return reply
    limits = edge.limits
    verdict = limits.hit("failed_auth", address, edge.clock.monotonic())
    if verdict is None or verdict.allowed:
        return reply
    return error_reply(limits.refusal(verdict, "failed_auth"), limits.headers(verdict))


def is_operators(path: str) -> bool:
    """Whether the path is one that is not counted before its signature is looked at."""
    return path.startswith("/apps/") and path.endswith(_OPERATORS)
