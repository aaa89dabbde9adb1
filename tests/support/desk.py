"""The dashboard without sockets: its application over a node on a clock by hand, called as a server would."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.routing import Route

from sockudo.base.loop_watch import LoopWatch
from sockudo.cluster.in_process import join_network
from sockudo.cluster.readiness import Readiness
from sockudo.dashboard.access import Gate
from sockudo.dashboard.app import dashboard_routes
from sockudo.dashboard.board import Board
from sockudo.dashboard.replies import error_reply
from sockudo.dashboard.routing import Pages
from sockudo.push.dashboard.area import push_area
from sockudo.webhooks.dashboard.area import webhook_area
from support.edge import REPORT, EdgeNode, LoneNode, nodes_of, settings
from support.server import Reply

__all__ = ["PASSWORD", "REPORT", "Call", "Desk", "LoneNode", "Visitor", "board_of"]

PASSWORD = "a password for tests"
FORM = "application/x-www-form-urlencoded"


@dataclass
class Call:
    """One request, while it is answered. ``abort`` of its connection counts as having left."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    over: bool = False
    # Pieces of the body that the application has not asked for.
    unread: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    # Set while the client reads; a send waits for it.
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def reply(self) -> Reply:
        return Reply(self.status, dict(self.headers), bytes(self.body))


def board_of(node: EdgeNode, watch: LoopWatch | None = None, this: LoneNode | None = None) -> Board:
    """The dashboard's view of a node without sockets, which is ``lone`` among nodes."""
    parts = node.components
    nodes = nodes_of(node, this)
    return Board(
        apps=node.edge.apps,
        gateway=node.gateway,
        view=node.view,
        clock=node.clock,  # type: ignore[arg-type]  # a clock by hand
        events=node.edge.events,
        limits=node.edge.limits,
        health=node.health,
        history=parts.history,
        presence_history=parts.presence_history,
        tails=node.tails,
        apply_changes=lambda _: None,
        nodes=nodes,
        readiness=Readiness(join_network(lambda callback: None)[1], "", lambda: 0.0),
        areas=[webhook_area(parts.webhooks), push_area(parts.push_services)],
        loop=watch or LoopWatch(),
    )


class Desk:
    """The application. ``routes`` come on top of the dashboard's own; ``dashboard`` are keys of its settings."""

    def __init__(self, routes: Sequence[Route] = (), **dashboard: Any) -> None:
        self.node = EdgeNode(settings=settings(dashboard={"password": PASSWORD, **dashboard}))
        self.clock = self.node.clock
        self.lone = LoneNode()
        self.board = board_of(self.node, this=self.lone)
        self.routes = dashboard_routes(self.board)
        self.app = Gate(self.board, Pages([*self.routes, *routes], partial(error_reply, self.board)))

    def configure(self, **dashboard: Any) -> None:
        """Another configuration is in force, as after a reload."""
        self.node.edge.settings = self.node.gateway.settings = settings(dashboard=dashboard)

    def start(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        chunks: Sequence[bytes] | None = None,
        client: tuple[str, int] | None = ("192.0.2.7", 40_000),
        scheme: str = "http",
    ) -> Call:
        """Begins a request; the answer comes with the turns of the loop."""
        path, _, query = target.partition("?")
        call = Call()
        call.reads.set()
        pieces = list(chunks or [body])
        call.unread = len(pieces)
        sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]

        async def receive() -> dict[str, Any]:
            if pieces:
                call.unread -= 1
                return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
            await call.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await call.reads.wait()
            if message["type"] == "http.response.start":
                call.status = message["status"]
                call.headers = [(name.decode().lower(), value.decode("latin-1")) for name, value in message["headers"]]
            else:
                call.body += message.get("body", b"")
                call.over = not message.get("more_body", False)

        def abort() -> None:
            call.gone.set()
            # What is sent to a connection that is lost goes nowhere, at once.
            call.reads.set()

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "scheme": scheme,
            "client": client,
            "headers": [(b"host", b"dashboard.test:9601"), *sent],
            "state": {"abort": abort},
        }
        call.task = asyncio.ensure_future(self.app(scope, receive, send))
        return call

    async def ask(self, *arguments: Any, **options: Any) -> Reply:
        """A request and its whole answer."""
        call = self.start(*arguments, **options)
        assert call.task is not None
        await asyncio.wait_for(call.task, 10)
        assert call.over
        return call.reply()

    async def login(self, password: str = PASSWORD, headers: Mapping[str, str] | None = None, **options: Any) -> Reply:
        """What the form of the login is answered."""
        body = urlencode({"password": password}).encode()
        return await self.ask("POST", "/dashboard/login", {"content-type": FORM, **(headers or {})}, body, **options)

    async def visitor(self) -> Visitor:
        """Somebody who has logged in."""
        reply = await self.login()
        assert reply.status == 303
        cookie = reply.headers["set-cookie"].partition(";")[0]
        session = await self.ask("GET", "/dashboard/api/v1/session", {"cookie": cookie})
        return Visitor(self, cookie, session.json()["csrf_token"])


@dataclass
class Visitor:
    """A browser with a session."""

    desk: Desk
    cookie: str
    csrf: str

    async def get(self, target: str, **headers: str) -> Reply:
        return await self.desk.ask("GET", target, {"cookie": self.cookie, **headers})

    async def post(self, target: str, headers: Mapping[str, str] | None = None, /, **fields: str) -> Reply:
        """A form, with just these fields."""
        sent = {"cookie": self.cookie, "content-type": FORM, **(headers or {})}
        return await self.desk.ask("POST", target, sent, urlencode(fields).encode())
