"""The server goes away and comes back, and a session ends, while pages are open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page, expect

from browser.visitors import Chromium, Visitor, dashboard_url, log_in
from sockudo.testing import FaultProxy
from sockudo.testing.loop_thread import LoopThread
from support.operators import PASSWORD, Operator, dashboard_config
from support.ports import free_port
from support.server import ServerProcess, start_server
from support.waiting import PATIENCE

AWAY = ["net::ERR_CONNECTION_REFUSED", "net::ERR_INCOMPLETE_CHUNKED_ENCODING", "status of 401", "net::ERR_EMPTY"]
"""What Chromium itself says of a server that is not there, and of a session that it does not know."""


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture
def started(chromium: Chromium, ports: tuple[int, int]) -> Iterator[ExitStack]:
    del chromium
    with ExitStack() as stack:
        yield stack


def start(ports: tuple[int, int]) -> ServerProcess:
    return start_server(dashboard_config(port=ports[0], metrics={"port": ports[1]}))


def live(page: Page) -> None:
    expect(page.locator("#inspector-state")).to_have_text("Live")


def comes_back(page: Page, path: str) -> None:
    """The visitor stands at the login or is offered it, and gets from there to where they were."""
    if path.endswith("inspector"):
        # What it shows may be wanted still: nobody is sent away from it.
        page.get_by_role("link", name="Log in again").click(timeout=PATIENCE * 1000)
    page.wait_for_url("**/dashboard/login?next=*", timeout=PATIENCE * 1000)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**{path}")


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/inspector"])
def test_a_page_finds_its_server_again(
    path: str, chromium: Chromium, ports: tuple[int, int], started: ExitStack
) -> None:
    """Sessions end with the process, so the way back leads over the login."""
    first = start(ports)
    with Visitor(chromium, first, log_in(first), expected=AWAY) as visitor:
        with first:
            page = visitor.open(path)
            if path.endswith("inspector"):
                live(page)
            else:
                expect(page.locator(".plot canvas").first).to_be_visible()
        second = started.enter_context(start(ports))
        comes_back(page, path)
        if path.endswith("inspector"):
            live(page)
            Operator(second).api("POST", "/apps", {"id": "after"}, status=201)


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/inspector", "/dashboard/connections", "/dashboard/apps"])
def test_a_session_that_has_ended_leads_back_to_the_login(path: str, chromium: Chromium, server: ServerProcess) -> None:
    with Visitor(chromium, server, log_in(server), expected=AWAY) as visitor:
        page = visitor.open(path)
        elsewhere = visitor.new_page()
        elsewhere.goto(dashboard_url(server))
        elsewhere.get_by_role("button", name="Log out").click()
        elsewhere.wait_for_url("**/dashboard/login")
        if path in ("/dashboard/connections", "/dashboard/apps"):
            # Nothing of these pages asks again by itself.
            page.get_by_role("button", name="Search").click()
        comes_back(page, f"{path}*" if path.endswith(("connections", "apps")) else path)


@pytest.fixture
def proxy(server: ServerProcess) -> Iterator[tuple[FaultProxy, LoopThread]]:
    """Between the browser and the dashboard, with the thread in which it runs."""
    thread = LoopThread("proxy")
    proxy = FaultProxy(dashboard_url(server, ""))
    thread.run(proxy.__aenter__())
    try:
        yield proxy, thread
    finally:
        thread.run(proxy.__aexit__(None, None, None))
        thread.close()


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/inspector"])
def test_a_stream_goes_on_after_the_network_was_away(
    path: str, chromium: Chromium, server: ServerProcess, proxy: tuple[FaultProxy, LoopThread]
) -> None:
    """The session lasts, so nothing is asked of the operator."""
    between, thread = proxy
    port = int(between.url.rpartition(":")[2])
    with Visitor(chromium, server, log_in(server), expected=[*AWAY, "net::ERR"], port=port, calm=False) as visitor:
        page = visitor.open(path)
        if path.endswith("inspector"):
            state, well, ill = page.locator("#inspector-state"), "Live", "Connecting again"
        else:
            state, well, ill = page.locator("#freshness"), "Live", "No news since"
        expect(state).to_contain_text(well)
        thread.call(between.refuse)
        thread.call(between.cut)
        expect(state).to_contain_text(ill, timeout=PATIENCE * 1000)
        thread.call(between.heal)
        expect(state).to_contain_text(well, timeout=PATIENCE * 1000)
        assert visitor.path() == path
