"""An app's backend as its clients see it: it signs for them, and passes their questions about the past on.

It is written with Sockudo's HTTP SDK alone, so that whatever a client gets through it has gone the way that an
application's own code would go.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, quote

from sockudo_http_python import PresenceUser, Sockudo

from support.http_server import Asked, HttpServer
from support.server import Reply

__all__ = ["AppBackend"]


class AppBackend(HttpServer):
    """For ``with``: listens on ``origin``. ``user`` is who asks, as far as the backend knows.

    ``/auth`` and ``/user-auth`` sign; the first refuses channels whose name contains ``forbidden``. ``/history`` and
    ``/presence`` pass on what the client asks about a channel, as the SDKs' documentation describes such a proxy.
    """

    def __init__(self, sdk: Sockudo) -> None:
        self.sdk = sdk
        self.user: dict[str, Any] = {"id": "ana", "user_info": {"name": "Ana"}}
        self.asked: list[tuple[str, Any]] = []
        super().__init__(self._answered, methods=("POST",))

    @contextmanager
    def as_user(self, user_id: str, **fields: Any) -> Iterator[None]:
        """Meanwhile whoever asks is this user."""
        before, self.user = self.user, {"id": user_id, **fields}
        try:
            yield
        finally:
            self.user = before

    def _answered(self, asked: Asked) -> Reply:
        status, answer = self.answer(asked.path, asked.body.decode())
        return Reply(status, {"Content-Type": "application/json"}, answer.encode())

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
