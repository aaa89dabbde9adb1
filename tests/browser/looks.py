"""What is wrong with how a page looks: in the window of a phone and of a desk, in light and dark."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from browser.visitors import SIZES
from clients.node import install_packages

__all__ = ["wrong_looks"]

SETTLED_WITHIN = 3.0

AXE = {
    # The guidelines up to level AA, and what is good practice.
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"target-size": {"enabled": True}},
    "resultTypes": ["violations"],
    # What is found is told by its markup.
    "selectors": False,
    "preload": False,
}
COLOURS = {**AXE, "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}, "rules": {}}
"""What another colour scheme can change."""

ROOM = {**AXE, "runOnly": {"type": "rule", "values": ["target-size", "scrollable-region-focusable"]}, "rules": {}}
"""What more or less room can change, as long as the same things are shown."""

SHOWN = """() => [...document.querySelectorAll("body *")]
  .filter((each) => each.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
  .map((each) => `${each.tagName} ${each.getAttribute("class")} ${each.getAttribute("style")}`)"""


def wrong_looks(page: Page) -> list[str]:
    """Sentences about what is cut off, out of reach, or a serious or critical finding of axe; what is folded away
    counts too. The page stays unfolded, in a desk's window.
    """
    wrong: list[str] = []
    shown: list[str] | None = None
    page.evaluate("() => { for (const each of document.querySelectorAll('main details')) each.open = true }")
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="light")
        wrong += [f"{size}: {each}" for each in _misplaced(page)]
        before, shown = shown, page.evaluate(SHOWN)
        if shown == before:
            wrong += [f"{size}: {each}" for each in _findings(page, ROOM)]
            continue
        wrong += [f"{size}: {each}" for each in _findings(page, AXE)]
        page.emulate_media(color_scheme="dark")
        wrong += [f"{size}, dark: {each}" for each in _findings(page, COLOURS)]
    return wrong


@cache
def _text(path: Path) -> str:
    return path.read_text()


def _misplaced(page: Page) -> list[str]:
    """Once the page has taken to its window: plots are drawn anew after a change."""
    layout = _text(Path(__file__).parent / "layout.js")
    deadline = time.monotonic() + SETTLED_WITHIN
    while (found := page.evaluate(layout)) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    return list(found)


def _findings(page: Page, options: dict[str, Any]) -> list[str]:
    if not page.evaluate("() => 'axe' in window"):
        # Said as it is, the browser compiles it once for all pages.
        devtools = page.context.new_cdp_session(page)
        axe = _text(install_packages() / "axe-core" / "axe.min.js")
        devtools.send("Runtime.evaluate", {"expression": axe})
        devtools.detach()
    report: dict[str, Any] = page.evaluate("options => axe.run(document, options)", options)
    grave = [each for each in report["violations"] if each["impact"] in ("serious", "critical")]
    return [f"{each['id']}: {node['html']} {node['failureSummary']}" for each in grave for node in each["nodes"]]
