"""Spans of the signed HTTP API, on the express lane and on the other way; only used where there is a tracer.

The conventions for HTTP servers hold: a refusal of a bad request is no failure of the server, so its span has the
reason as ``error.type`` and no error status. The query string is left out, for it holds the signature.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from sockudo import errors
from sockudo.auth.signing import query_param
from sockudo.base.spans import Span, TraceHeaders, Tracer, trace_headers
from sockudo.edge.publishing import publish_reply
from sockudo.edge.replies import Reply, error_reply
from sockudo.errors import SockudoError

if TYPE_CHECKING:
    from sockudo.edge.context import Edge
    from sockudo.edge.front import Front

__all__ = ["TracedFront", "traced_publish_reply", "traced_refusal"]

_API: Final = ("/apps/", "/users/")
# Any other word is the client's invention, and there may be many.
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_UNSENT: Final = 0
"""In place of a status while no answer has begun."""


def traced_publish_reply(
    tracer: Tracer,
    edge: Edge,
    batch: bool,
    app_id: str,
    raw_path: bytes,
    query: bytes | None,
    headers: Mapping[bytes, bytes],
    body: bytes,
) -> Reply | asyncio.Future[bytes]:
    """What `publish_reply` does, within a span that ends with the answer or, where it has to wait, with that."""
    span = _publish_span(tracer, edge, batch, app_id, raw_path, headers)
    with tracer.active(span):
        reply = publish_reply(edge, batch, app_id, raw_path, query, headers, body)
    if isinstance(reply, Reply):
        _end(span, reply.status, reply.body)
    else:
        reply.add_done_callback(lambda done: _end_with(span, done))
    return reply


def traced_refusal(
    edge: Edge,
    reply: Reply,
    batch: bool,
    app_id: str,
    raw_path: bytes,
    _: bytes | None,
    headers: Mapping[bytes, bytes],
) -> None:
    """The span of a publish that was refused before it was read; does nothing without a tracer."""
    if edge.tracer is not None:
        _end(_publish_span(edge.tracer, edge, batch, app_id, raw_path, headers), reply.status, reply.body)


def _publish_span(
    tracer: Tracer, edge: Edge, batch: bool, app_id: str, raw_path: bytes, headers: Mapping[bytes, bytes]
) -> Span:
    route = "/apps/{app_id}/batch_events" if batch else "/apps/{app_id}/events"
    scheme = "https" if edge.settings.ssl.enabled else "http"
    # There is no other header of a name here: such a request does not take the express lane.
    cause = trace_headers(headers.items()) if b"traceparent" in headers else ()
    return _start(tracer, "POST", route, raw_path.decode("latin-1"), scheme, app_id, cause)


def _start(
    tracer: Tracer, method: str, route: str | None, path: str, scheme: str, app_id: str | None, cause: TraceHeaders
) -> Span:
    known = method if method in _METHODS else "_OTHER"
    attributes = {"http.request.method": known, "url.path": path, "url.scheme": scheme}
    if route is not None:
        attributes["http.route"] = route
    if app_id is not None:
        attributes["sockudo.app_id"] = app_id
    word = "HTTP" if known == "_OTHER" else known
    return tracer.start(word if route is None else f"{word} {route}", "server", attributes, cause=cause)


def _end(span: Span, status: int, body: bytes) -> None:
    error = None if status < 400 else _slug(body) or str(status)
    span.end({"http.response.status_code": status}, error=error, failed=status >= 500)


def _end_with(span: Span, done: asyncio.Future[bytes]) -> None:
    """Says what `finished_reply` makes of it, or would for a client that has gone."""
    problem = errors.DRAINING() if done.cancelled() else done.exception()
    if problem is None:
        _end(span, 200, b"")
        return
    reply = error_reply(problem if isinstance(problem, SockudoError) else errors.INTERNAL_ERROR())
    _end(span, reply.status, reply.body)


class _Envelope(msgspec.Struct):
    docs: str = ""


def _slug(body: bytes) -> str | None:
    """The row of the catalogue that an error's body points to."""
    try:
        docs = msgspec.json.decode(body, type=_Envelope).docs
    except msgspec.DecodeError:
        return None
    return docs.partition("#")[2] or None


class TracedFront:
    """The front with a span around each call of the API; other requests leave none."""

    def __init__(self, edge: Edge, front: Front, tracer: Tracer) -> None:
        self._edge = edge
        self._front = front
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_API):
            await self._front(scope, receive, send)
            return
        span = self._begin(scope)
        status, body = _UNSENT, b""

        async def watched(message: Message) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
            elif status >= 400:
                body += message.get("body", b"")
            await send(message)

        try:
            with self._tracer.active(span):
                await self._front(scope, receive, watched)
        except BaseException as problem:
            # Cut off: by the end of the process, or by a defect after the answer had begun, which the log tells of.
            cancelled = isinstance(problem, asyncio.CancelledError)
            sent = {} if status == _UNSENT else {"http.response.status_code": status}
            span.end(sent, error="cancelled" if cancelled else type(problem).__name__, failed=not cancelled)
            raise
        if status == _UNSENT:
            span.end(error="client_disconnected", failed=False)
        else:
            _end(span, status, body)

    def _begin(self, scope: Scope) -> Span:
        route, parameters = self._find(scope)
        path = scope["raw_path"].decode("latin-1")
        app_id = parameters.get("app_id") or self._app_of_key(scope["query_string"])
        cause = trace_headers(scope["headers"])
        return _start(self._tracer, scope["method"], route, path, scope["scheme"], app_id, cause)

    def _app_of_key(self, query: bytes) -> str | None:
        """The app of a request that names it by its key alone."""
        try:
            key = query_param(query, "auth_key")
        except SockudoError:
            # Refused further on, where the caller gets the reason.
            return None
        app = None if key is None else self._edge.apps.by_key(key)
        return None if app is None else app.id

    def _find(self, scope: Scope) -> tuple[str | None, Mapping[str, str]]:
        """The pattern of the path and what stands in it, read as the front reads it."""
        path = scope["raw_path"].decode("latin-1").rstrip("/")
        asked = {"type": "http", "method": scope["method"], "path": path, "root_path": ""}
        for route in self._front.routes:
            match, child = route.matches(asked)
            if match is not Match.NONE:
                return route.path, child["path_params"]
        return None, {}
