"""Ground to break promises of push on: a server that can be killed and started again, providers that outlive it.

The stand-in for the providers is in this process, so that a test reads what was sent without asking for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sockudo.push.ports import PushStore
from sockudo.push.recipients import FcmRecipient, Recipient
from sockudo.push.records import Device, Subscription
from sockudo.push.stores.sql import sqlite_push
from sockudo.testing import MockPushProvider, ProviderAnswer, ProviderRequest
from sockudo.testing.loop_thread import LoopThread
from support.server import DEFAULT_APP, Reply, ServerProcess, start_server
from support.signing import Credentials
from support.waiting import wait_until

__all__ = [
    "OVER",
    "SECRET",
    "Ground",
    "PushServer",
    "ground",
    "kill",
    "numbers",
    "push_server",
    "registered",
    "seeded",
    "tokens",
]

SECRET = "planted-token"
"""In every token."""

VAPID_KEY = "DBDo39wc6fB1KQqF3Nf6Q4JfDh1oIUaYg1nRVGdoAHE"
"""A number of P-256."""

OVER = ("cancelled", "expired", "failed", "succeeded", "partiallySucceeded", "quota_exceeded", "dead_lettered")
"""States from which nothing goes on."""


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

    def status(self, publish_id: str) -> Any:
        return self.done("GET", f"/publish/{publish_id}/status")

    def ended(self, publish_id: str, timeout: float = 60.0) -> Any:
        """The status of a publish once it is over."""
        status = {}

        def is_over() -> bool:
            nonlocal status
            status = self.status(publish_id)
            return status["state"] in OVER

        try:
            wait_until(is_over, f"the end of {publish_id}", timeout=timeout)
        except AssertionError as late:
            raise AssertionError(f"{late}; {status}") from None
        return status


class Ground:
    """Providers, a folder for the server's data, and one server after another on it."""

    def __init__(self, mock: MockPushProvider, thread: LoopThread, folder: Path) -> None:
        self.mock = mock
        self.folder = folder
        # Variables for servers.
        self.environ: dict[str, str] = {}
        self._thread = thread

    @contextmanager
    def server(self, config: Mapping[str, Any] | None = None, **push: Any) -> Iterator[PushServer]:
        """A server that is stopped in order, unless the test has killed it."""
        started = self.start(config, **push)
        with started.server:
            yield started

    def start(self, config: Mapping[str, Any] | None = None, **push: Any) -> PushServer:
        """A server that the test has to end."""
        url = self.mock.url
        section = {
            "fcm_enabled": True,
            "webpush_enabled": True,
            "apns_enabled": True,
            "credential_encryption_key": "planted-encryption-key",
            "fcm": {"endpoint": url, "project_id": "demo", "provider_token": "planted-provider-token"},
            "apns": {"endpoint": url, "topic": "test.harbour", "provider_token": "planted-apns-token"},
            "webpush": {"vapid_private_key": VAPID_KEY, "allow_local_endpoints": True},
            "retry": {"initial_backoff_ms": 50, "max_backoff_ms": 200},
            "circuit_breaker": {"cooldown_secs": 1},
            **push,
        }
        environ = {"SOCKUDO_DATA_DIR": str(self.folder), **self.environ}
        process = start_server({**(config or {}), "push": section}, env=environ)
        return PushServer(process, Providers(url))

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a server that sends to FCM alone."""
        return {
            "PUSH_FCM_ENABLED": "true",
            "FCM_ENDPOINT": self.mock.url,
            "FCM_PROVIDER_TOKEN": "static",
            "FCM_PROJECT_ID": "project-1",
            "PUSH_ALLOW_LOCAL_WEB_PUSH_ENDPOINTS": "1",
        }

    @contextmanager
    def fcm_server(
        self, config: Mapping[str, Any] | None = None, *, folder: Path | None = None, **environ: str
    ) -> Iterator[PushServer]:
        """A server that variables tell of FCM, with these on top; the test may kill it."""
        data = {"SOCKUDO_DATA_DIR": str(folder or self.folder)}
        with start_server(config, env={**self.environment, **data, **environ}) as process:
            yield PushServer(process, Providers(self.mock.url))

    # ---- the providers ----

    def script(self, token: str, *answers: ProviderAnswer, forever: bool = False) -> None:
        self._thread.call(lambda: self.mock.script(token, *answers, forever=forever))

    def use_profile(self, name: str) -> None:
        self._thread.call(lambda: self.mock.use_profile(name))

    @property
    def requests(self) -> list[ProviderRequest]:
        """Every notification that a provider was asked to send so far."""
        return self._thread.call(lambda: [each for each in self.mock.requests if each.provider != "oauth"])

    @property
    def sends(self) -> Counter[str]:
        """How often each token was sent to."""
        return Counter(request.token for request in self.requests)

    def sent_at(self, token: str) -> list[float]:
        """The wall times at which it was sent to."""
        ahead = time.time() - time.monotonic()
        return [request.at + ahead for request in self.requests if request.token == token]


@contextmanager
def ground(folder: Path, **options: Any) -> Iterator[Ground]:
    """``options`` are those of the stand-in."""
    thread = LoopThread("push-providers")
    try:
        mock = MockPushProvider(**options)
        thread.run(mock.__aenter__())
        try:
            yield Ground(mock, thread, folder)
        finally:
            thread.run(mock.__aexit__(None, None, None))
    finally:
        thread.close()


@contextmanager
def push_server(config: Mapping[str, Any] | None = None, **push: Any) -> Iterator[PushServer]:
    """One server with providers of its own: FCM and Web Push can send; APNs is on and lacks its topic.

    ``push`` are more keys of that section.
    """
    chosen = {
        "apns": {},
        "retry": {"initial_backoff_ms": 50, "max_attempts": 2},
        # One test's failures are not to hold up the next one's.
        "circuit_breaker": {"failure_threshold": 1000, "cooldown_secs": 1},
        **push,
    }
    with (
        tempfile.TemporaryDirectory(prefix="sockudo-push-", ignore_cleanup_errors=True) as folder,
        ground(Path(folder)) as place,
        place.server(config, **chosen) as running,
    ):
        yield running


def numbers(planned: int, **others: int) -> dict[str, int]:
    """The counters of a publish: those that are not named are zero."""
    names = ("dispatched", "succeeded", "failed", "expired", "retryScheduled", "retryAttempted", "deadLettered")
    return {"planned": planned, **{name: others.get(name, 0) for name in names}}


def kill(server: ServerProcess) -> None:
    """SIGKILL, and a look at what its log says about itself."""
    server.send_signal(signal.SIGKILL)
    try:
        assert server.wait() == -signal.SIGKILL
        server.check_log()
    finally:
        server.close()


def seeded(
    folder: Path,
    recipients: Iterable[Recipient],
    *,
    channel: str,
    app: Credentials = DEFAULT_APP,
    name: str = "device",
) -> int:
    """Registers devices in the store of a server that does not run, and subscribes them; how many.

    Their ids are ``name`` with a number.
    """
    return registered(sqlite_push(folder), recipients, channel=channel, app=app, name=name)


def registered(
    store: PushStore, recipients: Iterable[Recipient], *, channel: str, app: Credentials = DEFAULT_APP, name: str
) -> int:
    """The same in a store that servers may have open; it is closed. Over HTTP each would take a slow hash."""

    async def put() -> int:
        await store.start()
        try:
            devices = [_device(app.id, f"{name}-{number:05}", each) for number, each in enumerate(recipients)]
            for start in range(0, len(devices), 1000):
                some = devices[start : start + 1000]
                await asyncio.gather(*(store.put_device(each) for each in some))
                await asyncio.gather(*(store.put_subscription(_subscription(channel, each)) for each in some))
            return len(devices)
        finally:
            await store.close()

    return asyncio.run(put())


def tokens(count: int, prefix: str = "token") -> list[FcmRecipient]:
    return [FcmRecipient(f"{prefix}-{number:05}") for number in range(count)]


def _device(app_id: str, name: str, recipient: Recipient) -> Device:
    return Device(
        app_id=app_id,
        id=name,
        form_factor="phone",
        platform="android",
        timezone="UTC",
        locale="en",
        recipient=recipient,
    )


def _subscription(channel: str, device: Device) -> Subscription:
    return Subscription(
        app_id=device.app_id,
        channel=channel,
        device_id=device.id,
        provider=device.recipient.provider,
        token_hash=device.token_hash,
    )
