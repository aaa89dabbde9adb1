"""One browser, one server and one login for the tests of the folder; visitors for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Playwright, expect, sync_playwright

from browser.town import Town, town
from browser.visitors import Chromium, Visit, Visitor, log_in, running_chromium
from support.operators import dashboard_config
from support.server import ServerProcess, start_server
from support.waiting import PATIENCE

expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Gone with the folder: asynchronous tests of others have no room beside its loop."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def chromium(playwright: Playwright) -> Iterator[Chromium]:
    """One browser for all."""
    with running_chromium(playwright) as running:
        yield running


@pytest.fixture(scope="package")
def dashboard(chromium: Chromium) -> Iterator[ServerProcess]:
    """With a dashboard. The browser comes first: without one there is nothing to start a server for."""
    del chromium
    with start_server(dashboard_config()) as running:
        yield running


@pytest.fixture(scope="module")
def server(dashboard: ServerProcess) -> ServerProcess:
    """The folder's, unless a module has another."""
    return dashboard


@pytest.fixture(scope="package")
def built(chromium: Chromium) -> Iterator[Town]:
    """For modules whose `server` is the town's."""
    del chromium
    with town() as ready:
        yield ready


@pytest.fixture(scope="module")
def cookie(server: ServerProcess) -> str:
    return log_in(server)


@pytest.fixture
def visit(chromium: Chromium, server: ServerProcess, cookie: str) -> Iterator[Visit]:
    """Opens the dashboard for somebody who is logged in; see `Visitor` for the fields."""
    with ExitStack() as stack:

        def begin(**fields: Any) -> Visitor:
            return stack.enter_context(Visitor(chromium, **{"server": server, "cookie": cookie, **fields}))

        yield begin
