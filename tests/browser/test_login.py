"""Coming in and going out."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from browser.looks import wrong_looks
from browser.visitors import Visit, Visitor
from sockudo.dashboard.access import COOKIE
from support.operators import PASSWORD
from support.server import ServerProcess

REFUSED = "Failed to load resource: the server responded with a status of 401"


def logged_in(visitor: Visitor) -> bool:
    return any(cookie["value"] for cookie in visitor.context.cookies() if cookie["name"].endswith(COOKIE))


def enter(page: Page, password: str) -> None:
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_the_password_opens_the_page_that_was_wanted(visit: Visit) -> None:
    visitor = visit(cookie=None)
    page = visitor.open("/dashboard/login?next=/dashboard/apps")
    expect(page.get_by_label("Password")).to_be_focused()
    enter(page, PASSWORD)
    page.wait_for_url("**/dashboard/apps")
    assert logged_in(visitor)
    expect(page.get_by_role("navigation", name="Areas")).to_be_visible()


def test_every_page_asks_for_the_login_first_and_goes_on_to_where_one_wanted(visit: Visit) -> None:
    visitor = visit(cookie=None)
    page = visitor.open("/dashboard/channels?q=orders")
    assert visitor.path() == "/dashboard/login"
    assert page.get_by_role("navigation").count() == 0
    enter(page, PASSWORD)
    page.wait_for_url("**/dashboard/channels?q=orders")


def test_a_wrong_password_is_told_and_opens_nothing(visit: Visit) -> None:
    visitor = visit(cookie=None, expected=[REFUSED])
    page = visitor.open("/dashboard")
    enter(page, "not this one")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("password")
    field = page.get_by_label("Password")
    expect(field).to_be_focused()
    expect(field).to_have_value("")
    expect(field).to_have_attribute("aria-invalid", "true")
    assert not logged_in(visitor)
    visitor.open("/dashboard")
    assert visitor.path() == "/dashboard/login"


def test_logging_out_ends_the_session(visit: Visit, server: ServerProcess) -> None:
    visitor = visit(cookie=None)
    page = visitor.open("/dashboard")
    enter(page, PASSWORD)
    page.wait_for_url("**/dashboard")
    used = next(cookie for cookie in visitor.context.cookies() if cookie["name"].endswith(COOKIE))
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/dashboard/login")
    assert not logged_in(visitor)
    header = {"Cookie": f"{used['name']}={used['value']}"}
    assert server.request("GET", "/dashboard", headers=header, port=server.metrics_port).status == 303


def test_the_login_looks_right_before_and_after_a_wrong_password(visit: Visit) -> None:
    page = visit(cookie=None, expected=[REFUSED]).open("/dashboard/login")
    assert wrong_looks(page) == []
    enter(page, "not this one")
    page.get_by_role("alert").wait_for()
    assert wrong_looks(page) == []
