"""The HTTP API, asked in the ways that take different roads through the server and have to be answered alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from support.raw import Address, Answer, RawConnection, request_bytes, signed_target
from support.server import DEFAULT_APP
from support.signing import Credentials

__all__ = ["LANES", "Api", "Lane"]


class Lane(NamedTuple):
    """A way of sending a request: the version of HTTP and headers besides the usual ones."""

    name: str
    version: str
    headers: Mapping[str, str]

    def __str__(self) -> str:
        return self.name


LANES = (
    Lane("express", "1.1", {}),
    Lane("expect", "1.1", {"Expect": "100-continue"}),
    Lane("http10", "1.0", {}),
)
"""A plain publish is answered from within the parser; one that expects a 100, or HTTP/1.0, by the web framework."""


class Api:
    """The API of one app, over one lane; each request on a connection of its own."""

    def __init__(self, server: Address, lane: Lane = LANES[0], app: Credentials = DEFAULT_APP) -> None:
        self.server = server
        self.lane = lane
        self.app = app

    def ask(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str | None] | None = None
    ) -> Answer:
        """A request to ``target`` as it is. JSON is declared where there is a body; a header of None is left out."""
        content = {"Content-Type": "application/json"} if body else {}
        chosen = {**content, **self.lane.headers, **(headers or {})}
        given = {name: value for name, value in chosen.items() if value is not None}
        with RawConnection(self.server) as connection:
            connection.send(request_bytes(method, target, given, body, version=self.lane.version))
            answer = connection.answer(head=method == "HEAD")
            return connection.answer() if answer.status == 100 else answer

    def post(self, endpoint: str, body: Any, headers: Mapping[str, str | None] | None = None, **signing: Any) -> Answer:
        """A signed POST below the app; ``body`` is JSON text or what becomes it."""
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        path = f"/apps/{self.app.id}/{endpoint}"
        return self.ask("POST", signed_target(self.app, "POST", path, raw, **signing), raw, headers)

    def get(self, endpoint: str, params: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        """A signed query below the app."""
        return self.ask(method, signed_target(self.app, method, f"/apps/{self.app.id}/{endpoint}", params=params))

    def events(self, body: Any, headers: Mapping[str, str | None] | None = None) -> Answer:
        return self.post("events", body, headers)

    def batch(self, body: Any, headers: Mapping[str, str | None] | None = None) -> Answer:
        return self.post("batch_events", body, headers)
