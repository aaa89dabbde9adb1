"""What an operator does at the dashboard, and what it does to the stock client on the other side."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page, expect

from browser.visitors import Visit
from clients.node import JsClient, Node, open_pusher
from support.operators import Operator
from support.server import ServerProcess
from support.signing import Credentials
from support.waiting import wait_until

Open = Callable[[Credentials], JsClient]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    running = Node()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def app(server: ServerProcess) -> Credentials:
    made = Operator(server).api("POST", "/apps", {"id": "harbour"}, status=201)
    return Credentials(made["id"], made["key"], made["secret"])


@pytest.fixture
def connect(node: Node, server: ServerProcess, request: pytest.FixtureRequest) -> Iterator[Open]:
    """A connected pusher-js client of the app."""
    with ExitStack() as stack:

        def open_one(app: Credentials) -> JsClient:
            fields = {"id": app.id, "key": app.key, "secret": app.secret}
            client = open_pusher(node, server, request.node.name, app=fields, authBy="handler")
            stack.callback(client.close)
            return client

        yield open_one


def watched(page: Page) -> None:
    expect(page.locator("#inspector-state")).to_have_text("Live")


def test_an_app_made_in_the_form_takes_a_stock_client_at_once(visit: Visit, connect: Open) -> None:
    page = visit().open("/dashboard/apps")
    page.get_by_role("link", name="Create an app").click()
    page.get_by_role("textbox", name=re.compile("^Id")).fill("quay")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/dashboard/apps/quay")
    expect(page.get_by_role("status")).to_contain_text("App 'quay' is there and can be used.")
    page.get_by_role("button", name="Show the secret").click()
    app = Credentials("quay", page.locator("#app-key").inner_text(), page.locator("#app-secret").inner_text())

    client = connect(app)
    client.connected()
    client.subscribe("private-desk")
    page.goto(page.url.partition("/dashboard")[0] + "/dashboard/channels/quay/private-desk")
    page.get_by_label("Event", exact=True).fill("said")
    page.get_by_label("Data").fill('{"by": "an operator"}')
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("status")).to_contain_text("1")
    assert client.data("private-desk", "said") == {"by": "an operator"}


def test_a_mistake_in_the_form_is_told_at_its_field(visit: Visit) -> None:
    visitor = visit(expected=["the server responded with a status of 422"])
    page = visitor.open("/dashboard/apps/-/new")
    page.get_by_role("textbox", name=re.compile("^Id")).fill("a/b")
    page.get_by_role("button", name="Create").click()
    field = page.get_by_role("textbox", name=re.compile("^Id"))
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_value("a/b")
    expect(page.get_by_text("contains '/'")).to_be_visible()


def test_what_happens_appears_in_the_inspector(visit: Visit, connect: Open, app: Credentials) -> None:
    visitor = visit()
    page = visitor.open("/dashboard/inspector?app_id=harbour")
    watched(page)
    client = connect(app)
    socket_id = client.connected()
    client.subscribe("tides")
    operator = visitor.new_page()
    operator.goto(page.url.partition("/dashboard")[0] + "/dashboard/channels/harbour/tides")
    operator.get_by_label("Event", exact=True).fill("rising")
    operator.get_by_label("Data").fill('{"metres": 2.4}')
    operator.get_by_role("button", name="Publish").click()
    client.data("tides", "rising")

    entries = page.locator("#inspector-entries > li")
    message = entries.filter(has_text="rising")
    expect(message).to_contain_text('{"metres": 2.4}')
    expect(message).to_contain_text("to 1 connection")
    expect(entries.filter(has_text="subscribed")).to_contain_text("tides")
    expect(entries.filter(has_text="connected").first).to_contain_text(socket_id)


def test_lines_are_columns_and_open_to_json(visit: Visit, server: ServerProcess, app: Credentials) -> None:
    page = visit().open("/dashboard/inspector?app_id=harbour")
    watched(page)
    for name in ("ebb", "a-much-longer-channel-of-the-harbour"):
        server.publish(name, "columns", '{"metres":2.4}', app=app)
    entries = page.locator("#inspector-entries > li").filter(has_text="columns")
    expect(entries).to_have_count(2)
    events = entries.locator(".inspector-event")
    left = {round(box["x"]) for each in events.all() if (box := each.bounding_box()) is not None}
    assert len(left) == 1
    expect(events.first).to_have_text("columns")
    entries.last.locator("summary").click()
    expect(entries.last.locator("dd").filter(has_text="metres")).to_have_text('{\n  "metres": 2.4\n}')


def test_the_inspector_can_be_paused_and_searched(visit: Visit, server: ServerProcess, app: Credentials) -> None:
    page = visit().open("/dashboard/inspector?app_id=harbour")
    watched(page)
    entries = page.locator("#inspector-entries > li")
    server.publish("paused", "first", "1", app=app)
    expect(entries.filter(has_text="first")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    server.publish("paused", "second", "2", app=app)
    expect(page.locator("#inspector-state")).to_contain_text("1 new")
    assert entries.filter(has_text="second").count() == 0
    page.get_by_role("button", name="Resume").click()
    expect(entries.filter(has_text="second")).to_be_visible()
    page.get_by_label("Search in the shown entries").fill("second")
    expect(entries.filter(has_text="first")).to_be_hidden()
    expect(entries.filter(has_text="second")).to_be_visible()


def test_a_connection_is_closed_from_its_page(visit: Visit, connect: Open, app: Credentials) -> None:
    client = connect(app)
    socket_id = client.connected()
    page = visit().open(f"/dashboard/connections?q={socket_id}")
    page.get_by_role("link", name=socket_id).click()
    page.get_by_text("Close…").click()
    page.get_by_role("button", name=f"Close connection {socket_id}").click()
    page.wait_for_url("**/dashboard/connections")
    expect(page.get_by_role("status")).to_contain_text(f"Connection {socket_id} was closed")
    error = client.expect("error")["error"]
    assert error["code"] == 4009
    client.expect("state", state="disconnected")
    assert client.do("status")["retrying"] is False
    assert page.get_by_role("link", name=socket_id).count() == 0


def test_a_disabled_app_closes_its_connections(visit: Visit, connect: Open, server: ServerProcess) -> None:
    made = Operator(server).api("POST", "/apps", {"id": "drydock"}, status=201)
    client = connect(Credentials(made["id"], made["key"], made["secret"]))
    client.connected()
    visitor = visit(answers=[True])
    page = visitor.open("/dashboard/apps/drydock")
    page.get_by_role("button", name="Disable the app").click()
    expect(page.get_by_role("button", name="Enable the app")).to_be_visible()
    assert visitor.asked == ["Disable drydock? Its connections are closed."]
    assert client.expect("error")["error"]["code"] == 4003


def test_the_plots_move(visit: Visit, server: ServerProcess, app: Credentials) -> None:
    page = visit(calm=False).open("/dashboard?minutes=5")
    figure = page.locator("figure").filter(has=page.get_by_role("heading", name="Messages"))
    plot = figure.locator(".plot")
    expect(plot.locator("canvas")).to_be_visible()

    def drawn() -> str:
        return str(plot.locator("canvas").evaluate("canvas => canvas.toDataURL()"))

    def highest() -> float:
        return float(figure.locator("tr[data-series] td").nth(2).inner_text().split("/")[0].replace(",", ""))

    before, quiet = drawn(), highest()

    def moved() -> bool:
        for _ in range(20):
            server.publish("plotted", "e", "x", app=app)
        return highest() > max(quiet, 1) and drawn() != before

    wait_until(moved, "the plot of messages to rise")
    expect(plot).to_have_attribute("aria-label", re.compile("now [0-9]"))


def test_one_click_leads_from_a_refusal_to_its_explanation(
    visit: Visit, server: ServerProcess, app: Credentials
) -> None:
    wrong = Credentials(app.id, app.key, "not the secret")
    assert server.signed("GET", f"/apps/{app.id}/channels", app=wrong).status == 401
    page = visit().open("/dashboard/inspector?app_id=harbour")
    watched(page)
    page.get_by_role("link", name="Earlier problems").click()
    page.get_by_role("link", name=re.compile("auth_signature")).click()
    page.wait_for_url("**/dashboard/errors/signature_mismatch")
    expect(page.get_by_text("Check the secret")).to_be_visible()
