"""Ground to break promises of push on: a server that can be killed and started again, providers that outlive it.

The stand-in for the providers is in this process, so that a test reads what was sent without asking for it.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sockudo.push.ports import PushStore
from sockudo.push.recipients import FcmRecipient, Recipient
from sockudo.push.records import Device, Subscription
from sockudo.push.stores.sql import sqlite_push
from sockudo.testing import MockPushProvider, ProviderAnswer, ProviderRequest
from sockudo.testing.loop_thread import LoopThread
from support.push_server import VAPID_KEY, Providers, PushServer
from support.server import DEFAULT_APP, ServerProcess, start_server
from support.signing import Credentials
from support.waiting import wait_until

__all__ = ["OVER", "Ground", "ended", "ground", "kill", "registered", "seeded", "tokens"]

OVER = ("cancelled", "expired", "failed", "succeeded", "partiallySucceeded", "quota_exceeded", "dead_lettered")
"""States from which nothing goes on."""


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


def kill(server: ServerProcess) -> None:
    """SIGKILL, and a look at what its log says about itself."""
    server.send_signal(signal.SIGKILL)
    try:
        assert server.wait() == -signal.SIGKILL
        server.check_log()
    finally:
        server.close()


def ended(server: PushServer, publish_id: str, timeout: float = 60.0) -> Any:
    """The status of a publish once it is over."""

    status = {}

    def is_over() -> bool:
        nonlocal status
        status = server.done("GET", f"/publish/{publish_id}/status")
        return status["state"] in OVER

    try:
        wait_until(is_over, f"the end of {publish_id}", timeout=timeout)
    except AssertionError as late:
        raise AssertionError(f"{late}; {status}") from None
    return status


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
