"""A push pipeline in virtual time, over store and queue in memory, with providers that answer as they are told."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from msgspec.structs import replace

from sockudo.base.ids import unique_id
from sockudo.config.sections.push import Push as PushSettings
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Job, Lease
from sockudo.push.delivery import PushProvider, Readiness, Sent
from sockudo.push.messages import PUSH_QUEUE, STAGES, publish_message
from sockudo.push.observers import PushProbe
from sockudo.push.pipeline import Pipeline
from sockudo.push.pipeline.works import Works
from sockudo.push.recipients import FcmRecipient, Provider, Recipient
from sockudo.push.records import (
    TERMINAL,
    Counters,
    DeadLetter,
    Device,
    FailureClass,
    OutcomeError,
    Payload,
    PublishIntent,
    PublishStatus,
    Regime,
    Subscription,
    Target,
)
from sockudo.push.stores.sql import MemoryPushStore
from support.virtual_time import LoopClock

__all__ = ["APP", "ScriptedProvider", "World", "device", "failure", "on_channel"]

APP = "app-1"
KINDS: dict[str, FailureClass] = {
    "invalid_token": "device_terminal",
    "quota": "provider_quota",
    "unavailable": "provider_transient",
    "auth_failure": "credential_auth",
    "invalid_payload": "caller_payload",
    "network_transport": "network_transport",
}


def failure(kind: str, *, retry_after_ms: int | None = None) -> Sent:
    """What a provider that fails in this way says."""
    error = OutcomeError(kind=kind, failure_class=KINDS[kind], reason=kind, retry_after_ms=retry_after_ms)
    return Sent("retryable" if kind in ("quota", "unavailable", "network_transport") else "rejected", None, error)


def device(number: int | str, *, token: str | None = None, recipient: Recipient | None = None, **more: Any) -> Device:
    return Device(
        app_id=more.pop("app_id", APP),
        id=f"device-{number}",
        form_factor="phone",
        platform="android",
        timezone="UTC",
        locale="en",
        recipient=recipient or FcmRecipient(token or f"token-{number}"),
        **more,
    )


def on_channel(name: str = "news") -> Target:
    return Target(type="channel", channel=name)


class ScriptedProvider:
    """Answers by token: the next of its script, else what ``otherwise`` says. Keeps every request with its time."""

    def __init__(self, clock: LoopClock) -> None:
        self.clock = clock
        self.sends: list[tuple[int, str, str]] = []
        self.scripts: dict[str, list[Sent]] = defaultdict(list)
        self.otherwise: Callable[[str], Sent] = lambda token: Sent("accepted", f"id-{token}")
        self.latency: Callable[[], float] = lambda: 0.02
        self.ready: Callable[[str], bool] = lambda app_id: True
        self.under_way = 0
        self.most_under_way = 0

    async def send(
        self, app_id: str, payload: Mapping[str, Any], recipient: Recipient, *, expires_at_ms: int | None
    ) -> Sent:
        token = recipient.token
        self.sends.append((self.clock.ms(), app_id, token))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.latency())
        finally:
            self.under_way -= 1
        return self.scripts[token].pop(0) if self.scripts[token] else self.otherwise(token)

    def times(self, token: str) -> list[int]:
        """When it was asked to send to this token."""
        return [at for at, _, each in self.sends if each == token]

    @property
    def tokens(self) -> list[str]:
        return [token for _, _, token in self.sends]

    async def readiness(self, app_id: str) -> Readiness:
        return Readiness(self.ready(app_id))

    async def close(self) -> None:
        pass


class _Mortal:
    """Passes calls on, with a pause before and after each; nothing gets through once the process is dead."""

    def __init__(self, inner: Any, dice: random.Random) -> None:
        self._inner = inner
        self._dice = dice
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._pause()
            result = await method(*args, **kwargs)
            await self._pause()
            return result

        return call

    async def _pause(self) -> None:
        if not self.dead:
            await asyncio.sleep(self._dice.random() * 0.02)
        if self.dead:
            raise asyncio.CancelledError


class _Queue(MemoryJobQueue):
    """Remembers what followed from messages that were finished."""

    def __init__(self) -> None:
        super().__init__(PUSH_QUEUE)
        self.followed: list[Job] = []

    async def settle(self, leases: Sequence[Lease], follow_up: Sequence[Job], now_ms: int) -> list[bool]:
        self.followed.extend(follow_up)
        return await super().settle(leases, follow_up, now_ms)


class World:
    """Store, queue and providers outlive the pipeline, which may be killed and started again.

    With ``dice`` every call of the store and the queue takes a moment before and after it has its effect.
    """

    def __init__(
        self,
        options: PushSettings | None = None,
        *,
        providers: Sequence[Provider] = ("fcm",),
        dice: random.Random | None = None,
        probe: PushProbe | None = None,
    ) -> None:
        self.clock = LoopClock()
        self.store = MemoryPushStore()
        self.queue = _Queue()
        self.options = options or PushSettings()
        self.providers = {provider: ScriptedProvider(self.clock) for provider in providers}
        self.probe = probe
        self._dice = dice
        self._mortals: list[_Mortal] = []
        self.kills = 0

    @property
    def fcm(self) -> ScriptedProvider:
        return self.providers["fcm"]

    async def __aenter__(self) -> World:
        structlog.contextvars.clear_contextvars()
        self.start()
        return self

    async def __aexit__(self, *problem: object) -> None:
        await self.pipeline.close(0.0)

    def start(self) -> None:
        """A process with a pipeline of its own."""
        store: Any = self.store
        queue: Any = self.queue
        if self._dice is not None:
            self._mortals = [_Mortal(store, self._dice), _Mortal(queue, self._dice)]
            store, queue = self._mortals
        self.works = Works(store, queue, self.clock, self.options)
        if self.probe is not None:
            self.works.probe = self.probe
        adapters: Mapping[Provider, PushProvider] = self.providers
        self.pipeline = Pipeline(self.works, adapters)
        self.pipeline.start()

    async def kill(self) -> None:
        """Ends the process where it stands: whatever it had in hand stays leased."""
        self.kills += 1
        for mortal in self._mortals:
            mortal.dead = True
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    # ---- what others do ----

    async def register(self, *devices: Device, channel: str | None = None) -> None:
        for each in devices:
            await self.store.put_device(each)
            if channel is not None:
                await self.store.put_subscription(
                    Subscription(
                        app_id=each.app_id,
                        channel=channel,
                        device_id=each.id,
                        provider=each.recipient.provider,
                        token_hash=each.token_hash,
                    )
                )

    async def publish(
        self,
        *targets: Target,
        publish_id: str | None = None,
        app_id: str = APP,
        regime: Regime = "fastPath",
        **more: Any,
    ) -> str:
        """Accepted, as admission does it; the id."""
        publish_id = publish_id or unique_id()
        now = self.clock.ms()
        intent = PublishIntent(
            app_id=app_id,
            publish_id=publish_id,
            targets=list(targets),
            payload=more.pop("payload", Payload(title="Hello", body="World")),
            regime=regime,
            accepted_at_ms=now,
            **more,
        )
        status = PublishStatus(
            app_id=app_id,
            publish_id=publish_id,
            state="queued",
            counters=Counters(planned=1),
            regime=regime,
            not_before_ms=intent.not_before_ms,
            expires_at_ms=intent.expires_at_ms,
            created_at_ms=now,
            updated_at_ms=now,
        )
        await self.store.accept(status, intent, [], now)
        await self.queue.put([publish_message(app_id, publish_id)], now)
        self.pipeline.wake("publish_log")
        return publish_id

    async def cancel(self, publish_id: str, app_id: str = APP) -> None:
        while True:
            status = await self.status(publish_id, app_id)
            if await self.store.swap_status(status, replace(status, state="cancelled")) is not None:
                return

    # ---- what became of it ----

    async def status(self, publish_id: str, app_id: str = APP) -> PublishStatus:
        status = await self.store.status(app_id, publish_id)
        assert status is not None
        return status

    async def ended(self, publish_id: str, app_id: str = APP, *, within: float = 600.0) -> PublishStatus:
        """The status once the publish has ended and nothing of it is left in the queue."""
        async with asyncio.timeout(within):
            while True:
                status = await self.status(publish_id, app_id)
                if status.state in TERMINAL and await self.is_idle():
                    return await self.status(publish_id, app_id)
                await asyncio.sleep(0.05)

    async def is_idle(self) -> bool:
        depths = await self.queue.depths(self.clock.ms())
        return not any(depths[stage].ready + depths[stage].delayed + depths[stage].inflight for stage in STAGES)

    async def letters(self) -> list[DeadLetter]:
        return await self.store.dead_letters(APP, provider=None, since_ms=None, until_ms=None, after="", limit=1000)

    def counted(self, name: str) -> int:
        return sum(count for (each, _), count in self.works.counters.counts.items() if each == name)
