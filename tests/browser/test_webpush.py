"""`examples/webpush` in a browser: subscribed, notified, shown; with a push service of our own instead of the real one.

Chromium's own push service is on the internet. What it would do is done here: the page's subscription is one of the
stand-in's, which receives what the server encrypts; and what it received is given to the service worker.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.sync_api import BrowserContext, Page, Playwright, expect

from browser.looks import wrong_looks
from browser.visitors import WHOLE, Chromium, Visitor, log_in, running_chromium
from sockudo.testing.web_push import BrowserKeys
from support import commands
from support.operators import PASSWORD
from support.push_ground import PushServer, push_server
from support.server import DEFAULT_APP
from support.waiting import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples/webpush"


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    """What `sockudo push vapid` prints, as a shell reads it."""
    done = commands.run(["push", "vapid"], env=commands.environment(), cwd=EXAMPLE)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Chromium]:
    """One that shows notifications."""
    with running_chromium(playwright, WHOLE) as running:
        yield running


@pytest.fixture(scope="module")
def push(chromium: Chromium, keys: dict[str, str]) -> Iterator[PushServer]:
    del chromium
    config = {"dashboard": {"password": PASSWORD}}
    webpush = {
        "vapid_private_key": keys["VAPID_PRIVATE_KEY"],
        "vapid_contact": keys["VAPID_CONTACT"],
        "allow_local_endpoints": True,
    }
    with push_server(config, webpush=webpush) as running:
        yield running


@pytest.fixture(scope="module")
def example(push: PushServer, keys: dict[str, str]) -> Iterator[str]:
    """The address of the page."""
    names = {
        "SOCKUDO_URL": push.server.url,
        "SOCKUDO_APP_ID": DEFAULT_APP.id,
        "SOCKUDO_APP_KEY": DEFAULT_APP.key,
        "SOCKUDO_APP_SECRET": DEFAULT_APP.secret,
    }
    command = [sys.executable, str(EXAMPLE / "server.py"), "0"]
    with subprocess.Popen(command, env={**os.environ, **keys, **names}, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.fixture
def context(chromium: Chromium, example: str) -> Iterator[BrowserContext]:
    made = chromium.browser.new_context()
    made.grant_permissions(["notifications"], origin=example)
    yield made
    made.close()


SUBSCRIBED = """
(() => {
  const made = %s;
  PushManager.prototype.getSubscription = async () => null;
  PushManager.prototype.subscribe = async (options) => {
    window.asked = {
      userVisibleOnly: options.userVisibleOnly,
      key: Array.from(new Uint8Array(options.applicationServerKey)),
    };
    return { toJSON: () => made, endpoint: made.endpoint };
  };
})()
"""


def test_a_page_is_notified_from_end_to_end(
    chromium: Chromium, context: BrowserContext, example: str, push: PushServer, keys: dict[str, str]
) -> None:
    browser = BrowserKeys()
    endpoint = f"{push.providers.url}/wpush/example"
    subscription = {
        "endpoint": endpoint,
        "expirationTime": None,
        "keys": {"p256dh": browser.p256dh, "auth": browser.auth},
    }
    context.add_init_script(SUBSCRIBED % json.dumps(subscription))
    page = context.new_page()
    page.goto(example)
    page.get_by_role("button", name="Notify me").click()
    state = page.get_by_role("status")
    expect(state).to_contain_text("Subscribed: device browser-")

    # Asked of the browser: notifications that are seen, for the public key of the pair.
    asked = page.evaluate("window.asked")
    assert asked == {"userVisibleOnly": True, "key": list(decoded(keys["VAPID_PUBLIC_KEY"]))}

    # Registered, and nothing secret in the page.
    [device] = _devices(push)
    assert (device["platform"], device["clientId"], device["recipient"]["provider"]) == ("browser", "ana", "webPush")
    for path in ("/", "/page.js", "/worker.js", "/key"):
        text = page.request.get(f"{example}{path}").text()
        assert DEFAULT_APP.secret not in text
        assert keys["VAPID_PRIVATE_KEY"] not in text

    # Published: what the push service gets is signed by the pair and encrypted for this browser.
    page.get_by_role("button", name="Send one now").click()
    expect(state).to_contain_text("Published: sockudo push status ")
    publish_id = state.inner_text().rpartition(" ")[2]
    assert push.ended(publish_id)["state"] == "succeeded"
    [request] = [each for each in push.providers.requests if each["token"] == "example"]
    _check_signature(request["headers"]["authorization"], endpoint, keys)
    said = browser.read(base64.b64decode(request["base64"]))
    assert said["notification"]["title"] == "It works"

    # Shown: the worker is given what the push service would hand over.
    shown = deliver(context, page, example, json.dumps(dict(said)))
    assert shown == [{"title": "It works", "body": "From your backend, over Sockudo.", "data": {"url": "/#read"}}]
    expect(page.get_by_role("listitem").first).to_have_text("It works: From your backend, over Sockudo.")
    assert len(set(page.get_by_role("listitem").all_inner_texts())) == 1
    _dashboard(chromium, push, publish_id)


def _devices(push: PushServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = push.done("GET", "/deviceRegistrations")["items"]
    return found


def _check_signature(header: str, endpoint: str, keys: dict[str, str]) -> None:
    scheme, _, rest = header.partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert (scheme, parts["k"]) == ("vapid", keys["VAPID_PUBLIC_KEY"])
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decoded(parts["k"]))
    where = urlsplit(endpoint)
    claims = jwt.decode(parts["t"], public, algorithms=["ES256"], audience=f"{where.scheme}://{where.netloc}")
    assert claims["sub"] == keys["VAPID_CONTACT"]
    assert claims["exp"] <= time.time() + 86_400


def _dashboard(chromium: Chromium, push: PushServer, publish_id: str) -> None:
    """The pages that have something to show now, as operators see them."""
    pages = {
        f"/{push.app_id}/publishes/{publish_id}": "sent to everybody",
        "": publish_id,
        "/devices": "ana",
        "/why?q=ana": "was taken by the provider",
    }
    with Visitor(chromium, push.server, log_in(push.server)) as visitor:
        for path, words in pages.items():
            page = visitor.open(f"/dashboard/push{path}")
            expect(page.locator("main").get_by_text(words).first).to_be_visible()
            assert wrong_looks(page) == []


ACTIVATED = """navigator.serviceWorker.ready.then(({ active }) => new Promise((resolve) => {
  const look = () => active.state === "activated" && resolve(true);
  active.addEventListener("statechange", look);
  look();
}))"""


AGAIN_AFTER = 1.0
"""Seconds until a push message that showed nothing is handed over once more."""


def deliver(context: BrowserContext, page: Page, example: str, data: str) -> list[dict[str, Any]]:
    """Hands a push message to the page's service worker, decrypted, as the browser does; the notifications it shows.

    The browser drops a message for a worker whose registration it has not stored yet, and tells nobody when it has. So
    the message is handed over until it shows, and what shows more than once for it is given once.
    """
    registrations: list[str] = []
    devtools = context.new_cdp_session(page)

    def registered(event: dict[str, Any]) -> None:
        registrations.extend(
            each["registrationId"] for each in event["registrations"] if each["scopeURL"].startswith(example)
        )

    devtools.on("ServiceWorker.workerRegistrationUpdated", registered)
    devtools.send("ServiceWorker.enable")
    # Before that the browser has nobody to hand a message to.
    page.evaluate(ACTIVATED)
    wait_until(lambda: page.evaluate("1") and registrations, "the worker's registration")
    message = {"origin": example, "registrationId": registrations[0], "data": data}
    handed_over = float("-inf")

    def shown() -> list[dict[str, Any]]:
        nonlocal handed_over
        if time.monotonic() - handed_over >= AGAIN_AFTER:
            devtools.send("ServiceWorker.deliverPushMessage", message)
            handed_over = time.monotonic()
        return notifications(page)

    found = wait_until(shown, "a notification")
    return [each for place, each in enumerate(found) if each not in found[:place]]


def notifications(page: Page) -> list[dict[str, Any]]:
    """What stands in the notification centre."""
    look = """navigator.serviceWorker.ready.then((worker) => worker.getNotifications()).then((all) =>
      all.map(({ title, body, data }) => ({ title, body, data })))"""
    found: list[dict[str, Any]] = page.evaluate(look)
    return found


@pytest.mark.parametrize(
    ("data", "title"),
    [
        ("no JSON", "Something is new"),
        ("", "Something is new"),
        ('{"notification": null, "data": null}', "Something is new"),
        ('{"headers": {"topic": "t"}, "notification": {"title": "<b>x</b>", "body": null, "image": null}}', "<b>x</b>"),
    ],
)
def test_whatever_comes_is_shown(context: BrowserContext, example: str, data: str, title: str) -> None:
    page = context.new_page()
    page.goto(example)
    page.evaluate("navigator.serviceWorker.register('/worker.js')")
    shown = deliver(context, page, example, data)
    assert [each["title"] for each in shown] == [title]


def test_what_does_not_work_is_said_on_the_page(chromium: Chromium, example: str) -> None:
    context = chromium.browser.new_context()
    page = context.new_page()
    page.goto(example)
    page.get_by_role("button", name="Notify me").click()
    expect(page.get_by_role("status")).to_have_text("Notifications are not allowed for this page.")
    context.close()


def test_only_the_page_may_ask_the_backend(example: str, context: BrowserContext) -> None:
    assert context.request.post(f"{example}/notify", data={}).status == 403
    headers = {"X-Example": "1"}
    assert context.request.post(f"{example}/register", data={"subscription": 1}, headers=headers).status == 400
    assert context.request.get(f"{example}/server.py").status == 404
