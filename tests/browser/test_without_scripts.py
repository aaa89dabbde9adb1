"""Without JavaScript the pages still show what they are about, and their forms work."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from browser.town import PAGES, ROOM, SHOP, Town
from browser.visitors import PHONE, Chromium, Visit, Visitor, log_in
from support.operators import PASSWORD
from support.server import ServerProcess

NOT_FOUND = "the server responded with a status of 404"

SAYS = {
    "overview": ("Health", "Loop lag", "Errors by code"),
    "apps": ("shop-key",),
    "channels": (ROOM, "prices"),
    "channel-members": ("ben",),
    "channel-history": ("changed",),
    "connections": ("127.0.0.1",),
    "inspector": ("sockudo tail",),
    "why": ("subscribe refused", "Sign with the app's own secret"),
    "deliveries": ("dead",),
}
"""What has to stand there all the same."""


@pytest.fixture(scope="module")
def server(built: Town) -> ServerProcess:
    return built.server


@pytest.fixture(scope="module")
def walker(chromium: Chromium, server: ServerProcess) -> Iterator[Visitor]:
    """One visitor for all pages."""
    with Visitor(chromium, server, log_in(server), size=PHONE, scripts=False, expected=[NOT_FOUND]) as visitor:
        yield visitor


@pytest.mark.parametrize("name", SAYS)
def test_a_page_says_what_it_is_about(name: str, walker: Visitor, built: Town) -> None:
    page = walker.open(built.pages[name])
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    shown = page.locator("main").inner_text()
    assert [words for words in SAYS[name] if words not in shown] == []


def test_every_page_is_there_before_a_script_has_run(built: Town) -> None:
    """What the server sends has its heading and what goes with it; of some it is known that a browser shows that."""
    for name in PAGES:
        gone = name in ("connection-gone", "nothing")
        page = built.operator.page(built.pages[name], status=404 if gone else 200)
        assert len(page.tags("<h1[^>]*>[^<]+</h1>")) == 1, name
        main = page.source.partition("<main")[2].partition("</main>")[0]
        assert re.search(r"</h1>.*?<(p|table|dl|form|ul|article|section)\b", main, re.DOTALL), name


def test_one_logs_in_makes_an_app_and_publishes(visit: Visit) -> None:
    page = visit(scripts=False, cookie=None).open("/dashboard/apps")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Create an app").click()
    page.locator("input[name=id]").fill("plain")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("plain")
    expect(page.get_by_role("status")).to_contain_text("can be used")


def test_a_test_event_is_published_and_a_connection_closed(visit: Visit, built: Town) -> None:
    client = built.connect(headers=None)
    client.subscribe("unscripted")
    visitor = visit(scripts=False)
    page = visitor.open(f"/dashboard/channels/{SHOP.id}/unscripted")
    page.locator("input[name=name]").fill("said")
    page.locator("textarea[name=data]").fill("by hand")
    page.get_by_role("button", name="Publish").click()
    event = client.event()
    assert (event["event"], event["data"]) == ("said", "by hand")

    page = visitor.open("/dashboard/connections")
    page.locator("input[name=q]").fill(client.socket_id)
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name=client.socket_id).click()
    page.get_by_text("Close…").click()
    page.get_by_role("button", name=f"Close connection {client.socket_id}").click()
    expect(page.get_by_role("status")).to_contain_text("was closed")
    assert client.event()["data"]["code"] == 4009


def test_lists_are_searched_and_paged(visit: Visit, built: Town) -> None:
    visitor = visit(scripts=False)
    page = visitor.open("/dashboard/errors")
    page.get_by_role("searchbox").fill("quota")
    page.keyboard.press("Enter")
    page.locator("main a[href$=over_quota]").click()
    expect(page.get_by_text("Raise the app's max_connections.")).to_be_visible()
    page = visitor.open(f"{built.pages['channel-history']}?limit=10")
    first = page.locator("main").inner_text()
    page.get_by_role("link", name="Older").click()
    assert page.locator("main").inner_text() != first
