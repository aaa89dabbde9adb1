"""The keyboard alone: Tab, Enter, Space and arrows lead from the login to what an operator does most."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browser.visitors import PHONE, Visit, Visitor
from support.operators import PASSWORD
from support.server import ServerProcess

FOCUS = """() => {
  const at = document.activeElement
  const { outlineStyle, outlineWidth } = getComputedStyle(at)
  const box = at.getBoundingClientRect()
  const inside = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth && box.width > 0
  return { name: at.tagName, ring: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2, inside }
}"""
"""Where the focus is: whether one sees it, and whether it is in the window at all."""

MOST = 60


def tab_to(visitor: Visitor, name: str) -> None:
    """Presses Tab until what has this name is focused; the focus is seen at every stop."""
    seen: list[str] = []
    for _ in range(MOST):
        visitor.keys("Tab")
        focus = visitor.page.evaluate(FOCUS)
        now = visitor.focused()
        seen.append(now)
        if focus["name"] != "BODY":
            assert focus["ring"], f"no focus to be seen at {now!r}"
            assert focus["inside"], f"the focus is outside of the window at {now!r}"
        if now == name:
            return
    raise AssertionError(f"Tab does not lead to {name!r}, but to {seen}")


@pytest.mark.parametrize("size", [None, PHONE], ids=["desk", "phone"])
def test_from_the_login_to_an_app_and_a_paused_inspector(
    size: tuple[int, int] | None, visit: Visit, server: ServerProcess
) -> None:
    app = f"typed-{'phone' if size else 'desk'}"
    visitor = visit(cookie=None, **({"size": size} if size else {}))
    page = visitor.open("/dashboard")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    visitor.keys("Enter")
    page.wait_for_url("**/dashboard")

    tab_to(visitor, "Apps")
    visitor.keys("Enter")
    page.wait_for_url("**/dashboard/apps")
    tab_to(visitor, "Create an app")
    visitor.keys("Enter")
    page.wait_for_url("**/dashboard/apps/-/new")
    tab_to(visitor, "Id")
    page.keyboard.type(app)
    tab_to(visitor, "Clients may send client events")
    visitor.keys("Space")
    tab_to(visitor, "Create")
    visitor.keys("Enter")
    page.wait_for_url(f"**/dashboard/apps/{app}")

    tab_to(visitor, "Inspector")
    visitor.keys("Enter")
    page.wait_for_url("**/dashboard/inspector")
    expect(page.locator("#inspector-state")).to_have_text("Live")
    tab_to(visitor, "App")
    page.keyboard.type(app)
    tab_to(visitor, "Watch")
    visitor.keys("Enter")
    page.wait_for_url(f"**/dashboard/inspector?app_id={app}")
    expect(page.locator("#inspector-state")).to_have_text("Live")
    tab_to(visitor, "Pause")
    visitor.keys("Space")
    expect(page.get_by_role("button", name="Resume")).to_be_focused()
    expect(page.get_by_role("button", name="Resume")).to_have_attribute("aria-pressed", "true")
    del server


def test_arrows_choose_and_the_keyboard_folds_out(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("/dashboard/why")
    tab_to(visitor, "Kind")
    visitor.keys("ArrowDown")
    tab_to(visitor, "Show")
    visitor.keys("Enter")
    page.wait_for_url("**/dashboard/why?*kinds=connect_refused*")
    page = visitor.open("/dashboard/inspector")
    tab_to(visitor, "Kinds")
    visitor.keys("Enter")
    tab_to(visitor, "Only closes, refusals and failures")
    visitor.keys("Space")
    expect(page.get_by_label("message", exact=True)).not_to_be_checked()
    expect(page.get_by_label("subscribe refused", exact=True)).to_be_checked()


def test_the_content_can_be_gone_to_at_once(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("/dashboard/channels")
    visitor.keys("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    visitor.keys("Enter", "Tab")
    assert page.evaluate("() => document.querySelector('main').contains(document.activeElement)")
