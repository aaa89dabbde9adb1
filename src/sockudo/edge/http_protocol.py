"""HTTP connections: uvicorn's protocol with our limits, the express lane for publishes, and the way to WebSocket.

The express lane
----------------

A publish to a plain channel has nothing to wait for, so it is answered from within the parser's callback, without a
task or a scope; every other request takes uvicorn's way to the web framework. Both call
`sockudo.edge.publishing.publish_reply`, so that they cannot drift apart. A request takes the lane only if nothing else is
under way on its connection; otherwise it queues behind the others like any request.

This module is the only one that relies on uvicorn's internals; `tests/unit/edge/test_uvicorn_touchpoint.py` fails
loudly when a new version moves them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sockudo import errors
from sockudo.edge.address import client_address
from sockudo.edge.admission import upgrade
from sockudo.edge.proxy_protocol import parse as parse_proxy_header
from sockudo.edge.publishing import publish_reply
from sockudo.edge.replies import Reply, error_reply, render
from sockudo.errors import SockudoError

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["HttpProtocol"]

_MAX_TARGET = 64 * 1024
_MAX_HEADERS = 100
_MAX_HEAD = 128 * 1024
# Publishers keep connections open between events; many SDKs give up on theirs after 60 s.
_IDLE_SECONDS = 90.0
_REQUEST_SECONDS = 60.0

_PUBLISH = re.compile(rb"/apps/([^/?]+)/(events|batch_events)/?(?:\?(.*))?", re.DOTALL)

_log = structlog.get_logger("sockudo.http")


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection, until it ends or becomes a WebSocket."""

    def __init__(self, edge: Edge, *, unix: bool = False, secure: bool = False) -> None:
        super().__init__(edge.uvicorn, edge.state, {})
        self.edge = edge
        self.unix = unix
        self._secure = secure
        self._proxy_bytes: bytes | None = b"" if edge.settings.proxy_protocol else None
        self._active_at = edge.clock.monotonic()
        # When the request that is arriving began; None between requests.
        self._begun_at: float | None = None
        self._in_head = False
        self._head_size = 0
        self._body_size = 0
        self._body_limit = edge.settings.http_api.request_limit_in_mb * 1024 * 1024
        self._refused: SockudoError | None = None
        # The parts of a publish that takes the express lane: app id, which endpoint, query, headers; then its body.
        self._lane: tuple[str, bool, bytes | None, dict[bytes, bytes]] | None = None
        self._lane_body = b""

    # ---- bytes in ----

    def data_received(self, data: bytes) -> None:
        self._active_at = self.edge.clock.monotonic()
        if self._proxy_bytes is not None:
            rest = self._read_proxy_header(data)
            if rest is None:
                return
            data = rest
        self._unset_keepalive_if_required()
        if self._refused is not None:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            self._leave_for_websocket(data[pause.args[0] :])
            return
        except httptools.HttpParserCallbackError as problem:
            if self._refused is None:
                raise problem.__context__ or problem from None
        except httptools.HttpParserError:
            self._refused = errors.MALFORMED_REQUEST()
        if self._in_head and self._refused is None:
            self._head_size += len(data)
            if self._head_size > _MAX_HEAD:
                self._refused = errors.HEADERS_TOO_LARGE()
        if self._refused is not None:
            self._send_refusal(self._refused)

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

    def _send_refusal(self, error: SockudoError) -> None:
        """Answers what cannot be served and closes: after a broken request nothing more can be told apart."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(render(error_reply(error), self.edge.common_head, close=True))
        self.transport.close()

    def _stop(self, error: SockudoError) -> None:
        """Ends parsing from within a callback."""
        self._refused = error
        raise error

    # ---- the parser's callbacks ----

    def on_message_begin(self) -> None:
        self._begun_at = self._active_at
        self._in_head = True
        self._head_size = self._body_size = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > _MAX_TARGET:
            self._stop(errors.URI_TOO_LONG(f"The request target is over {_MAX_TARGET} bytes long"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))
        if len(self.headers) > _MAX_HEADERS:
            self._stop(errors.HEADERS_TOO_LARGE(f"The request has more than {_MAX_HEADERS} headers"))

    def on_headers_complete(self) -> None:
        self._in_head = False
        headers = dict(self.headers)
        parser = self.parser
        version = parser.get_http_version()
        self._check_head(headers, version)
        method = parser.get_method()
        if method == b"POST" and version == "1.1" and self._free and b"expect" not in headers:
            publish = _PUBLISH.fullmatch(self.url)
            if publish is not None and not parser.should_upgrade():
                app_id, endpoint, query = publish.groups()
                self._lane = (app_id.decode("latin-1"), endpoint == b"batch_events", query, headers)
                self._lane_body = b""
                return
        self._start_scope(method, version)
        if parser.should_upgrade() and self._should_upgrade():
            return
        super().on_headers_complete()

    @property
    def _free(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.pipeline

    def _check_head(self, headers: dict[bytes, bytes], version: str) -> None:
        if version not in ("1.1", "1.0"):
            self._stop(errors.MALFORMED_REQUEST("Only HTTP/1.1 and HTTP/1.0 are served"))
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts != 1 and (version == "1.1" or hosts > 1):
            self._stop(errors.MALFORMED_REQUEST("An HTTP/1.1 request needs exactly one Host header"))
        length = headers.get(b"content-length")
        if length is not None:
            if b"transfer-encoding" in headers:
                self._stop(errors.MALFORMED_REQUEST("A request must not have both Content-Length and Transfer-Encoding"))
            if len(length) > 15 or int(length) > self._body_limit:
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
            "state": {},
            "method": method.decode("ascii"),
        }  # type: ignore[typeddict-item]  # path and query are filled in by uvicorn

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > self._body_limit:
            self._stop(self._too_large())
        if self._lane is not None:
            self._lane_body = self._lane_body + body if self._lane_body else body
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._begun_at = None
        if self._lane is None:
            super().on_message_complete()
            return
        (app_id, batch, query, headers), self._lane = self._lane, None
        body, self._lane_body = self._lane_body, b""
        self._answer_publish(app_id, batch, query, headers, body)

    # ---- the express lane ----

    def _answer_publish(
        self, app_id: str, batch: bool, query: bytes | None, headers: dict[bytes, bytes], body: bytes
    ) -> None:
        edge = self.edge
        extra = edge.cors.headers(headers.get(b"origin"))
        reply: Reply | None = None
        if edge.limits.enabled:
            verdict = edge.limits.api(self.address(), self._active_at)
            if verdict is not None:
                extra = [*extra, *edge.limits.headers(verdict)]
                if not verdict.allowed:
                    reply = error_reply(edge.limits.refusal(verdict))
        if reply is None:
            path = self.url.partition(b"?")[0].removesuffix(b"/")
            reply = publish_reply(
                edge, batch=batch, app_id=app_id, raw_path=path, query=query, headers=headers, body=body
            )
        close = not self.parser.should_keep_alive()
        answer = reply._replace(headers=[*extra, *reply.headers])
        self.transport.write(render(answer, edge.common_head, close=close))
        if close:
            self.transport.close()

    def address(self) -> str:
        """The client's address, through the proxies that are trusted."""
        return client_address(self.client, self.headers, self.edge.limits.api_trust_hops, unix=self.unix)

    # ---- leaving, idling, failing ----

    def _should_upgrade(self) -> bool:
        """uvicorn asks this wherever an upgrade takes another way; it knows no WebSocket class of ours."""
        return self._get_upgrade() == b"websocket"

    def _leave_for_websocket(self, rest: bytes) -> None:
        if not self._free:
            # An upgrade pipelined behind a request would overtake its answer.
            self._send_refusal(errors.MALFORMED_REQUEST("An upgrade must not be pipelined behind another request"))
            return
        if not self._should_upgrade():
            if self.cycle is not None:
                self.cycle.keep_alive = False
            return
        reply = upgrade(self, rest)
        if reply is not None:
            self.transport.write(render(reply, self.edge.common_head, close=True))
            self.transport.close()

    def release(self) -> None:
        """Forgets what ties this object to the connection once another protocol has taken over."""
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        self.parser = None
        self.cycle = None  # type: ignore[assignment]
        self.scope = None  # type: ignore[assignment]
        self.flow = None  # type: ignore[assignment]

    def close_if_idle(self, now: float) -> None:
        """Closes a connection that is silent between requests or does not get a request across in time."""
        if self._begun_at is not None:
            if now - self._begun_at > _REQUEST_SECONDS:
                self._refused = errors.REQUEST_TIMEOUT()
                self._send_refusal(self._refused)
        elif self._free and now - self._active_at > _IDLE_SECONDS:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._send_refusal(errors.MALFORMED_REQUEST(msg))
