"""Every page of the dashboard: in the window of a phone and of a desk, in light and dark, with markup in its texts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.routing import Match

from sockudo.dashboard.app import dashboard_routes
from support.browser import SIZES, Visitor, log_in
from support.node import install_packages
from support.server import ServerProcess
from support.town import EVENT, MARKUP, PAGES, ROOM, SHOP, Town

LAYOUT = (Path(__file__).parent / "layout.js").read_text()
SETTLED_WITHIN = 3.0
NOT_FOUND = "the server responded with a status of 404"

WITHOUT_A_PAGE_OF_ITS_OWN = {
    "/dashboard/login": "tested with the login",
    "/dashboard/overview/state": "a part of the overview",
    "/dashboard/overview/errors": "a part of the overview",
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

AXE = {
    # The guidelines up to level AA, and what is good practice.
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"target-size": {"enabled": True}},
    "resultTypes": ["violations"],
    "preload": False,
}
COLOURS = {**AXE, "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}, "rules": {}}
"""What another colour scheme can change."""


@pytest.fixture(scope="module")
def server(built: Town) -> ServerProcess:
    return built.server


@pytest.fixture(scope="module")
def walker(chromium: Browser, server: ServerProcess) -> Iterator[Visitor]:
    """One visitor for all pages."""
    with Visitor(chromium, server, log_in(server), expected=[NOT_FOUND]) as visitor:
        yield visitor


@pytest.fixture(scope="module")
def axe() -> str:
    return (install_packages() / "axe-core" / "axe.min.js").read_text()


def misplaced(page: Page) -> list[str]:
    """What is wrong with the layout once the page has taken to its window: plots are drawn anew after a change."""
    deadline = time.monotonic() + SETTLED_WITHIN
    while (found := page.evaluate(LAYOUT)) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    return list(found)


def findings(page: Page, axe: str, options: dict[str, Any]) -> list[str]:
    """What a checker of accessibility calls serious or critical."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(f"() => {{ {axe} }}")
    report: dict[str, Any] = page.evaluate("options => axe.run(document, options)", options)
    grave = [each for each in report["violations"] if each["impact"] in ("serious", "critical")]
    return [f"{each['id']}: {node['html']} {node['failureSummary']}" for each in grave for node in each["nodes"]]


@pytest.mark.parametrize("name", PAGES)
def test_a_page(name: str, walker: Visitor, built: Town, axe: str) -> None:
    wrong: list[str] = []
    page = walker.open(built.pages[name])
    # What is folded away counts too.
    page.evaluate("() => { for (const each of document.querySelectorAll('main details')) each.open = true }")
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="light")
        wrong += [f"{size}: {each}" for each in misplaced(page)]
        wrong += [f"{size}: {each}" for each in findings(page, axe, AXE)]
        page.emulate_media(color_scheme="dark")
        wrong += [f"{size}, dark: {each}" for each in findings(page, axe, COLOURS)]
    assert page.locator(".injected, img[src=x]").count() == 0
    mistakes, walker.mistakes = walker.mistakes, []
    assert not (wrong + mistakes), "\n".join(wrong + mistakes)


def test_no_page_is_left_out(built: Town) -> None:
    paths = [path.partition("?")[0] for path in built.pages.values()]
    left_out = {
        route.path
        for route in dashboard_routes(MagicMock())
        if "GET" in (route.methods or ())
        and "/api/" not in route.path
        and "/static/" not in route.path
        and not any(
            route.matches({"type": "http", "method": "GET", "path": path, "headers": []})[0] is Match.FULL
            for path in paths
        )
    }
    assert left_out - WITHOUT_A_PAGE_OF_ITS_OWN.keys() == set()


@pytest.mark.parametrize("name", TELLING)
def test_markup_is_text(name: str, walker: Visitor, built: Town) -> None:
    page = walker.open(built.pages[name])
    page.evaluate("() => { for (const each of document.querySelectorAll('main details')) each.open = true }")
    shown = page.locator("main").inner_text()
    assert "<img class=injected src=x onerror=alert(" in shown
    # Neither made into elements, nor escaped twice.
    assert page.locator(".injected").count() == 0
    assert "&lt;" not in shown
    assert walker.mistakes == []


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
