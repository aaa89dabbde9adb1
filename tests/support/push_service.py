"""Push over a store and a queue in memory, with readiness by hand; behind the edge, too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sockudo.apps.live import LiveApp
from sockudo.config.push_rules import PushRule
from sockudo.config.sections.push import Push as PushSettings
from sockudo.config.sections.push import PushDefaultQuotas
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Lease
from sockudo.outbound.addresses import is_public
from sockudo.push.bodies import PublishRequest
from sockudo.push.delivery import Readiness
from sockudo.push.endpoints import EndpointRules
from sockudo.push.messages import PUSH_QUEUE, Stage
from sockudo.push.ports import PushStore
from sockudo.push.recipients import Provider
from sockudo.push.records import Payload, Target
from sockudo.push.rules import EventRules
from sockudo.push.service import Push
from sockudo.push.services import push_off
from sockudo.push.stores.sql import MemoryPushStore
from sockudo.push.telemetry import PushCounters
from sockudo.testing import FakeClock
from support.components import of_directory
from support.edge import Response
from support.push_directory import PushNode
from support.push_stores import NOW

__all__ = ["FCM", "Desk", "PublishNode", "a_publish", "channel", "device", "waiting"]

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
