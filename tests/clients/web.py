"""The client for browsers where it runs, Node and Chromium, behind one face: the same test is for both."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from playwright.sync_api import Page

from clients.node import CLIENTS, Node
from support.http_server import Asked, HttpServer
from support.server import DEFAULT_APP, Reply
from support.signing import Credentials, channel_auth, user_auth

__all__ = ["BUILT", "LAB", "Site", "WebClient", "in_node", "in_page"]

BUILT = CLIENTS.parent.parent / "src" / "sockudo" / "client" / "browser"
LAB = CLIENTS / "web_lab.js"
PAGE = b"""<!doctype html><meta charset="utf-8"><title>Page</title><link rel="icon" href="data:,">
<script src="/client/sockudo.js"></script><script src="/lab.js"></script>"""

_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".map": "application/json", ".html": "text/html"}

Run = Callable[[str, Any], Any]


class Site(HttpServer):
    """An application's web server: an empty page with the client, and the backend that signs for ``user``.

    Channels with ``forbidden`` in their names are refused with 403; ``failing`` is how many requests are answered with
    503 first. ``asked`` are the bodies of all requests for signatures. ``answers`` are further paths.
    """

    def __init__(self, app: Credentials = DEFAULT_APP) -> None:
        self.app = app
        self.user: dict[str, Any] = {"id": "ana", "user_info": {"name": "Ána"}}
        self.asked: list[dict[str, list[str]]] = []
        self.failing = 0
        self.secret = hashlib.sha256(b"one").digest()
        self.answers: dict[str, Callable[[Asked], Reply]] = {}
        super().__init__(self._answered, methods=("GET", "POST", "OPTIONS"))

    def _answered(self, asked: Asked) -> Reply:
        path = asked.path.partition("?")[0]
        if asked.method == "GET":
            return self._file(path)
        if path in self.answers:
            return self.answers[path](asked)
        form = parse_qs(asked.body.decode())
        self.asked.append(form)
        if self.failing:
            self.failing -= 1
            return Reply(503, {}, b"")
        return _json(*self._sign(path, form))

    def _file(self, path: str) -> Reply:
        files = {"/": None, "/lab.js": LAB}
        file = (
            files.get(path, BUILT / path.rpartition("/")[2]) if path in files or path.startswith("/client/") else BUILT
        )
        if file is None:
            return Reply(200, {"Content-Type": "text/html"}, PAGE)
        if not file.is_file():
            return Reply(404, {}, b"")
        return Reply(200, {"Content-Type": _TYPES.get(file.suffix, "text/plain")}, file.read_bytes())

    def _sign(self, path: str, form: Mapping[str, list[str]]) -> tuple[int, Any]:
        socket_id = form["socket_id"][0]
        if path.endswith("/user-auth"):
            described = json.dumps(self.user)
            return 200, {"auth": user_auth(self.app, socket_id, described), "user_data": described}
        if "channel_names[]" in form:
            return 200, {name: self._channel(socket_id, name)[1] for name in form["channel_names[]"]}
        return self._channel(socket_id, form["channel_name"][0])

    def _channel(self, socket_id: str, name: str) -> tuple[int, Any]:
        if "forbidden" in name:
            return 403, {"error": "not for you", "status": 403}
        if name.startswith("presence-"):
            described = json.dumps({"user_id": self.user["id"], "user_info": self.user.get("user_info")})
            return 200, {"auth": channel_auth(self.app, socket_id, name, described), "channel_data": described}
        answer = {"auth": channel_auth(self.app, socket_id, name)}
        if name.startswith("private-encrypted-"):
            answer["shared_secret"] = base64.b64encode(self.secret).decode()
        return 200, answer


def _json(status: int, content: Any) -> Reply:
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(content).encode())


def in_node(node: Node) -> Run:
    return lambda code, arg: node.call("run", code=code, arg=arg, timeout=60)


def in_page(page: Page) -> Run:
    return lambda code, arg: page.evaluate(f"async (arg) => await ({code})(arg)", arg)


class WebClient:
    """One client in ``run``'s place, and what it has heard."""

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name

    def open(self, site: Site, server_url: str, *, key: str | None = None, **options: Any) -> WebClient:
        """Connects; ``options`` are those of the client, with a ``tokenEndpoint`` in place of a function."""
        chosen = {
            "url": server_url,
            "authEndpoint": f"{site.origin}/auth",
            "userAuthentication": {"endpoint": f"{site.origin}/user-auth"},
            "minReconnectDelay": 20,
            **options,
        }
        self.run("lab.open", {"name": self.name, "key": key or site.app.key, "options": chosen})
        return self

    def do(self, code: str, arg: Any = None) -> Any:
        """What JavaScript makes of ``client`` and ``arg``."""
        return self.run(f"async ([name, arg]) => (async (client, arg) => {code})(clients[name], arg)", [self.name, arg])

    def wait(self, condition: str, arg: Any = None) -> Any:
        """Waits until an expression over ``client`` and ``arg`` is true."""
        text = json.dumps(condition)
        return self.do(f"await lab.until(() => ({condition}), {text})", arg)

    def connected(self) -> str:
        socket_id: str = self.do("client.connected()")
        return socket_id

    def ask(self, channel: str, **options: Any) -> None:
        """Asks for a channel; its acknowledgement is still to come."""
        self.run("lab.subscribe", {"name": self.name, "channel": channel, "options": options or None})

    def subscribe(self, channel: str, **options: Any) -> None:
        """The same, once it is acknowledged."""
        self.run("lab.subscribe", {"name": self.name, "channel": channel, "options": options or None})
        self.do("client.channel(arg).subscribed().then(() => true)", channel)

    def heard(self, channel: str, *, events: str | None = None) -> list[Any]:
        """The data of what the application got on a channel, in order, system events left out; or of one event."""
        kept = [each for each in self.do("client.heard") if each[0] == channel]
        if events is not None:
            return [data for _, event, data, _ in kept if event == events]
        return [
            data for _, event, data, _ in kept if not event.startswith("pusher:") and event not in ("recovered", "gap")
        ]

    def waits_for(self, channel: str, event: str, count: int = 1) -> Any:
        """The data of the newest such event, once there are so many."""
        found = "client.heard.filter(([at, event]) => at === arg[0] && event === arg[1])"
        self.wait(f"{found}.length >= arg[2]", [channel, event, count])
        return self.heard(channel, events=event)[count - 1]

    def close(self) -> None:
        self.do("client?.disconnect()")
