"""An app's backend as its clients see it: it signs for them, and passes their questions about the past on.

It is written with Sockudo's HTTP SDK alone, so that whatever a client gets through it has gone the way that an
application's own code would go.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, quote

from sockudo_http_python import PresenceUser, Sockudo

__all__ = ["AppBackend"]


class _Handler(BaseHTTPRequestHandler):
    backend: AppBackend

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status, answer = self.backend.answer(self.path, body)
        raw = answer.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Tests are told what went wrong by their client."""


class AppBackend:
    """For ``with``: listens on ``url``. ``user`` is who asks, as far as the backend knows.

    ``/auth`` and ``/user-auth`` sign; the first refuses channels whose name contains ``forbidden``. ``/history`` and
    ``/presence`` pass on what the client asks about a channel, as the SDKs' documentation describes such a proxy.
    """

    def __init__(self, sdk: Sockudo) -> None:
        self.sdk = sdk
        self.user: dict[str, Any] = {"id": "ana", "user_info": {"name": "Ana"}}
        self.asked: list[tuple[str, Any]] = []
        handler = type("Handler", (_Handler,), {"backend": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextmanager
    def as_user(self, user_id: str, **fields: Any) -> Iterator[None]:
        """Meanwhile whoever asks is this user."""
        before, self.user = self.user, {"id": user_id, **fields}
        try:
            yield
        finally:
            self.user = before

    def answer(self, path: str, body: str) -> tuple[int, str]:
        """Status and JSON text."""
        if path in ("/auth", "/user-auth"):
            fields = {name: values[0] for name, values in parse_qs(body).items()}
            self.asked.append((path, fields))
            return self._sign(path, fields)
        request = json.loads(body)
        self.asked.append((path, request))
        channel = quote(request["channel"], safe="")
        inner = {"/history": "history", "/presence": "presence/history"}[path]
        if request["action"] == "snapshot":
            inner += "/snapshot"
        params = {name: _text(value) for name, value in request["params"].items()}
        result = self.sdk.get(f"/channels/{channel}/{inner}", params)
        return result.status_code or 502, result.message

    def _sign(self, path: str, fields: dict[str, str]) -> tuple[int, str]:
        socket_id = fields["socket_id"]
        if path == "/user-auth":
            return 200, self.sdk.authenticate_user(socket_id, self.user)
        channel = fields["channel_name"]
        if "forbidden" in channel:
            return 403, "{}"
        member = PresenceUser(self.user["id"], self.user.get("user_info")) if channel.startswith("presence-") else None
        return 200, self.sdk.authenticate(socket_id, channel, member)


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)
