"""One browser, one server and one login for the tests of a module; visitors for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from support.browser import Visit, Visitor, log_in, running_chromium
from support.operators import dashboard_config
from support.server import ServerProcess, start_server
from support.town import Town, town
from support.waiting import PATIENCE

expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(chromium: Browser) -> Iterator[ServerProcess]:
    """With a dashboard. The browser comes first: without one there is nothing to start a server for."""
    del chromium
    with start_server(dashboard_config()) as running:
        yield running


@pytest.fixture(scope="module")
def built(chromium: Browser) -> Iterator[Town]:
    """For modules whose `server` is the town's."""
    del chromium
    with town() as ready:
        yield ready


@pytest.fixture(scope="module")
def cookie(server: ServerProcess) -> str:
    return log_in(server)


@pytest.fixture
def visit(chromium: Browser, server: ServerProcess, cookie: str) -> Iterator[Visit]:
    """Opens the dashboard for somebody who is logged in; see `Visitor` for the fields."""
    with ExitStack() as stack:

        def begin(**fields: Any) -> Visitor:
            return stack.enter_context(Visitor(chromium, **{"server": server, "cookie": cookie, **fields}))

        yield begin
