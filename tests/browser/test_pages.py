"""Every page of the dashboard: in the window of a phone and of a desk, in light and dark, with markup in its texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from playwright.sync_api import Browser, Page
from starlette.routing import Match

from sockudo.dashboard.app import dashboard_routes
from support.browser import SIZES, Visitor, log_in
from support.node import install_packages
from support.server import ServerProcess
from support.town import PAGES, Town, town

LAYOUT = (Path(__file__).parent / "layout.js").read_text()
NOT_FOUND = "the server responded with a status of 404"

WITHOUT_A_PAGE_OF_ITS_OWN = {
    "/dashboard/login": "tested with the login",
    "/dashboard/overview/state": "a part of the overview",
    "/dashboard/overview/errors": "a part of the overview",
}

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
def built(chromium: Browser) -> Iterator[Town]:
    del chromium
    with town() as ready:
        yield ready


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
    page = walker.page
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="light")
        walker.open(built.pages[name])
        # What is folded away counts too.
        page.evaluate("() => { for (const each of document.querySelectorAll('main details')) each.open = true }")
        wrong += [f"{size}: {each}" for each in page.evaluate(LAYOUT)]
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
