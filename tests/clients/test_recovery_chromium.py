"""The recovery plug-in in a real browser, behind a script tag: a page whose line is cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote

import pusher
import pytest
from playwright.sync_api import Page

from clients.node import CLIENTS, install_packages
from sockudo.testing.loop_thread import LoopThread
from sockudo.testing.proxy import FaultProxy
from support.http_server import Asked, HttpServer, file_reply
from support.server import NUMERIC_APP, Reply, ServerProcess, app_record, start_server

PLUGIN = CLIENTS.parent.parent / "plugins" / "pusher-js" / "sockudo-recovery.js"

CUTS = {"pusher-js": 2, "pusher-js-7": 1}
"""Version 7 gives its only transport up for good when it is cut off a second time soon after the first."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    app = app_record(NUMERIC_APP, channels={"v1_recovery": True})
    config = {"connection_recovery": {"enabled": True}, "app_manager": {"array": {"apps": [app]}}}
    with start_server(config) as running:
        yield running


@pytest.fixture
def proxy(server: ServerProcess) -> Iterator[tuple[LoopThread, FaultProxy]]:
    loop = LoopThread("line")
    line = FaultProxy(server.url)
    loop.run(line.__aenter__())
    yield loop, line
    loop.run(line.__aexit__(None, None, None))
    loop.close()


@pytest.fixture(params=list(CUTS))
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def website(library: str, python_sdk: pusher.Pusher) -> Iterator[int]:
    """The port of the application's web server: the page, the client library, the plug-in and the auth endpoint."""
    script = install_packages() / library / "dist" / "web" / "pusher-with-encryption.min.js"
    files = {"/": CLIENTS / "recovery_page.html", "/pusher.js": script, "/sockudo-recovery.js": PLUGIN}

    def answer(asked: Asked) -> Reply:
        if asked.method == "GET":
            return file_reply(files, asked)
        form = parse_qs(asked.body.decode())
        channel = form["channel_name"][0]
        member = {"user_id": "page"} if channel.startswith("presence-") else None
        signed = python_sdk.authenticate(channel, form["socket_id"][0], member)
        return Reply(200, {"Content-Type": "application/json"}, json.dumps(signed, default=bytes.decode).encode())

    with HttpServer(answer) as site:
        yield site.port


def shown(page: Page) -> list[list[Any]]:
    """Everything that the page lists: channel, event, data."""
    texts: list[str] = page.evaluate("[...document.querySelectorAll('#events li')].map(item => item.textContent)")
    return [json.loads(text) for text in texts]


def wait_for_events(page: Page, count: int, *event: Any) -> None:
    """Waits until the page lists so many events that begin like this one."""
    start = json.dumps(json.dumps(event, separators=(",", ":")).rstrip("]}"))
    items = "[...document.querySelectorAll('#events li')]"
    page.wait_for_function(f"{items}.filter(item => item.textContent.startsWith({start})).length === {count}")


def test_page_that_is_cut_off_shows_every_message_once(
    library: str, website: int, python_sdk: pusher.Pusher, proxy: tuple[LoopThread, FaultProxy], page: Page
) -> None:
    loop, line = proxy
    channels = [f"{kind}{website}" for kind in ("", "private-", "presence-", "private-encrypted-", "cache-")]
    address = f"http://127.0.0.1:{website}/?key={NUMERIC_APP.key}&port={line.port}"
    page.goto(f"{address}&channels={quote(','.join(channels), safe='')}")
    for channel in channels:
        wait_for_events(page, 1, channel, "pusher:subscription_succeeded")
    count = 0
    for cut in range(1, CUTS[library] + 1):
        for channel in channels:
            python_sdk.trigger(channel, "said", count + 1)
        for channel in channels:
            wait_for_events(page, 1, channel, "said", count + 1)
        # A page of stock pusher-js connects again after a second; this is said long before.
        loop.call(line.cut)
        for channel in channels:
            python_sdk.trigger(channel, "said", count + 2)
            python_sdk.trigger(channel, "said", count + 3)
        page.wait_for_function(f"document.getElementById('connections').textContent === '{cut + 1}'")
        count += 3
        for channel in channels:
            wait_for_events(page, cut, "", "recovered", {"channel": channel})
            wait_for_events(page, 1, channel, "said", count)
    told = shown(page)
    for channel in channels:
        assert [data for at, event, data in told if (at, event) == (channel, "said")] == list(range(1, count + 1))
        assert len([1 for at, event, _ in told if (at, event) == (channel, "recovered")]) == CUTS[library]
    assert [entry for entry in told if entry[1] == "gap"] == []
