"""An endpoint of webhooks that runs beside a test in a thread of its own."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.waiting import wait_until

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


class WebhookEndpoint:
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
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._headers = headers or {}
        self._place = f"http://127.0.0.1:{self._server.server_address[1]}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._place = f"https://localhost:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"{self._place}/hook"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def requests(self) -> list[WebhookRequest]:
        """Everything that was asked so far, in order of arrival."""
        return list(self._requests)

    def taken(self, *names: str) -> list[dict[str, Any]]:
        """The events that it answered with success, in order; of these names, or all."""
        events = [event for request in self.requests if request.status < 300 for event in request.events]
        return [event for event in events if not names or event["name"] in names]

    def waits_for(self, condition: Callable[[list[dict[str, Any]]], bool], seconds: float = 15.0) -> None:
        """Returns once what it has taken fulfils the condition."""
        wait_until(lambda: condition(self.taken()), "events at the endpoint", timeout=seconds)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                due = int(self.headers["Content-Length"])
                body = self.rfile.read(due)
                if len(body) < due:
                    # Whoever was sending has ended meanwhile.
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = endpoint.status
                if endpoint.refuses is not None and endpoint.refuses(json.loads(body)["events"]):
                    status = 500
                time.sleep(endpoint.delay)
                endpoint._requests.append(WebhookRequest(headers, body, status))
                self.send_response(status)
                answer = endpoint.text.encode()
                for name, value in endpoint._headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler
