"""The route by which a backend takes back capability tokens (spec: http-api § 8.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.auth.ports import Kind, Revocation
from sockudo.auth.revocations import Revocations
from sockudo.auth.tokens import MAX_ID_BYTES, MAX_LIFETIME, SKEW
from sockudo.edge.signed import authenticated, json_reply, typed_body

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["EndRevoked", "revocation_routes"]

EndRevoked = Callable[[str, Sequence[Revocation]], Awaitable[int]]
"""Ends every open session of the app whose token one of these covers, on all nodes; how many there were."""

_log = structlog.get_logger("sockudo.http")

_KINDS: Final[tuple[Kind, ...]] = ("jti", "client_id")
# A hundred years: what is asked for may be any number.
_LONGEST: Final = 100 * 365 * 86_400
_MAX_LOGGED_REASON: Final = 200


class _Body(msgspec.Struct):
    jti: str | None = None
    client_id: str | None = None
    reason: str | None = None
    expires_at: int | None = None
    ttl_seconds: Annotated[int, msgspec.Meta(ge=0)] | None = None


def revocation_routes(edge: Edge, revocations: Revocations, end_revoked: EndRevoked) -> list[Route]:
    """``POST /apps/{app_id}/revocations``: refuses the tokens from now on and ends the sessions that use them."""

    async def revoke(request: Request) -> Response:
        app = await authenticated(edge, request)
        body = await typed_body(request, _Body)
        now = edge.clock.time()
        wanted = _wanted(app, body, now)
        await revocations.revoke(wanted, now)
        ended = await end_revoked(app.id, wanted)
        _log.info(
            "tokens revoked",
            app_id=app.id,
            jti=body.jti,
            client_id=body.client_id,
            reason=(body.reason or "")[:_MAX_LOGGED_REASON],
            ended=ended,
        )
        reply = {
            "revoked_jti": body.jti is not None,
            "revoked_client_id": body.client_id is not None,
            "closed_connections": ended,
        }
        return json_reply(reply)

    return [Route("/apps/{app_id}/revocations", revoke, methods=["POST"])]


def _wanted(app: LiveApp, body: _Body, now: float) -> list[Revocation]:
    targets: dict[Kind, str | None] = {"jti": body.jti, "client_id": body.client_id}
    wanted = [
        Revocation(app.id, kind, value, now + _lifetime(body, now))
        for kind, value in targets.items()
        if value is not None
    ]
    if not wanted:
        raise errors.INVALID_INPUT("revocation requires jti or client_id")
    for revocation in wanted:
        if not 1 <= len(revocation.value.encode()) <= MAX_ID_BYTES:
            raise errors.INVALID_INPUT(f"{revocation.kind} must be 1 to {MAX_ID_BYTES} bytes, as in a token")
    return wanted


def _lifetime(body: _Body, now: float) -> int:
    """Seconds. What is given as the end of a token lasts until that token cannot be used any more, skew included."""
    if body.ttl_seconds is not None:
        seconds = max(body.ttl_seconds, 1)
    elif body.expires_at is not None:
        seconds = max(body.expires_at - int(now), 1) + SKEW
    else:
        # The longest that a token may still be used whose backend's clock is as fast as it may be.
        seconds = MAX_LIFETIME + 2 * SKEW
    return min(seconds, _LONGEST)
