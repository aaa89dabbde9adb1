"""pusher-js in a real browser: one page of an application, and what it shows of what the HTTP API publishes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import pusher
import pytest
from playwright.sync_api import Page

from clients.node import CLIENTS, install_packages
from support.http_server import Asked, HttpServer, file_reply
from support.server import Reply, ServerProcess

BUILDS = Path("pusher-js/dist/web")


class Website(HttpServer):
    """The application's own web server: the page, the client library, and the auth endpoints over the Python SDK."""

    def __init__(self, sdk: pusher.Pusher, library: Path) -> None:
        self._sdk = sdk
        self._files = {"/": CLIENTS / "page.html", "/pusher.js": library}
        super().__init__(self._answered)

    def _answered(self, asked: Asked) -> Reply:
        if asked.method == "GET":
            return file_reply(self._files, asked)
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if asked.path == "/user-auth":
            answer = self._sdk.authenticate_user(form["socket_id"], {"id": "page"})
        else:
            channel = form["channel_name"]
            member = {"user_id": "page", "user_info": {"name": "Páge"}} if "presence-" in channel else None
            answer = self._sdk.authenticate(channel, form["socket_id"], member)
        return Reply(200, {"Content-Type": "application/json"}, json.dumps(answer, default=bytes.decode).encode())


@pytest.fixture(params=["pusher.min.js", "pusher-with-encryption.min.js"])
def website(request: pytest.FixtureRequest, python_sdk: pusher.Pusher) -> Iterator[Website]:
    library: str = request.param
    with Website(python_sdk, install_packages() / BUILDS / library) as site:
        yield site


def shown(page: Page, channel: str, event: str) -> Any:
    """Waits until the page lists such an event; its data."""
    prefix = json.dumps([channel, event], ensure_ascii=False, separators=(",", ":"))[:-1]
    text = page.wait_for_function(
        f"[...document.querySelectorAll('#events li')].map(item => item.textContent)"
        f".find(text => text.startsWith({json.dumps(prefix)}))"
    )
    return json.loads(text.json_value())[2]


def test_page_shows_what_is_published(
    website: Website,
    server: ServerProcess,
    python_sdk: pusher.Pusher,
    page: Page,
    request: pytest.FixtureRequest,
) -> None:
    public, private, presence, cached = "news", "private-desk", "presence-room", "cache-rates"
    channels = [public, private, presence, cached]
    encrypted = "private-encrypted-vault"
    if "with-encryption" in request.node.name:
        channels.append(encrypted)
    python_sdk.trigger(cached, "rate", {"eur": 2})
    address = f"http://127.0.0.1:{website.port}/?key={server.numeric_app.key}&port={server.port}"
    page.goto(f"{address}&channels={quote(','.join(channels), safe='')}")
    page.wait_for_function("document.getElementById('state').textContent === 'connected'")
    for channel in channels:
        shown(page, channel, "pusher:subscription_succeeded")
    assert shown(page, cached, "rate") == {"eur": 2}

    for channel in channels:
        python_sdk.trigger(channel, "headline", {"text": f"{channel} – 漢字 🌊"})
    for channel in channels:
        assert shown(page, channel, "headline") == {"text": f"{channel} – 漢字 🌊"}
    assert page.evaluate(f"Object.keys(pusher.channel('{presence}').members.members)") == ["page"]

    page.evaluate("pusher.signin(); pusher.user.signinDonePromise.then(() => true)")
    python_sdk.send_to_user("page", "invitation", {"from": "Ben"})
    assert shown(page, "user", "invitation") == {"from": "Ben"}

    python_sdk.terminate_user_connections("page")
    page.wait_for_function("document.getElementById('state').textContent === 'disconnected'")
    assert shown(page, "", "error") == {"code": 4009, "message": "You got disconnected by the app."}
