"""Every page of the dashboard: in the window of a phone and of a desk, in light and dark, with markup in its texts."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import MagicMock
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect
from starlette.routing import Match

from browser.looks import wrong_looks
from browser.town import EVENT, MARKUP, PAGES, ROOM, SHOP, Town
from browser.visitors import Chromium, Visitor, log_in
from sockudo.dashboard.app import dashboard_routes
from sockudo.push.dashboard.area import push_area
from sockudo.webhooks.dashboard.area import webhook_area
from support.server import ServerProcess

NOT_FOUND = "the server responded with a status of 404"

WITHOUT_A_PAGE_OF_ITS_OWN = {
    "/dashboard/login": "tested with the login",
    "/dashboard/overview/state": "a part of the overview",
    "/dashboard/overview/errors": "a part of the overview",
    "/dashboard/push/{app_id}/publishes/{publish_id}": "tested with a browser that is subscribed",
}

TELLING = (
    "odd-app",
    "channels-none",
    "channel-members",
    "channel-subscribers",
    "channel-presence-history",
    "channel-history",
    "channel-cached",
    "connections",
    "connection",
    "delivery",
    "why",
    "error",
)
"""Pages that show what came from outside."""


@pytest.fixture(scope="module")
def server(built: Town) -> ServerProcess:
    return built.server


@pytest.fixture(scope="module")
def walker(chromium: Chromium, server: ServerProcess) -> Iterator[Visitor]:
    """One visitor for all pages."""
    with Visitor(chromium, server, log_in(server), expected=[NOT_FOUND]) as visitor:
        yield visitor


@pytest.mark.parametrize("name", PAGES)
def test_a_page(name: str, walker: Visitor, built: Town) -> None:
    page = walker.open(built.pages[name])
    wrong = wrong_looks(page)
    # Markup from outside is neither made into elements, nor escaped twice.
    assert page.locator(".injected, img[src=x]").count() == 0
    if name in TELLING:
        shown = page.locator("main").inner_text()
        assert "<img class=injected src=x onerror=alert(" in shown
        assert "&lt;" not in shown
    mistakes, walker.mistakes = walker.mistakes, []
    assert not (wrong + mistakes), "\n".join(wrong + mistakes)


def test_no_page_is_left_out(built: Town) -> None:
    paths = [path.partition("?")[0] for path in built.pages.values()]
    left_out = {
        route.path
        for route in dashboard_routes(MagicMock(areas=[webhook_area(MagicMock()), push_area(MagicMock())]))
        if "GET" in (route.methods or ())
        and "/api/" not in route.path
        and "/static/" not in route.path
        and not any(
            route.matches({"type": "http", "method": "GET", "path": path, "headers": []})[0] is Match.FULL
            for path in paths
        )
    }
    assert left_out - WITHOUT_A_PAGE_OF_ITS_OWN.keys() == set()


def test_markup_is_text_in_the_inspector(walker: Visitor, built: Town) -> None:
    page = walker.open("/dashboard/inspector")
    expect(page.locator("#inspector-state")).to_have_text("Live")
    built.ana.say(EVENT, MARKUP, ROOM)
    built.ana.say("pusher:subscribe", {"channel": MARKUP})
    built.server.publish(ROOM, MARKUP, MARKUP, app=SHOP)
    built.connect(params=urlencode({"client": MARKUP, "version": MARKUP})).sign_in(MARKUP)
    entries = page.locator("#inspector-entries > li")
    for kind in ("message", "subscribe refused", "connected", "signed in"):
        entry = entries.filter(has_text=kind).first
        expect(entry).to_contain_text("<img class=injected src=x onerror=alert(1)>")
        entry.locator("summary").first.click()
        entry.locator("a").first.wait_for()
    page.get_by_label("Search in the shown entries").fill("<script class=injected>")
    expect(entries.filter(has_text="<script class=injected>").first).to_be_visible()
    assert page.locator(".injected").count() == 0
    assert walker.mistakes == []
