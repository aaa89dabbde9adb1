"""A server that notifies a stand-in for the providers, in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from support.forked import ForkedProcess
from support.server import DEFAULT_APP, Reply, ServerProcess, start_server
from support.waiting import wait_until

__all__ = ["SECRET", "VAPID_KEY", "Providers", "PushServer", "push_server"]

SECRET = "planted-token"
"""In every token."""

VAPID_KEY = "DBDo39wc6fB1KQqF3Nf6Q4JfDh1oIUaYg1nRVGdoAHE"
"""A number of P-256."""


class Providers:
    """The stand-in, spoken to over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status < 300, content
            return json.loads(content) if content else None

    def script(self, token: str, *answers: Mapping[str, Any], forever: bool = False) -> None:
        self.ask("POST", "/script", {"token": token, "answers": answers, "forever": forever})

    def browser(self, name: str) -> dict[str, str]:
        """The recipient of a browser, whose endpoint is here."""
        found: dict[str, str] = self.ask("POST", f"/browsers/{name}")
        return found

    @property
    def requests(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "/requests")
        return found


class PushServer:
    """The server, its providers, and what a backend asks of it."""

    def __init__(self, server: ServerProcess, providers: Providers) -> None:
        self.server = server
        self.providers = providers
        self.app_id = DEFAULT_APP.id

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Reply:
        return self.server.signed(method, f"/apps/{self.app_id}/push{path}", body=body, **options)

    def done(self, method: str, path: str, body: Any = None) -> Any:
        reply = self.ask(method, path, body)
        assert reply.status < 300, reply.text
        return reply.json() if reply.body else None

    def register(self, device_id: str, *channels: str, client_id: str | None = None, recipient: Any = None) -> str:
        """An Android device unless told otherwise; its token."""
        token = f"{SECRET}-{device_id}"
        body = {
            "id": device_id,
            "clientId": client_id,
            "formFactor": "phone",
            "platform": "android",
            "timezone": "Asia/Tokyo",
            "locale": "ja-JP",
            "push": {"recipient": recipient or {"transportType": "gcm", "registrationToken": token}},
        }
        self.done("POST", "/deviceRegistrations", body)
        for channel in channels:
            self.done("POST", "/channelSubscriptions", {"channel": channel, "deviceId": device_id})
        return token

    def publish(self, publish_id: str, *targets: Mapping[str, str], title: str = "Shipped", **fields: Any) -> Any:
        """To the channel ``news`` unless told otherwise."""
        recipients = list(targets) or [{"type": "channel", "channel": "news"}]
        body = {"publishId": publish_id, "recipients": recipients, "payload": {"title": title}, **fields}
        return self.done("POST", "/publish", body)

    def ended(self, publish_id: str) -> Any:
        """The status of a publish once it is over."""
        over = ("cancelled", "expired", "failed", "succeeded", "partiallySucceeded", "quota_exceeded", "dead_lettered")

        def look() -> Any:
            status = self.done("GET", f"/publish/{publish_id}/status")
            return status if status["state"] in over else None

        return wait_until(look, f"the end of {publish_id}")


@contextlib.contextmanager
def push_server(config: Mapping[str, Any] | None = None, **push: Any) -> Iterator[PushServer]:
    """FCM and Web Push can send; APNs is on and lacks its topic. ``push`` are more keys of that section."""
    provider = "sockudo.testing.push_server"
    with ForkedProcess(["--port", "0"], program=provider, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        providers = Providers(process.stdout.readline().strip().removeprefix("listening on "))
        section = {
            "fcm_enabled": True,
            "webpush_enabled": True,
            "apns_enabled": True,
            "credential_encryption_key": "planted-encryption-key",
            "fcm": {"endpoint": providers.url, "project_id": "demo", "provider_token": "planted-provider-token"},
            "webpush": {"vapid_private_key": VAPID_KEY, "allow_local_endpoints": True},
            "retry": {"initial_backoff_ms": 50, "max_attempts": 2},
            # One test's failures are not to hold up the next one's.
            "circuit_breaker": {"failure_threshold": 1000, "cooldown_secs": 1},
            **push,
        }
        with start_server({**(config or {}), "push": section}) as server:
            yield PushServer(server, providers)
