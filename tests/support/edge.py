"""The edge without sockets: a transport that records, and every service behind it on a clock by hand."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sockudo.apps.live import LiveApp
from sockudo.base.spans import Tracer
from sockudo.cluster.counters import InProcessCounters
from sockudo.cluster.in_process import join_network
from sockudo.cluster.nodes import NodeReport, Nodes
from sockudo.cluster.router import Router
from sockudo.config import Settings
from sockudo.dashboard.answers import answer_operators
from sockudo.edge.api import api_routes
from sockudo.edge.context import Edge
from sockudo.edge.cors import Cors
from sockudo.edge.front import Front
from sockudo.edge.held_replies import HeldReplies
from sockudo.edge.history import history_routes
from sockudo.edge.http_protocol import HttpProtocol
from sockudo.edge.inspector import inspector_routes
from sockudo.edge.lane import Lane
from sockudo.edge.listeners import asgi_config
from sockudo.edge.operations import operations_routes
from sockudo.edge.presence_history import presence_history_routes
from sockudo.edge.publishing import publish_reply
from sockudo.edge.reach import Reach
from sockudo.edge.traced import TracedFront, traced_publish_reply
from sockudo.edge.websocket import WebSocketProtocol
from sockudo.hub import HubOptions
from sockudo.limits.ip import IpLimits
from sockudo.monitoring.health import HealthChecks
from sockudo.monitoring.tails import Tails
from sockudo.push.http.publishing import push_lane
from sockudo.push.wing import push_routes
from sockudo.sessions import Session
from sockudo.webhooks.routes import webhook_routes
from support.inside import Node, credentials
from support.signing import signed_query
from support.websocket import CLOSE, TEXT, frame, handshake
from support.wire import server_frames

__all__ = [
    "REPORT",
    "EdgeNode",
    "LoneNode",
    "RecordingTransport",
    "Response",
    "Socket",
    "Wire",
    "nodes_of",
    "request",
    "settings",
]


def settings(**sections: Mapping[str, Any] | Any) -> Settings:
    """Settings with limits by address switched off; a mapping changes single keys of its section."""
    made = Settings()
    changes: dict[str, Any] = {"rate_limiter": {"enabled": False}, **sections}
    for name, value in changes.items():
        whole = msgspec.structs.replace(getattr(made, name), **value) if isinstance(value, Mapping) else value
        made = msgspec.structs.replace(made, **{name: whole})
    return made


_UNLIMITED = settings()
JSON_BODY = {"Content-Type": "application/json"}


class RecordingTransport(asyncio.Transport):
    """Remembers what is written and done; nothing is ever sent anywhere."""

    def __init__(self, peer: tuple[str, int] = ("10.0.0.7", 40_000), *, can_write_eof: bool = True) -> None:
        super().__init__()
        self._can_write_eof = can_write_eof
        self.sent = bytearray()
        self.writes: list[bytes] = []
        self.closed = False
        self.aborted = False
        self.eof = False
        self.reading = True
        self.limit: int | None = None
        self.protocol: asyncio.BaseProtocol | None = None
        self._peer = peer

    def write(self, data: Any) -> None:
        assert not self.closed, "written after the end"
        assert not self.eof, "written after our side's end"
        self.writes.append(bytes(data))
        self.sent += data

    @property
    def ended(self) -> bool:
        """Nothing more will be sent; whether the other side may still be heard or not."""
        return self.closed or self.eof

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def can_write_eof(self) -> bool:
        return self._can_write_eof

    def write_eof(self) -> None:
        self.eof = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limit = high

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self.protocol is not None
        return self.protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self._peer, "sockname": ("10.0.0.1", 80)}.get(name, default)


@dataclass
class Response:
    """One HTTP reply."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of the error envelope, once its fields have been checked."""
        envelope = self.json()
        assert envelope["status"] == self.status
        assert set(envelope) >= {"error", "code", "status", "docs"}
        assert self.headers["content-type"] == "application/json"
        return str(envelope["error"])


class Wire:
    """One connection to the edge: bytes in, replies out."""

    def __init__(
        self,
        node: EdgeNode,
        *,
        peer: tuple[str, int] = ("10.0.0.7", 40_000),
        unix: bool = False,
        can_write_eof: bool = True,
    ) -> None:
        self.node = node
        self.transport = RecordingTransport(peer, can_write_eof=can_write_eof)
        self.http = HttpProtocol(node.edge, unix=unix)
        self.transport.set_protocol(self.http)
        self.http.connection_made(self.transport)

    def feed(self, *chunks: bytes) -> None:
        """Hands over each chunk as one read."""
        for chunk in chunks:
            if self.transport.closed:
                return
            self.transport.get_protocol().data_received(chunk)  # type: ignore[attr-defined]

    async def settle(self) -> None:
        """Lets every request that is under way finish."""
        for _ in range(1000):
            if not self.node.edge.state.tasks:
                return
            await asyncio.sleep(0)
        raise AssertionError("a request does not finish")

    def lose(self) -> None:
        """The connection is gone."""
        self.transport.closed = True
        self.transport.get_protocol().connection_lost(None)  # type: ignore[attr-defined]

    def replies(self) -> list[Response]:
        """Every reply since the last look, as if the turn had ended; what follows a 101 is left."""
        self.node.edge.replies.flush()
        found = []
        while self.transport.sent:
            head, mark, rest = bytes(self.transport.sent).partition(b"\r\n\r\n")
            assert mark, "half a reply"
            line, *fields = head.decode("latin-1").split("\r\n")
            headers: dict[str, str] = {}
            for field in fields:
                name, _, value = field.partition(": ")
                assert name.lower() not in headers, f"{name} twice"
                headers[name.lower()] = value
            status = int(line.split(" ")[1])
            size = int(headers.get("content-length", "0"))
            found.append(Response(status, headers, rest[:size]))
            self.transport.sent[:] = rest[size:]
            if status == 101:
                break
        return found

    def reply(self) -> Response:
        """The one reply since the last look."""
        [found] = self.replies()
        return found

    async def ask(self, *chunks: bytes) -> Response:
        """Feeds a request, waits for its end and returns the reply."""
        self.feed(*chunks)
        await self.settle()
        return self.reply()


class Socket(Wire):
    """A connection that became a WebSocket, or tries to."""

    def upgrade(
        self,
        target: str = "/app/key-app?protocol=7",
        headers: Mapping[str, str | None] | None = None,
        rest: bytes = b"",
    ) -> Response:
        """Sends a handshake, with ``rest`` behind it in the same read, and returns the reply."""
        self.feed(handshake(target, headers) + rest)
        return self.reply()

    def greet(self, **options: Any) -> str:
        """Upgrades, reads the greeting and returns the socket id."""
        assert self.upgrade(**options).status == 101
        [greeting] = self.events()
        assert greeting["event"] == "pusher:connection_established"
        return str(json.loads(greeting["data"])["socket_id"])

    @property
    def websocket(self) -> WebSocketProtocol:
        found = self.transport.get_protocol()
        assert isinstance(found, WebSocketProtocol)
        return found

    @property
    def session(self) -> Session:
        found = self.websocket._session
        assert found is not None
        return found

    def say(self, event: str, data: Any = None) -> None:
        """One text frame with an event."""
        self.feed(frame(json.dumps({"event": event, "data": data})))

    def frames(self) -> list[tuple[int, bytes]]:
        """(first byte, payload) of every frame since the last look, after the turn has ended."""
        self.node.settle()
        data = bytes(self.transport.sent)
        self.transport.sent.clear()
        return list(server_frames(data))

    def events(self) -> list[dict[str, Any]]:
        """The events among these frames, all of which must be texts."""
        frames = self.frames()
        assert all(first == 0x80 | TEXT for first, _ in frames), frames
        return [json.loads(payload) for _, payload in frames]

    def goodbye(self) -> tuple[list[tuple[int, str]], tuple[int, str]]:
        """Codes and messages of the error frames, and of the one close frame after them."""
        *before, (first, payload) = self.frames()
        assert first == 0x80 | CLOSE
        told = [json.loads(text)["data"] for _, text in before]
        return [(data["code"], data["message"]) for data in told], (
            int.from_bytes(payload[:2], "big"),
            payload[2:].decode(),
        )


REPORT = NodeReport(
    version="1.0",
    at=1000.0,
    started_at=940.0,
    connections=7,
    channels=3,
    cpu=0.25,
    memory=1 << 20,
    loop_lag_ms=1.5,
    round_trip_ms=0.0,
    versions=(100, 101),
    unreadable=0,
    draining=False,
    role="default",
    address="http://10.0.0.1:6001",
    uses={"apps": "sqlite"},
)
"""What a node tells."""


class LoneNode:
    """A node that writes down how long it was to drain."""

    def __init__(self, report: NodeReport = REPORT) -> None:
        self.drained: list[float] = []
        self.drains = True
        self._report = report

    def report(self) -> NodeReport:
        return self._report

    def drain(self, seconds: float) -> bool:
        self.drained.append(seconds)
        return self.drains


def nodes_of(node: Node, this: LoneNode | None = None) -> Nodes:
    """What operators ask of a node without sockets, which is ``lone`` among nodes."""
    bus, membership = join_network(lambda callback: None, name="lone")
    router = Router()
    bus.attach(router)
    answer_operators(router, node.gateway, node.view, node.clock)
    return Nodes(bus, membership, router, this or LoneNode(), node.clock.time)


def _server_routes(node: EdgeNode) -> list[Route]:
    edge, parts = node.edge, node.components
    return [
        *api_routes(edge, node.bus, node.cluster_directory),
        *history_routes(edge, parts.history),
        *presence_history_routes(edge, parts.presence_history),
        *push_routes(edge, parts.push_services),
        *webhook_routes(edge, parts.webhooks),
        *inspector_routes(edge, node.tails, nodes_of(node)),
        *operations_routes(edge, node.health, node.view, parts.history, parts.presence_history),
    ]


class EdgeNode(Node):
    """A node with its edge. ``routes`` come on top of the server's own."""

    def __init__(
        self,
        *apps: LiveApp,
        settings: Settings | None = None,
        options: HubOptions | None = None,
        routes: list[Route] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        super().__init__(*apps, settings=settings or _UNLIMITED, options=options)

        @functools.cache
        def front() -> Front | TracedFront:
            """Made for the first request: most that is asked of a node needs none of its hundred routes."""
            made = Front(self.edge, [*_server_routes(self), *(routes or ())])
            return made if tracer is None else TracedFront(self.edge, made, tracer)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await front()(scope, receive, send)

        self.edge = Edge(
            gateway=self.gateway,
            events=self.event_api(),
            apps=self.apps,  # type: ignore[arg-type]
            rates=self.rates,
            clock=self.clock,
            settings=self.settings,
            limits=IpLimits(self.settings.rate_limiter, InProcessCounters()),
            reach=Reach.of_clients(self.settings),
            cors=Cors(self.settings),
            uvicorn=asgi_config(application),
            replies=HeldReplies(self.turns.append),
            tracer=tracer,
            answer=publish_reply if tracer is None else functools.partial(traced_publish_reply, tracer),
        )
        self.edge.lane = Lane(push_lane(self.edge, self.components.push_services))
        self.tails = Tails(self.gateway.inspector, lambda: self.gateway.draining)
        self.health = HealthChecks(self.apps, lambda: self.gateway.draining, lambda: 1.0)
        self.edge.tell_time()

    def wire(self, **options: Any) -> Wire:
        return Wire(self, **options)

    def socket(self, **options: Any) -> Socket:
        return Socket(self, **options)

    def target(self, method: str, path: str, body: bytes = b"", *, app: LiveApp | None = None, **params: str) -> str:
        """Path and query of a request that the app has signed now."""
        now = int(self.clock.time())
        signed_by = credentials(app or self.app)
        return f"{path}?{signed_query(signed_by, method, path.rstrip('/'), params=params, body=body, timestamp=now)}"

    async def signed(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        app: LiveApp | None = None,
        headers: Mapping[str, str] | None = None,
        **params: str,
    ) -> Response:
        """The reply to a signed request; a ``body`` that is not bytes is sent as JSON."""
        text = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Content-Length": str(len(text)), **({} if body is None else JSON_BODY), **(headers or {})}
        target = self.target(method, path, text, app=app, **params)
        return await self.wire().ask(request(method, target, fields) + text)

    def publish(
        self,
        body: Any,
        *,
        app: LiveApp | None = None,
        path: str | None = None,
        headers: Mapping[str, str] | None = None,
        change: Callable[[bytes], bytes] = lambda head: head,
    ) -> bytes:
        """A signed publish as bytes. ``change`` may spoil its head."""
        app = app or self.app
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = path or f"/apps/{app.id}/events"
        fields = {**JSON_BODY, "Content-Length": str(len(text)), **(headers or {})}
        return change(request("POST", self.target("POST", path, text, app=app), fields)) + text


def request(method: str, target: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The head of a request with a Host header."""
    lines = [f"{method} {target} HTTP/1.1", "Host: sockudo.test"]
    lines.extend(f"{name}: {value}" for name, value in (headers or {}).items())
    return "\r\n".join((*lines, "", "")).encode()
