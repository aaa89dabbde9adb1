"""HTTP connections: uvicorn's protocol with our limits, the express lane for publishes, and the way to WebSocket.

The express lane
----------------

A publish to a plain channel has nothing to wait for, so it is answered from within the parser's callback, without a
task or a scope, and one to a durable channel is answered when its commit has ended; every other request takes uvicorn's
way to the web framework. Both call `sockudo.edge.publishing.publish_reply`, so that they cannot drift apart. So do
what wings entered in `sockudo.edge.lane`, unless it is traced. A request takes the lane only if nothing else is under
way on its connection; otherwise it queues behind the others like any request.

This module is the only one that relies on uvicorn's internals; `tests/unit/edge/test_uvicorn_touchpoint.py` fails
loudly when a new version moves them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from sockudo import errors
from sockudo.edge.admission import asks_for_websocket, upgrade
from sockudo.edge.app_connection import WhileOpen
from sockudo.edge.awaited import AwaitedReply
from sockudo.edge.http_connection import HttpConnection
from sockudo.edge.http_head import MAX_HEADERS, MAX_TARGET, check_head, target_too_long
from sockudo.edge.lane import LanePublish
from sockudo.edge.proxy_protocol import parse as parse_proxy_header
from sockudo.edge.publishing import finished_reply
from sockudo.edge.refusals import garbled, note_connection, refused_publish
from sockudo.edge.replies import PLAIN_OK, Refusal, Reply, error_reply, render
from sockudo.edge.traced import traced_refusal
from sockudo.edge.unfinished import UNSIGNED_BYTES, check_signed_head
from sockudo.errors import SockudoError
from sockudo.limits.address import client_address

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["HttpProtocol"]

# Publishers keep connections open between events; many SDKs give up on theirs after 60 s.
_IDLE_SECONDS = 90.0
_REQUEST_SECONDS = 60.0
# How long a client may go on sending what was refused: it reads the refusal only after that.
_LINGER_SECONDS = 5.0

# Headers that send a publish the long way round.
_NOT_PLAIN = frozenset((b"expect", b"transfer-encoding", b"upgrade"))

_log = structlog.get_logger("sockudo.http")


class HttpProtocol(HttpConnection):
    """One HTTP connection, until it ends or becomes a WebSocket."""

    __slots__ = (
        "_active_at",
        "_begun_at",
        "_body_counted",
        "_body_limit",
        "_body_size",
        "_cut_at",
        "_ended",
        "_head_is_signed",
        "_lane",
        "_lane_body",
        "_proxy_bytes",
        "_secure",
        "edge",
        "unix",
    )

    def __init__(self, edge: Edge, *, unix: bool = False, secure: bool = False) -> None:
        super().__init__(edge.uvicorn, edge.state)
        self.edge = edge
        self.unix = unix
        self._secure = secure
        self._proxy_bytes: bytes | None = b"" if edge.settings.proxy_protocol and not unix else None
        self._active_at = edge.clock.monotonic()
        # When the request that is arriving began; None between requests.
        self._begun_at: float | None = None
        # When the connection is cut after a refusal; None while nothing was refused.
        self._cut_at: float | None = None
        self._body_size = 0
        # As much of it as `edge.bodies` counts, and whether the signature of the unfinished request was right.
        self._body_counted = 0
        self._head_is_signed = False
        self._body_limit = edge.settings.http_api.request_limit_in_mb * 1024 * 1024
        # The client has ended its side while an answer was due.
        self._ended = False
        # The publish that takes the express lane, once its head has arrived; then its body, in one piece or several.
        self._lane: LanePublish | None = None
        self._lane_body: bytes | bytearray = b""

    # ---- bytes in ----

    def data_received(self, data: bytes) -> None:
        self._active_at = self.edge.clock.monotonic()
        if self._proxy_bytes is not None:
            rest = self._read_proxy_header(data)
            if rest is None:
                return
            data = rest
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        self._take(data)

    def _read_proxy_header(self, data: bytes) -> bytes | None:
        """Takes the PROXY protocol header off the front; None while it has not arrived whole."""
        self._proxy_bytes = (self._proxy_bytes or b"") + data
        try:
            parsed = parse_proxy_header(self._proxy_bytes)
        except ValueError as problem:
            _log.warning("connection without a valid PROXY header closed", problem=str(problem))
            self.transport.abort()
            return None
        if parsed is None:
            return None
        rest = self._proxy_bytes[parsed.consumed :]
        self._proxy_bytes = None
        if parsed.source is not None:
            self.client = parsed.source
        return rest or None

    def _garbled(self, data: bytes) -> SockudoError:
        return garbled(data)

    def _note(self, error: SockudoError) -> None:
        note_connection(self, Refusal.of(error))

    def _look_at_unfinished(self) -> None:
        try:
            if self._body_size > UNSIGNED_BYTES and not self._head_is_signed:
                edge = self.edge
                method = self.parser.get_method()
                check_signed_head(edge.apps, method, self.url, now=edge.clock.time(), may_explain=edge.may_explain)
                self._head_is_signed = True
            self.edge.bodies.grow(self._body_size - self._body_counted)
            self._body_counted = self._body_size
        except SockudoError as error:
            # Its traceback leads back to this object, which nothing would then free but the garbage collector.
            self._refused = error.with_traceback(None)

    def _forget_body(self) -> None:
        if self._body_counted:
            self.edge.bodies.shrink(self._body_counted)
            self._body_counted = 0
        self._head_is_signed = False

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio asks; uvicorn has nothing to say
        """The client has ended its side; a publish that waits for its commit is answered all the same."""
        self.edge.replies.flush()
        due: object = self.cycle
        self._ended = isinstance(due, AwaitedReply) and not due.response_complete
        return self._ended and not self._secure

    def _say_last(self, reply: Reply) -> None:
        self.edge.replies.flush()
        super()._say_last(reply)

    def _end_our_side(self) -> None:
        super()._end_our_side()
        self._lane, self._lane_body = None, b""
        self._forget_body()
        self._cut_at = self._active_at + _LINGER_SECONDS

    def _common_head(self) -> bytes:
        return self.edge.common_head

    def on_response_complete(self) -> None:
        # What was held arrives only now, as far as the time of a request is concerned.
        self._active_at = self.edge.clock.monotonic()
        super().on_response_complete()
        if self._ended and self._free and not self._held and not self.transport.is_closing():
            self.edge.replies.flush()
            self.transport.close()

    # ---- the parser's callbacks ----

    def on_message_begin(self) -> None:
        self._begun_at = self._active_at
        self._arriving = self._in_head = self._moved = True
        self._body_size = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > MAX_TARGET:
            self._stop(target_too_long())

    def on_headers_complete(self) -> None:
        self._in_head = False
        headers = dict(self.headers)
        publish = self._plain_publish(headers)
        if publish is not None:
            self._lane = publish
            self._lane_body = b""
            self.edge.replies.expect()
            return
        parser = self.parser
        version = parser.get_http_version()
        self._check_head(headers, version)
        if parser.should_upgrade():
            if b"upgrade" not in headers:
                self._stop(errors.METHOD_NOT_ALLOWED("CONNECT is not served"))
            # Goes on in _parse: as a WebSocket, or once more from the start without its Upgrade header.
            self._start_scope(parser.get_method(), version)
            return
        self._start_scope(parser.get_method(), version)
        super().on_headers_complete()
        self.cycle.transport = WhileOpen(self.transport)  # type: ignore[assignment]  # all that a cycle uses of it

    def _plain_publish(self, headers: dict[bytes, bytes]) -> LanePublish | None:
        """What is needed to answer this request on the express lane; None if it has to take the other way.

        Anything out of the ordinary goes the other way, where it is examined and refused if need be.
        """
        path, mark, query = self.url.partition(b"?")
        edge = self.edge
        route = edge.lane.route(path)
        parser = self.parser
        if route is None or parser.get_method() != b"POST" or not self._free:
            return None
        kind = route[0]
        if not (isinstance(kind, bool) or (edge.tracer is None and kind.is_open())):
            return None
        if not len(headers) == len(self.headers) <= MAX_HEADERS or not headers.keys().isdisjoint(_NOT_PLAIN):
            return None
        if not (edge.reach.open or edge.reach.passes(headers)):
            return None
        if b"host" not in headers or int(headers.get(b"content-length", b"0")) > self._body_limit:
            return None
        # Without a Connection header only HTTP/1.1 keeps a connection open.
        if (b"connection" in headers or not parser.should_keep_alive()) and parser.get_http_version() != "1.1":
            return None
        return LanePublish(kind, route[1], path.removesuffix(b"/"), query if mark else None, headers)

    def _check_head(self, headers: dict[bytes, bytes], version: str) -> None:
        try:
            check_head(self.url, self.headers, headers, version)
            if not self.edge.reach.open:
                self.edge.reach.check(headers, upgrade=self._should_upgrade())
        except SockudoError as error:
            self._stop(error)
        length = headers.get(b"content-length")
        if length is not None and (len(length) > 15 or int(length) > self._body_limit):
            self._stop(self._too_large())

    def _too_large(self) -> SockudoError:
        return errors.BODY_TOO_LARGE(f"The request body is over {self._body_limit} bytes")

    def _start_scope(self, method: bytes, version: str) -> None:
        self.expect_100_continue = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers
        )
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": "https" if self._secure else "http",
            "root_path": "",
            "headers": self.headers,
            # `has_query`: the query string of a scope is the same for `/path?` and `/path`. `abort`: see
            # `sockudo.monitoring.event_stream`.
            "state": {"has_query": b"?" in self.url, "abort": self.transport.abort},
            "method": method.decode("ascii"),
        }  # type: ignore[typeddict-item]  # path and query are filled in by uvicorn

    def on_body(self, body: bytes) -> None:
        self._moved = True
        self._body_size += len(body)
        if self._body_size > self._body_limit:
            self._stop(self._too_large())
        if self._lane is None:
            super().on_body(body)
        elif not self._lane_body:
            self._lane_body = body
        else:
            if isinstance(self._lane_body, bytes):
                self._lane_body = bytearray(self._lane_body)
            self._lane_body += body

    def on_message_complete(self) -> None:
        self._begun_at = None
        if self._body_counted:
            self._forget_body()
        publish = self._lane
        if publish is None:
            super().on_message_complete()
            return
        self._moved, self._arriving = True, False
        body, self._lane, self._lane_body = bytes(self._lane_body), None, b""
        self._answer_publish(publish, body)

    # ---- the express lane ----

    def _answer_publish(self, publish: LanePublish, body: bytes) -> None:
        edge = self.edge
        extra: list[tuple[bytes, bytes]] = []
        reply: Reply | asyncio.Future[Any] | None = None
        if edge.limits.counts_requests:
            verdict = edge.limits.hit("api", self.address(), self._active_at)
            if verdict is not None:
                extra = edge.limits.headers(verdict)
                if not verdict.allowed:
                    reply = error_reply(edge.limits.refusal(verdict, "api"))
                    if isinstance(publish.batch, bool):
                        traced_refusal(edge, reply, *publish)  # type: ignore[arg-type]  # it is one of events
        if reply is None:
            kind = publish.batch
            reply = edge.answer(edge, *publish, body) if isinstance(kind, bool) else kind.answer(*publish[1:], body)
        close = not self.parser.should_keep_alive()
        if isinstance(reply, Reply):
            self._write_publish(publish, reply, extra, close=close)
            return

        def answer(done: asyncio.Future[Any]) -> None:
            if not self.transport.is_closing():
                self._write_publish(publish, finished_reply(done), extra, close=close or not awaited.keep_alive)
            self.on_response_complete()

        awaited = AwaitedReply(reply, answer)
        self.cycle = awaited  # type: ignore[assignment]  # as much of a request cycle as uvicorn looks at

    def _write_publish(
        self, publish: LanePublish, reply: Reply, extra: list[tuple[bytes, bytes]], *, close: bool
    ) -> None:
        edge = self.edge
        if reply is PLAIN_OK and edge.plain_ok is not None and not close:
            edge.replies.put(self.transport, edge.plain_ok)
            return
        if reply.refusal is not None:
            reply = refused_publish(edge, reply, publish, self.address())
        headers = [*edge.cors.headers(publish.headers.get(b"origin")), *extra, *reply.headers]
        edge.replies.put(self.transport, render(reply._replace(headers=headers), edge.common_head, close=close))
        if close:
            edge.replies.flush()
            self.transport.close()

    def address(self) -> str:
        """The client's address, through the proxies that are trusted."""
        return client_address(self.client, self.headers, self.edge.limits.api_trust_hops, unix=self.unix)

    # ---- leaving, idling, failing ----

    def _should_upgrade(self) -> bool:
        """uvicorn asks this wherever an upgrade takes another way; it knows no WebSocket class of ours."""
        return asks_for_websocket(self.headers)

    def _leave_for_websocket(self, rest: bytes) -> None:
        if not self._free:
            # An upgrade pipelined behind a request would overtake its answer.
            self._send_refusal(errors.MALFORMED_REQUEST("An upgrade must not be pipelined behind another request"))
            return
        self.edge.replies.flush()
        reply = upgrade(self, rest)
        if reply is not None:
            self._say_last(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget_body()

    def shutdown(self) -> None:
        """The server stops, and with it this connection once nothing is under way."""
        self.edge.replies.flush()
        super().shutdown()

    def release(self) -> None:
        """Forgets what ties this object to the connection once another protocol has taken over."""
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        self.parser = None  # type: ignore[assignment]
        self.cycle = None  # type: ignore[assignment]
        self.scope = None  # type: ignore[assignment]
        self.flow = None  # type: ignore[assignment]

    def close_if_idle(self, now: float) -> None:
        """Closes a connection that is silent between requests or does not get a request across in time."""
        if self._cut_at is not None:
            if now >= self._cut_at:
                self.transport.abort()
        elif self._begun_at is not None:
            if now - self._begun_at > _REQUEST_SECONDS:
                self._send_refusal(errors.REQUEST_TIMEOUT())
        elif self._free and now - self._active_at > _IDLE_SECONDS:
            if self.flow.write_paused:
                # It has not read its answers for so long that it never will.
                self.transport.abort()
            else:
                self.transport.close()
