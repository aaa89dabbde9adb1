"""What the signed routes of the web framework have in common: who asks, a typed body, a JSON reply."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sockudo.apps.live import LiveApp
from sockudo.auth.signing import authenticate, path_part, query_param
from sockudo.edge.publishing import check_json
from sockudo.protocol.names import check_channel_name
from sockudo.publishing.json_body import decode, members, refuse_repeats

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = [
    "authenticated",
    "authenticated_for_channel",
    "json_reply",
    "parameters",
    "query_string",
    "signed_app",
    "typed_body",
]

Body = TypeVar("Body", bound=msgspec.Struct)


async def authenticated(edge: Edge, request: Request) -> LiveApp:
    """The app in whose name the request was signed; see `authenticate` for what is raised."""
    app_id, raw_path = request.path_params.get("app_id"), request.scope["raw_path"]
    return signed_app(edge, request.method, app_id, raw_path, query_string(request), await request.body())


def signed_app(
    edge: Edge, method: str, app_id: str | None, raw_path: bytes, query: bytes | None, body: bytes
) -> LiveApp:
    """As `authenticated`, for the parts of a request; counts the call in the app's traffic."""
    app = authenticate(
        edge.apps,
        method=method,
        raw_path=raw_path,
        query=query,
        body=body,
        path_app_id=app_id,
        now=edge.clock.time(),
        may_explain=edge.may_explain,
    )
    traffic = edge.gateway.state(app).traffic
    traffic.http_calls += 1
    traffic.http_bytes_received += len(body)
    return app


async def authenticated_for_channel(edge: Edge, request: Request, *, publishes: bool = False) -> tuple[LiveApp, str]:
    """The app and the channel of a question about a channel's past; counts as a read of the app, or as a publish.

    Raises what `authenticated` does, errors.RATE_LIMITED and, for a name that no channel can have, errors.CHANNEL_NAME.
    """
    app = await authenticated(edge, request)
    now = edge.clock.monotonic()
    if publishes:
        edge.rates.check_publish(app, 1, now)
    else:
        edge.rates.check_read(app, now)
    channel = path_part(request, "channel")
    check_channel_name(channel, max_length=app.limits.max_channel_name_length, namespaces=app.namespaces)
    return app, channel


def parameters(request: Request, names: Iterable[str]) -> dict[str, str]:
    """The decoded parameters of the query, as far as they are among ``names``."""
    query: bytes = request.scope["query_string"]
    return {name: value for name in names if (value := query_param(query, name)) is not None}


def query_string(request: Request) -> bytes | None:
    """The query as it was sent; None when the target had no question mark."""
    query: bytes = request.scope["query_string"]
    return query if request.scope["state"]["has_query"] else None


async def typed_body(request: Request, kind: type[Body]) -> Body:
    """The JSON body as a ``kind``; unknown fields are ignored, repeated ones are not.

    Raises errors.UNSUPPORTED_MEDIA_TYPE, errors.MALFORMED_JSON for bad syntax and errors.WRONG_SHAPE.
    """
    check_json(request.headers.get("content-type", "").encode("latin-1"))
    text = await request.body()
    body = decode(msgspec.json.Decoder(kind), text)
    refuse_repeats(members(text), frozenset(kind.__struct_fields__))
    return body


def json_reply(value: object) -> Response:
    """A reply with status 200."""
    return Response(msgspec.json.encode(value), media_type="application/json")
