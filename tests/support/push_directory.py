"""A node with what is kept for push, in memory, and signed requests to its routes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from sockudo.apps.live import LiveApp
from sockudo.outbound.addresses import is_public
from sockudo.push.access import DeviceTokens
from sockudo.push.directory import Directory
from sockudo.push.endpoints import EndpointRules
from sockudo.push.ports import PushStore
from sockudo.push.secrecy import Envelopes
from sockudo.push.stores.sql import MemoryPushStore
from support.components import of_directory
from support.edge import EdgeNode, Response, request
from support.inside import credentials, live_app
from support.push_accounts import check_inline
from support.signing import signed_query

__all__ = ["ENCRYPTION_KEY", "InlineTokens", "PushNode", "device_body"]

ENCRYPTION_KEY = "planted-encryption-key"

Result = TypeVar("Result")


class InlineTokens(DeviceTokens):
    """Hashes where it is asked to: nothing waits for a thread.

    Each makes the same tokens in the same order, so that a hash that some test has waited for is there for the next.
    """

    def __init__(self) -> None:
        super().__init__(random=Random("device tokens").randbytes)

    async def _run(self, work: Callable[..., Result], *parts: object) -> Result:
        return _once(work, *parts)


@functools.cache
def _once(work: Callable[..., Result], *parts: object) -> Result:
    return work(*parts)


def device_body(device_id: str = "tab-1", *, client_id: str | None = "u-91", **changes: Any) -> dict[str, Any]:
    """The body of a registration."""
    recipient = {"transportType": "gcm", "registrationToken": f"planted-token-of-{device_id}"}
    return {
        "id": device_id,
        "clientId": client_id,
        "formFactor": "tablet",
        "platform": "android",
        "timezone": "Asia/Tokyo",
        "locale": "ja-JP",
        "push": {"recipient": recipient},
        **changes,
    }


class PushNode(EdgeNode):
    """Devices, subscriptions, credentials and templates behind the edge."""

    def __init__(self, *apps: LiveApp, encryption_key: str | None = ENCRYPTION_KEY, allow_local: bool = False) -> None:
        super().__init__(*(apps or (live_app("app"), live_app("other"))))
        self.store: PushStore = MemoryPushStore()
        self.rules = EndpointRules(is_public, allow_local=allow_local)
        envelopes = Envelopes(encryption_key)
        self.directory = Directory(self.store, self.rules, envelopes, self.clock, check_inline, tokens=InlineTokens())
        self.components.push_storage.put(of_directory(self.directory))

    async def ask(
        self,
        method: str,
        what: str,
        body: Any = None,
        *,
        app: LiveApp | None = None,
        headers: dict[str, str] | None = None,
        device: str | None = None,
        raw_path: str | None = None,
        **params: str,
    ) -> Response:
        """A signed request; with ``device`` it is one of push-subscribe with that token, empty for none."""
        app = app or self.app
        path = raw_path or f"/apps/{app.id}/push{what}"
        text = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        query = signed_query(credentials(app), method, path, params=params, body=text, timestamp=int(self.clock.time()))
        fields = {"Content-Length": str(len(text))}
        if body is not None:
            fields["Content-Type"] = "application/json"
        if device is not None:
            fields["X-Sockudo-Push-Capability"] = "push-subscribe"
        if device:
            fields["X-Sockudo-Device-Identity-Token"] = device
        return await self.wire().ask(request(method, f"{path}?{query}", fields | (headers or {})) + text)

    async def register(self, device_id: str = "tab-1", **options: Any) -> str:
        """Registers a device and returns its identity token."""
        reply = await self.ask("POST", "/deviceRegistrations", device_body(device_id, **options))
        assert reply.status == 201
        return str(reply.json()["deviceIdentityToken"])

    async def subscribe(self, channel: str, device_id: str) -> None:
        reply = await self.ask("POST", "/channelSubscriptions", {"channel": channel, "deviceId": device_id})
        assert reply.status == 201

    async def walk(self, what: str, **params: str) -> list[Any]:
        """Every row of a list, one by one."""
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await self.ask("GET", what, limit="1", **params, **cursor)).json()
            assert set(page) == {"items", "next_cursor", "has_more"}
            found += page["items"]
            if not page["has_more"]:
                assert page["next_cursor"] is None
                return found
            cursor = {"cursor": page["next_cursor"]}
