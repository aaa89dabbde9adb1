"""The route by which a backend takes back capability tokens (contract 20 § 8.2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.auth.revocations import Kind, Revocation, Revocations
from sockudo.auth.signing import authenticate
from sockudo.auth.tokens import MAX_ID_BYTES, MAX_LIFETIME, SKEW
from sockudo.edge.publishing import check_json
from sockudo.protocol.json_text import MAX_NESTING, not_utf8, too_deep

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["EndRevoked", "revocation_routes"]

EndRevoked = Callable[[LiveApp, Sequence[Revocation]], int]
"""Ends every open session of the app whose token one of these covers, and says how many there were."""

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


_body_decoder = msgspec.json.Decoder(_Body)
# Looks at the syntax alone.
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)


def revocation_routes(edge: Edge, revocations: Revocations, end_revoked: EndRevoked) -> list[Route]:
    """``POST /apps/{app_id}/revocations``: refuses the tokens from now on and ends the sessions that use them."""

    async def revoke(request: Request) -> Response:
        raw = await request.body()
        app = _authenticated(edge, request, raw)
        check_json(request.headers.get("content-type", "").encode("latin-1"))
        body = _read(raw)
        now = edge.clock.time()
        wanted = _wanted(app, body, now)
        await revocations.revoke(wanted, now)
        ended = end_revoked(app, wanted)
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
        return Response(msgspec.json.encode(reply), media_type="application/json")

    return [Route("/apps/{app_id}/revocations", revoke, methods=["POST"])]


def _authenticated(edge: Edge, request: Request, body: bytes) -> LiveApp:
    query: bytes = request.scope["query_string"]
    app = authenticate(
        edge.apps,
        method=request.method,
        raw_path=request.scope["raw_path"],
        query=query if request.scope["state"]["has_query"] else None,
        body=body,
        path_app_id=request.path_params["app_id"],
        now=edge.clock.time(),
    )
    traffic = edge.gateway.state(app).traffic
    traffic.http_calls += 1
    traffic.http_bytes_received += len(body)
    return app


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


# ---- the body ----


def _read(text: bytes) -> _Body:
    if (at := not_utf8(text)) is not None:
        raise _malformed(f"not UTF-8 at byte {at}")
    if (at := too_deep(text)) is not None:
        raise _malformed(f"nested more than {MAX_NESTING} levels deep at byte {at}")
    try:
        _raw_decoder.decode(text)
    except msgspec.DecodeError as problem:
        raise _malformed(str(problem)) from None
    try:
        body = _body_decoder.decode(text)
    except msgspec.ValidationError as problem:
        detail = str(problem).replace("`", "'").replace("$.", "").replace("$", "the body")
        raise _wrong_shape(detail) from None
    except msgspec.DecodeError as problem:
        raise _malformed(str(problem)) from None
    _refuse_repeats(text)
    return body


def _refuse_repeats(text: bytes) -> None:
    """Typed decoding keeps the last of several fields of one name without a word."""
    members: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list, parse_int=len, parse_float=len)
    names = [name for name, _ in members if name in _Body.__struct_fields__]
    for name in names:
        if names.count(name) > 1:
            raise _wrong_shape(f"the field '{name}' is repeated")


def _malformed(detail: str) -> errors.SockudoError:
    return errors.MALFORMED_JSON(f"The body is not valid JSON: {detail}")


def _wrong_shape(detail: str) -> errors.SockudoError:
    return errors.WRONG_SHAPE(f"Wrong shape of the JSON body: {detail}")
