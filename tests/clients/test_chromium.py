"""pusher-js in a real browser: one page of an application, and what it shows of what the HTTP API publishes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import pusher
import pytest

from clients.chromium import Chromium, Page
from support.node import CLIENTS, install_packages
from support.server import ServerProcess

BUILDS = Path("pusher-js/dist/web")


class Website:
    """The application's own web server: the page, the client library, and the auth endpoints over the Python SDK."""

    def __init__(self, sdk: pusher.Pusher, library: Path) -> None:
        page = (CLIENTS / "page.html").read_bytes()
        script = library.read_bytes()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/pusher.js":
                    self.answer(script, "text/javascript")
                elif path == "/":
                    self.answer(page, "text/html")
                else:
                    self.send_error(404)

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                form = {name: values[0] for name, values in parse_qs(self.rfile.read(length).decode()).items()}
                if self.path == "/user-auth":
                    answer = sdk.authenticate_user(form["socket_id"], {"id": "page"})
                else:
                    channel = form["channel_name"]
                    member = {"user_id": "page", "user_info": {"name": "Páge"}} if "presence-" in channel else None
                    answer = sdk.authenticate(channel, form["socket_id"], member)
                self.answer(json.dumps(answer, default=bytes.decode).encode(), "application/json")

            def answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, name="website")
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture(params=["pusher.min.js", "pusher-with-encryption.min.js"])
def website(request: pytest.FixtureRequest, python_sdk: pusher.Pusher) -> Iterator[Website]:
    library: str = request.param
    site = Website(python_sdk, install_packages() / BUILDS / library)
    yield site
    site.close()


def shown(page: Page, channel: str, event: str) -> Any:
    """Waits until the page lists such an event; its data."""
    prefix = json.dumps([channel, event], ensure_ascii=False, separators=(",", ":"))[:-1]
    text = page.wait_for(
        f"[...document.querySelectorAll('#events li')].map(item => item.textContent)"
        f".find(text => text.startsWith({json.dumps(prefix)}))"
    )
    return json.loads(text)[2]


def test_page_shows_what_is_published(
    website: Website,
    server: ServerProcess,
    python_sdk: pusher.Pusher,
    chromium: Chromium,
    request: pytest.FixtureRequest,
) -> None:
    public, private, presence, cached = "news", "private-desk", "presence-room", "cache-rates"
    channels = [public, private, presence, cached]
    encrypted = "private-encrypted-vault"
    if "with-encryption" in request.node.name:
        channels.append(encrypted)
    python_sdk.trigger(cached, "rate", {"eur": 2})
    address = f"http://127.0.0.1:{website.port}/?key={server.numeric_app.key}&port={server.port}"
    with chromium.open_page(f"{address}&channels={quote(','.join(channels), safe='')}") as page:
        page.wait_for("document.getElementById('state').textContent === 'connected'")
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
        page.wait_for("document.getElementById('state').textContent === 'disconnected'")
        assert shown(page, "", "error") == {"code": 4009, "message": "You got disconnected by the app."}
