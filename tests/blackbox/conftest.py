"""Connections and servers that are closed when their test ends, the ones opened last first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from support.raw import Dial, RawConnection
from support.server import ServerProcess, start_server
from support.websocket import Connect, WebSocket


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(opened: ExitStack) -> Callable[..., ServerProcess]:
    """Starts a server of the test's own, see `start_server`."""
    return lambda *args, **fields: opened.enter_context(start_server(*args, **fields))


@pytest.fixture
def connect(server: ServerProcess, opened: ExitStack) -> Connect:
    def open_one(*, server: ServerProcess = server, greeted: bool = True, **fields: Any) -> WebSocket:
        socket = opened.enter_context(WebSocket(server, **fields))
        return socket.greeting() if greeted else socket

    return open_one


@pytest.fixture
def connect_v2(connect: Connect) -> Connect:
    """The same on protocol V2."""
    return partial(connect, protocol=2)


@pytest.fixture
def dial(server: ServerProcess, opened: ExitStack) -> Dial:
    def open_one(*, server: ServerProcess = server, **fields: Any) -> RawConnection:
        return opened.enter_context(RawConnection(server, **fields))

    return open_one
