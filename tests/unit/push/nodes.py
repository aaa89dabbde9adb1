"""Nodes with push over what is kept in memory, asked with signed requests; and its service alone."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from sockudo.apps.live import LiveApp
from sockudo.config.push_rules import PushRule
from sockudo.config.sections.push import Push as PushSettings
from sockudo.config.sections.push import PushDefaultQuotas
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Lease
from sockudo.outbound.addresses import is_public
from sockudo.push.access import DeviceTokens
from sockudo.push.bodies import PublishRequest
from sockudo.push.delivery import Readiness
from sockudo.push.directory import Directory
from sockudo.push.endpoints import EndpointRules
from sockudo.push.messages import PUSH_QUEUE, Stage
from sockudo.push.ports import PushStore
from sockudo.push.recipients import Provider
from sockudo.push.records import Payload, Target
from sockudo.push.rules import EventRules
from sockudo.push.secrecy import Envelopes
from sockudo.push.service import Push
from sockudo.push.services import push_off
from sockudo.push.stores.sql import MemoryPushStore
from sockudo.push.telemetry import PushCounters
from sockudo.testing import FakeClock
from support.edge import EdgeNode, Response
from support.inside import live_app, of_directory
from support.push_accounts import check_inline
from support.push_stores import NOW

__all__ = [
    "ENCRYPTION_KEY",
    "FCM",
    "Desk",
    "InlineTokens",
    "PublishNode",
    "PushNode",
    "a_publish",
    "channel",
    "device",
    "device_body",
    "push_settings",
    "waiting",
]

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
        path = raw_path or f"/apps/{(app or self.app).id}/push{what}"
        fields: dict[str, str] = {}
        if device is not None:
            fields["X-Sockudo-Push-Capability"] = "push-subscribe"
        if device:
            fields["X-Sockudo-Device-Identity-Token"] = device
        return await self.signed(method, path, body, app=app, headers=fields | (headers or {}), **params)

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


FCM: Mapping[Provider, Readiness] = {"fcm": Readiness(True)}
RULES = EndpointRules(is_public)


def channel(name: str = "news") -> Target:
    return Target(type="channel", channel=name)


def device(device_id: str) -> Target:
    return Target(type="device", device_id=device_id)


def a_publish(*targets: Target, publish_id: str | None = None, **fields: Any) -> PublishRequest:
    """To a channel unless told otherwise; fields of `PublishRequest`, or of its payload."""
    own = {name: fields.pop(name) for name in ("overrides", "not_before_ms", "expires_at_ms", "sync") if name in fields}
    payload = Payload(**{"title": "Shipped", **fields})
    return PublishRequest(publish_id, list(targets or (channel(),)), payload, own.pop("overrides", []), **own)


async def waiting(queue: MemoryJobQueue, stage: Stage = "publish_log", now_ms: int = NOW * 2) -> list[Lease]:
    """Every message of a stage, taken away."""
    leases = await queue.lease(stage, 1000, now_ms, now_ms + 30_000)
    await queue.settle(leases, [], now_ms)
    return leases


def push_settings(**options: Any) -> PushSettings:
    """Settings of push: FCM and APNs, if no ``providers`` are named, without an acceptance rate unless there is one."""
    providers = options.pop("providers", ("fcm", "apns"))
    quotas = PushDefaultQuotas(acceptance_rps=options.pop("acceptance_rps", 0))
    return PushSettings(**{f"{name.lower()}_enabled": True for name in providers}, default_quotas=quotas, **options)


class Desk:
    """The service, and all that it works with. ``woken`` are the stages that it has told to."""

    def __init__(self, store: PushStore | None = None, **options: Any) -> None:
        self.clock = FakeClock(NOW / 1000)
        self.store = store or MemoryPushStore()
        self.queue = MemoryJobQueue(PUSH_QUEUE)
        self.ready: Mapping[Provider, Readiness] = FCM
        self.woken: list[Stage] = []
        self.options = push_settings(**options)
        self.push = Push(self.store, self.queue, self.clock, self._ready, RULES, self.options, wake=self.woken.append)

    async def _ready(self, app_id: str) -> Mapping[Provider, Readiness]:
        return self.ready

    async def log(self) -> Sequence[str]:
        """Ids of the publishes in the log."""
        return [intent.publish_id for intent in await self.store.intents("app", "", 1000)]

    async def queued(self) -> list[str]:
        """Keys of what waits to be planned."""
        return [lease.job.key for lease in await waiting(self.queue)]


class PublishNode(PushNode):
    """A node that takes publishes, with a queue in memory that nobody empties."""

    def __init__(self, *apps: LiveApp, rules: Sequence[PushRule] = (), **options: Any) -> None:
        super().__init__(*apps)
        self.queue = MemoryJobQueue(PUSH_QUEUE)
        self.ready: Mapping[Provider, Readiness] = FCM
        made = push_settings(**options)
        self.push = Push(self.store, self.queue, self.clock, self._ready, self.rules, made)
        self.components.push = self.push
        reading = push_off(self.store, self.clock, self.rules, PushCounters())
        self.components.push_storage.put(of_directory(self.directory, reading=reading))
        self.rules_of_events = EventRules(lambda: self.components.push, rules, self.clock, lambda *_: None)
        self.edge.events = self.event_api(self.rules_of_events)

    async def _ready(self, app_id: str) -> Mapping[Provider, Readiness]:
        return self.ready

    @property
    def now_ms(self) -> int:
        return self.push.now_ms()

    async def event(self, body: Any, path: str = "events", **options: Any) -> Response:
        """An event that a backend publishes, once it is answered."""
        wire = self.wire()
        wire.feed(self.publish(body, path=f"/apps/{self.app.id}/{path}", **options))
        for _ in range(1000):
            self.edge.replies.flush()
            if wire.transport.sent:
                return wire.reply()
            await asyncio.sleep(0)
        raise AssertionError("an event is not answered")

    async def published(self) -> list[tuple[list[str | None], str | None]]:
        """Channels and title of what was accepted."""
        await self.rules_of_events.background.idle()
        intents = await self.store.intents(self.app.id, "", 1000)
        return [([target.channel for target in intent.targets], intent.payload.title) for intent in intents]
