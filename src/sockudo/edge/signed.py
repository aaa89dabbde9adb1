"""What the signed routes of the web framework have in common: who asks, a typed body, a JSON reply."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.auth.signing import authenticate
from sockudo.edge.publishing import check_json
from sockudo.protocol.json_text import MAX_NESTING, not_utf8, too_deep

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["authenticated", "json_reply", "typed_body"]

Body = TypeVar("Body", bound=msgspec.Struct)

# Looks at the syntax alone.
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)


async def authenticated(edge: Edge, request: Request) -> LiveApp:
    """The app in whose name the request was signed; see `authenticate` for what is raised."""
    body = await request.body()
    query: bytes = request.scope["query_string"]
    app = authenticate(
        edge.apps,
        method=request.method,
        raw_path=request.scope["raw_path"],
        query=query if request.scope["state"]["has_query"] else None,
        body=body,
        path_app_id=request.path_params.get("app_id"),
        now=edge.clock.time(),
    )
    traffic = edge.gateway.state(app).traffic
    traffic.http_calls += 1
    traffic.http_bytes_received += len(body)
    return app


async def typed_body(request: Request, kind: type[Body]) -> Body:
    """The JSON body as a ``kind``; unknown fields are ignored, repeated ones are not.

    Raises errors.UNSUPPORTED_MEDIA_TYPE, errors.MALFORMED_JSON for bad syntax and errors.WRONG_SHAPE.
    """
    check_json(request.headers.get("content-type", "").encode("latin-1"))
    text = await request.body()
    if (at := not_utf8(text)) is not None:
        raise _malformed(f"not UTF-8 at byte {at}")
    if (at := too_deep(text)) is not None:
        raise _malformed(f"nested more than {MAX_NESTING} levels deep at byte {at}")
    try:
        _raw_decoder.decode(text)
        body = msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as problem:
        raise _wrong_shape(str(problem).replace("`", "'").replace("$.", "").replace("$", "the body")) from None
    except msgspec.DecodeError as problem:
        raise _malformed(str(problem)) from None
    _refuse_repeats(text, frozenset(kind.__struct_fields__))
    return body


def json_reply(value: object) -> Response:
    """A reply with status 200."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def _refuse_repeats(text: bytes, fields: frozenset[str]) -> None:
    """Typed decoding keeps the last of several fields of one name without a word."""
    members: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list, parse_int=len, parse_float=len)
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            raise _wrong_shape(f"the field '{name}' is repeated")
        if name in fields:
            seen.add(name)


def _malformed(detail: str) -> errors.SockudoError:
    return errors.MALFORMED_JSON(f"The body is not valid JSON: {detail}")


def _wrong_shape(detail: str) -> errors.SockudoError:
    return errors.WRONG_SHAPE(f"Wrong shape of the JSON body: {detail}")
