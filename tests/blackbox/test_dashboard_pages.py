"""Every page and list of the dashboard on a server with some life in it: there, and not slow.

`scripts/bench --operators --rows dashboard` measures the same table with 10,000 connections and 20,000 channels.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest

from sockudo.config import Settings
from sockudo.dashboard.app import dashboard_routes
from support.desk import board_of
from support.edge import EdgeNode
from support.inside import live_app
from support.server import ServerProcess, start_server
from support.websocket import WebSocket

PASSWORD = "correct horse battery"
CONNECTIONS, CHANNELS = 60, 240
ROOM = "presence-room"
LIMIT = 0.1

_TABLE = Path(__file__).parents[2] / "benchmarks/operators/pages.py"


def _pages() -> tuple[str, ...]:
    spec = importlib.util.spec_from_file_location("pages", _TABLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: tuple[str, ...] = module.PAGES
    return pages


PAGES = _pages()


class Crowded:
    """A server with some connections, each on a few channels and in one presence channel."""

    def __init__(self, server: ServerProcess, stack: ExitStack) -> None:
        self.server = server
        clients = [stack.enter_context(WebSocket(server)).greeting() for _ in range(CONNECTIONS)]
        self.names = {"app": server.app.id, "channel": ROOM, "socket": clients[0].socket_id, "last": CHANNELS // 50}
        each = CHANNELS // CONNECTIONS
        for number, client in enumerate(clients):
            for place in range(each):
                client.subscribe(f"room-{number * each + place:06}")
            client.subscribe(ROOM, user_id=f"user-{number}")
        self._connection = HTTPConnection(server.host, server.metrics_port, timeout=10)
        stack.callback(self._connection.close)

    def ask(self, page: str) -> tuple[int, bytes]:
        """Status and body."""
        self._connection.request("GET", page.format(**self.names), headers={"Authorization": f"Bearer {PASSWORD}"})
        answer = self._connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture(scope="module")
def crowded() -> Iterator[Crowded]:
    with start_server({"dashboard": {"password": PASSWORD}}) as server, ExitStack() as stack:
        yield Crowded(server, stack)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_there_and_quick(crowded: Crowded, page: str) -> None:
    # What the first one makes ready counts for none.
    answers = [crowded.ask(page)]
    before = crowded.server.cpu_seconds
    answers += [crowded.ask(page) for _ in range(4)]
    assert {status for status, _ in answers} == {200}, answers[0][1][:500]
    # A busy machine is not meant.
    assert crowded.server.cpu_seconds - before < 4 * LIMIT


def test_no_page_is_left_out_of_the_table() -> None:
    """A page or list that is added is to be measured, too: put it into benchmarks/operators/pages.py."""
    board = board_of(EdgeNode(live_app("app"), settings=Settings()))
    listed = {page.partition("?")[0] for page in PAGES}
    # Streams never end, and the others are forms or ways to a page of the table.
    others = {"/dashboard/login", "/dashboard/channels/open"}
    routes = {
        route.path
        for route in dashboard_routes(board)
        if "GET" in (route.methods or ()) and "{" not in route.path and not route.path.endswith("/stream")
    }
    assert routes - others <= listed
