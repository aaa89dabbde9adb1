"""A server with push beside a stand-in for FCM, for black-box tests: registering, publishing, waiting for the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sockudo.testing import MockPushProvider
from support.server import DEFAULT_APP, ServerProcess, start_server
from support.waiting import wait_until

__all__ = ["Fcm", "PushServer", "fcm", "numbers", "push_server"]

_RUNNING = ("queued", "planning", "dispatching")


class Fcm:
    """The stand-in, in a thread of its own."""

    def __init__(self, provider: MockPushProvider) -> None:
        self.provider = provider

    @property
    def sends(self) -> Counter[str]:
        """How often each token was sent to."""
        return Counter(request.token for request in tuple(self.provider.requests))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PUSH_FCM_ENABLED": "true",
            "FCM_ENDPOINT": self.provider.url,
            "FCM_PROVIDER_TOKEN": "static",
            "FCM_PROJECT_ID": "project-1",
            "PUSH_ALLOW_LOCAL_WEB_PUSH_ENDPOINTS": "1",
        }


@contextlib.contextmanager
def fcm(delay: float = 0.0) -> Iterator[Fcm]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    provider = MockPushProvider(delay=delay)
    asyncio.run_coroutine_threadsafe(provider.__aenter__(), loop).result(10)
    try:
        yield Fcm(provider)
    finally:
        asyncio.run_coroutine_threadsafe(provider.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class PushServer:
    """Calls of the push API of one server, as its default app."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; it must be a success."""
        reply = self.server.signed(method, f"/apps/{DEFAULT_APP.id}/push{path}", body=body)
        assert reply.status < 300, (reply.status, reply.text)
        return reply.json() if reply.text else None

    def register(self, count: int, channel: str) -> None:
        """Devices ``device-0`` … with tokens ``token-0`` …, on a channel."""
        for number in range(count):
            recipient = {"transportType": "gcm", "registrationToken": f"token-{number}"}
            device = {
                "id": f"device-{number}",
                "formFactor": "phone",
                "platform": "android",
                "timezone": "UTC",
                "locale": "en",
                "push": {"recipient": recipient},
            }
            self.call("POST", "/deviceRegistrations", device)
            self.call("POST", "/channelSubscriptions", {"channel": channel, "deviceId": device["id"]})

    def publish(self, channel: str, publish_id: str, **more: Any) -> Any:
        body = {
            "publishId": publish_id,
            "recipients": [{"type": "channel", "channel": channel}],
            "payload": {"title": "Hello", "body": "World"},
            **more,
        }
        return self.call("POST", "/publish", body)

    def status(self, publish_id: str) -> dict[str, Any]:
        status: dict[str, Any] = self.call("GET", f"/publish/{publish_id}/status")
        return status

    def ended(self, publish_id: str, *, timeout: float = 60.0) -> dict[str, Any]:
        """The status once the publish has ended."""
        status: dict[str, Any] = {}

        def is_over() -> bool:
            status.update(self.status(publish_id))
            return status["state"] not in _RUNNING

        wait_until(is_over, f"the end of {publish_id}", timeout=timeout)
        return status


@contextlib.contextmanager
def push_server(
    of: Fcm, data: Path, config: Mapping[str, Any] | None = None, **environment: str
) -> Iterator[PushServer]:
    """Its data outlives it; a test may kill it."""
    env = {**of.environment, "SOCKUDO_DATA_DIR": str(data), **environment}
    with start_server(config, env=env) as server:
        yield PushServer(server)


def numbers(planned: int, **others: int) -> dict[str, int]:
    """The counters of a publish: those that are not named are zero."""
    names = ("dispatched", "succeeded", "failed", "expired", "retryScheduled", "retryAttempted", "deadLettered")
    return {"planned": planned, **{name: others.get(name, 0) for name in names}}
