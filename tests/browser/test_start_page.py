"""The page at ``/`` of a development server, in a browser: used by its visitor, and by pages of another origin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from browser.looks import wrong_looks
from browser.visitors import PHONE, Chromium, Visitor
from support.server import NUMERIC_APP, ServerProcess, start_server
from support.signing import Credentials

DEV_APP = {"app_manager": {"array": {"apps": []}}}
EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def server(chromium: Chromium) -> Iterator[ServerProcess]:
    del chromium
    with start_server(DEV_APP, args=["--dev"]) as running:
        yield running


@pytest.fixture
def visitor(chromium: Chromium, server: ServerProcess) -> Iterator[Visitor]:
    with Visitor(chromium, server, port=server.port) as somebody:
        yield somebody


def subscribe(page: Page, channel: str) -> None:
    page.get_by_label("Channel to subscribe to").fill(channel)
    page.get_by_role("button", name="Subscribe", exact=True).click()


def expect_subscribed(page: Page, channel: str) -> None:
    expect(page.locator("#start-channels li", has_text=channel).locator(".good")).to_have_text("subscribed")


def test_it_connects_subscribes_publishes_and_shows_the_event(visitor: Visitor) -> None:
    page = visitor.open("/")
    expect(page.locator("#start-state")).to_have_text("connected")
    expect_subscribed(page, "my-channel")
    for channel in ("orders", "private-orders", "presence-orders"):
        subscribe(page, channel)
        expect_subscribed(page, channel)
    form = page.locator("#start-publish")
    form.get_by_label("Channel").fill("private-orders")
    form.get_by_label("Event").fill("created")
    # Longer than one block of MD5, and of more than ASCII.
    data = f'{{"item": "<b>é €</b> {"x" * 100}"}}'
    form.get_by_label("Data").fill(data)
    form.get_by_role("button", name="Publish").click()
    expect(page.locator("#start-published")).to_have_text("Published to private-orders.")
    event = page.locator("#start-events li")
    expect(event).to_have_count(1)
    expect(event).to_contain_text("created")
    expect(event).to_contain_text("on private-orders")
    expect(event).to_contain_text("<b>é €</b> xxx")


def test_what_others_publish_arrives_and_what_was_left_does_not(visitor: Visitor, server: ServerProcess) -> None:
    page = visitor.open("/")
    expect_subscribed(page, "my-channel")
    subscribe(page, "left")
    expect_subscribed(page, "left")
    page.get_by_role("button", name="Unsubscribe from left").click()
    expect(page.locator("#start-channels li")).to_have_count(1)
    app = page.locator("#start").evaluate("each => ({ ...each.dataset })")
    assert (app["appId"], app["key"], app["secret"]) == ("1001", "app-key", "app-secret")
    known = Credentials("1001", "app-key", "app-secret")
    server.publish("left", "unheard", "1", app=known)
    server.publish("my-channel", "heard", "no JSON", app=known)
    expect(page.locator("#start-events li")).to_have_count(1)
    expect(page.locator("#start-events li")).to_contain_text("no JSON")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#start-events li")).to_have_count(0)


def test_what_is_refused_is_said(visitor: Visitor) -> None:
    visitor.expected.append("the server responded with a status of 400")
    page = visitor.open("/")
    expect_subscribed(page, "my-channel")
    form = page.locator("#start-publish")
    form.get_by_label("Channel").fill("no name!")
    form.get_by_role("button", name="Publish").click()
    expect(page.locator("#start-published")).to_contain_text("400: ")
    subscribe(page, "no name!")
    expect(page.locator("#start-problem")).to_contain_text("4300")
    expect(page.locator("#start-channels li")).to_have_count(1)
    expect(page.locator("#start-state")).to_have_text("connected")


def test_it_is_used_with_the_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.open("/")
    expect_subscribed(page, "my-channel")
    page.get_by_label("Channel to subscribe to").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("typed")
    visitor.keys("Enter")
    expect_subscribed(page, "typed")
    page.locator("#start-publish").get_by_label("Event").focus()
    visitor.keys("Enter")
    expect(page.locator("#start-events li")).to_have_count(1)
    page.get_by_role("button", name="Disconnect").focus()
    visitor.keys("Enter")
    expect(page.locator("#start-state")).to_have_text("not connected")
    visitor.keys("Enter")
    expect_subscribed(page, "typed")


def test_its_looks(visitor: Visitor) -> None:
    page = visitor.open("/")
    expect_subscribed(page, "my-channel")
    assert wrong_looks(page) == []
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_the_secret_of_another_app_is_typed_in(chromium: Chromium) -> None:
    with start_server(args=["--dev"]) as own, Visitor(chromium, own, port=own.port) as somebody:
        page = somebody.open("/")
        expect_subscribed(page, "my-channel")
        subscribe(page, "private-orders")
        expect(page.locator("#start-problem")).to_contain_text("secret of the app")
        page.get_by_label("Secret of the app").fill(NUMERIC_APP.secret)
        subscribe(page, "private-orders")
        expect_subscribed(page, "private-orders")
        page.get_by_role("button", name="Publish").click()
        expect(page.locator("#start-events li")).to_have_count(1)


def test_a_page_of_another_origin_gets_nothing_of_it(chromium: Chromium, server: ServerProcess) -> None:
    """Not the page, no frame with it, no connection and no publish, though everybody knows the credentials."""
    context = chromium.browser.new_context()
    page = context.new_page()
    context.route(f"{EVIL}/**", lambda route: route.fulfill(body="<p>evil</p>", content_type="text/html"))
    page.goto(f"{EVIL}/")
    read = "url => fetch(url).then((answer) => answer.text(), (problem) => String(problem))"
    assert "Failed to fetch" in page.evaluate(read, f"{server.url}/")
    opaque = "url => fetch(url, { mode: 'no-cors' }).then((answer) => answer.text(), () => 'blocked')"
    assert "app-secret" not in page.evaluate(opaque, f"{server.url}/")
    framed = """url => new Promise((resolve) => {
        const frame = document.createElement("iframe");
        frame.addEventListener("load", () => resolve(frame.contentDocument === null ? "another origin" : "own"));
        frame.src = url;
        document.body.append(frame);
    })"""
    page.evaluate(framed, f"{server.url}/")
    assert all("Try it" not in frame.content() for frame in page.frames)
    connected = """url => new Promise((resolve) => {
        const socket = new WebSocket(url);
        socket.addEventListener("message", (message) => resolve(JSON.parse(message.data).event));
        socket.addEventListener("close", () => resolve("closed"));
    })"""
    assert page.evaluate(connected, server.ws_url("app-key")) in ("pusher:error", "closed")
    posted = """url => fetch(url, { method: "POST", body: "{}" }).then((answer) => answer.status, () => "blocked")"""
    assert page.evaluate(posted, f"{server.url}/apps/1001/events") in (403, "blocked")
    context.close()
