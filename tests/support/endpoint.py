"""An endpoint of webhooks that runs beside a test in a thread of its own."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from support.http_server import Asked, HttpServer
from support.server import Reply
from support.waiting import PATIENCE, wait_until

__all__ = ["WebhookEndpoint", "WebhookRequest"]


@dataclass(frozen=True)
class WebhookRequest:
    """One request, and the status that it was answered with. Header names are lower-cased."""

    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def events(self) -> list[dict[str, Any]]:
        """Copies that the caller may change."""
        return [dict(event) for event in self._read]

    @cached_property
    def _read(self) -> list[dict[str, Any]]:
        # Who waits looks at all of them again and again.
        return list(json.loads(self.body)["events"])

    @property
    def delivery(self) -> str:
        return self.headers["x-sockudo-delivery"]


class WebhookEndpoint(HttpServer):
    """For ``with``. ``status`` and ``text`` are what it answers, after ``delay`` seconds; all may be changed.

    ``headers`` go with each answer. With the files of a ``certificate`` and its key it speaks TLS, as localhost.
    """

    def __init__(
        self,
        status: int = 200,
        delay: float = 0.0,
        text: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.status = status
        self.text = text
        self.delay = delay
        # Whether a request with these events is answered with 500, whatever the status.
        self.refuses: Callable[[list[dict[str, Any]]], bool] | None = None
        self._requests: list[WebhookRequest] = []
        self._headers = headers or {}
        tls = None
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(*certificate)
        super().__init__(self._answered, methods=("POST",), tls=tls)

    @property
    def url(self) -> str:
        return f"{self.origin}/hook"

    @property
    def requests(self) -> list[WebhookRequest]:
        """Everything that was asked so far, in order of arrival."""
        return list(self._requests)

    def taken(self, *names: str) -> list[dict[str, Any]]:
        """The events that it answered with success, in order; of these names, or all."""
        events = [event for request in self.requests if request.status < 300 for event in request.events]
        return [event for event in events if not names or event["name"] in names]

    def waits_for(self, condition: Callable[[list[dict[str, Any]]], bool], seconds: float = PATIENCE) -> None:
        """Returns once what it has taken fulfils the condition."""
        wait_until(lambda: condition(self.taken()), "events at the endpoint", timeout=seconds)

    def _answered(self, asked: Asked) -> Reply:
        refused = self.refuses is not None and self.refuses(json.loads(asked.body)["events"])
        status = 500 if refused else self.status
        time.sleep(self.delay)
        self._requests.append(WebhookRequest(asked.headers, asked.body, status))
        return Reply(status, self._headers, self.text.encode())
