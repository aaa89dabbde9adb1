"""From an HTTP request to a WebSocket session: what is checked before and after the 101 (spec: websocket § 2)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes

import structlog

from sockudo import errors
from sockudo.auth.tokens import Token
from sockudo.edge.reach import origin_of
from sockudo.edge.refusals import ONLY_PUBLISHES, HttpHead, missing_cause, note_connection, note_upgrade
from sockudo.edge.replies import Refusal, Reply, error_reply
from sockudo.edge.websocket import WebSocketProtocol
from sockudo.errors import SockudoError
from sockudo.hub.events import Connected
from sockudo.limits.address import client_address
from sockudo.protocol import frames
from sockudo.protocol.deflate import DeflateParams, negotiate
from sockudo.protocol.formats import format_of
from sockudo.protocol.handshake import ConnectQuery, Upgrade, accept_response, check_upgrade, parse_connect_query
from sockudo.protocol.shapes import shape_of
from sockudo.sessions.identity import admit_token, adopt_token

if TYPE_CHECKING:
    from sockudo.edge.context import Edge
    from sockudo.sessions import Session

__all__ = ["asks_for_websocket", "upgrade"]

_ROUTE = re.compile(rb"/app/([^/?]+)/?(?:\?(.*))?", re.DOTALL)

_log = structlog.get_logger("sockudo.connections")


class Upgrading(HttpHead, Protocol):
    """An HTTP connection that gives up its transport."""

    transport: asyncio.Transport

    @property
    def scope(self) -> Mapping[str, object]:
        """The request in ASGI's terms."""
        ...

    def release(self) -> None:
        """Lets go of the connection."""
        ...


def asks_for_websocket(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request wants to become a WebSocket; names are lower-case."""
    return _has_token(headers, b"upgrade", b"websocket") and _has_token(headers, b"connection", b"upgrade")


def _has_token(headers: Sequence[tuple[bytes, bytes]], header: bytes, token: bytes) -> bool:
    values = b",".join(value for name, value in headers if name == header)
    return token in (element.strip().lower() for element in values.split(b","))


def upgrade(http: Upgrading, rest: bytes) -> Reply | None:
    """Takes the connection over as a WebSocket, or returns the HTTP reply that refuses it.

    ``rest`` is what the client sent behind its request. Past the 101 a refusal is an error frame and a close frame.
    """
    edge = http.edge
    route = _ROUTE.fullmatch(http.url)
    here = edge.settings.server_role != "api"
    if route is None or not here:
        place = "at this path; connect to /app/{key}" if here else f"here: {ONLY_PUBLISHES}"
        error = errors.NOT_FOUND(f"There is no WebSocket {place}")
        error.likely_cause = missing_cause(edge, http.url.partition(b"?")[0].decode("latin-1"))
        note_connection(http, Refusal.of(error))
        return error_reply(error)
    address = client_address(http.client, http.headers, edge.limits.upgrade_trust_hops, unix=http.unix)
    origin = origin_of(http.headers)
    key = unquote_to_bytes(route[1]).decode("utf-8", "replace")
    try:
        limited = _check_rate(edge, address)
        if limited is not None:
            if limited.refusal is not None:
                note_upgrade(edge, limited.refusal, key, address, origin)
            return limited
        if http.scope["method"] != "GET":
            error = errors.METHOD_NOT_ALLOWED("A WebSocket handshake is a GET")
            note_upgrade(edge, Refusal.of(error), key, address, origin)
            return error_reply(error, [(b"allow", b"GET")])
        handshake = check_upgrade(http.headers)
        query = parse_connect_query(route[2] or b"")
        if edge.gateway.draining:
            raise errors.DRAINING(retry_after=1)
    except SockudoError as error:
        note_upgrade(edge, Refusal.of(error), key, address, origin)
        version = [(b"sec-websocket-version", b"13")] if error.spec is errors.UPGRADE_INVALID else []
        return error_reply(error, version)
    _take_over(http, handshake, key, origin, query, rest, address)
    return None


def _check_rate(edge: Edge, address: str) -> Reply | None:
    verdict = edge.limits.hit("upgrade", address, edge.clock.monotonic())
    if verdict is None or verdict.allowed:
        return None
    return error_reply(edge.limits.refusal(verdict, "upgrade"), edge.limits.headers(verdict))


def _take_over(
    http: Upgrading,
    handshake: Upgrade,
    key: str,
    origin: str | None,
    query: ConnectQuery,
    rest: bytes,
    address: str,
) -> None:
    edge = http.edge
    transport = http.transport
    deflate: DeflateParams | None = None
    if edge.settings.websocket.compression != "disabled" and handshake.extensions:
        deflate = negotiate(handshake.extensions)
    accepted = accept_response(handshake, deflate)
    transport.set_write_buffer_limits(edge.settings.websocket.max_backpressure)
    websocket = WebSocketProtocol(edge, transport, deflate, address)
    http.release()
    transport.set_protocol(websocket)
    wire_format = format_of(query.protocol, query.format)
    gateway = edge.gateway
    token: Token | None = None
    try:
        edge.reach.check_origin(origin)
        app = gateway.admit(key, origin)
        edge.descriptors.check_websocket(transport)
        if query.token is not None:
            if not wire_format.v2:
                raise errors.TOKEN_NEEDS_V2()
            token = admit_token(gateway, app, query.token)
    except SockudoError as error:
        code = error.spec.ws or 4000
        gateway.note_refusal(key, error, address, origin)
        edge.refusal_log.note(Refusal.of(error), address, None, edge.clock.monotonic())
        refusal = frames.error(code, error.text)
        websocket.begin(accepted, shape_of(wire_format, websocket.framing).encode(refusal))
        websocket.close(code, error.text)
    else:
        session = gateway.open(
            app, websocket, wire_format, echo=query.echo_messages, client=query.client, client_version=query.version
        )
        if session.v2 is not None:
            session.v2.whole = query.append_mode == "full"
            session.v2.pace = query.append_rollup_window
        websocket.attach(session)
        greeting = frames.connection_established(session.socket_id, edge.settings.activity_timeout)
        websocket.begin(accepted, session.shape.encode(greeting))
        if token is not None:
            adopt_token(session, token)
        if gateway.hub.observers.of(Connected):
            gateway.hub.observers.emit(Connected(session, _spoken(session), origin))
        _log.debug("connected", app_id=app.id, socket_id=session.socket_id)
    if rest:
        websocket.data_received(rest)


def _spoken(session: Session) -> str:
    """Which SDK it is and how it speaks, for people: `js 8.6.0 V1 json`."""
    protocol, frames = ("V2", session.shape.label) if session.shape.v2 else ("V1", "json")
    return " ".join(word for word in (*session.sdk, protocol, frames) if word)
