"""The dashboard without sockets, over a push store in memory with devices, publishes and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from sockudo.jobs.memory import MemoryJobQueue
from sockudo.outbound.addresses import is_public
from sockudo.push.delivery import Readiness, Sent
from sockudo.push.directory import Directory
from sockudo.push.endpoints import EndpointRules
from sockudo.push.lifecycle import Step, StepKind, planned
from sockudo.push.messages import PUSH_QUEUE
from sockudo.push.outcomes import change_status
from sockudo.push.recipients import Provider, Recipient
from sockudo.push.records import OutcomeError, Target
from sockudo.push.secrecy import Envelopes
from sockudo.push.service import Push
from sockudo.push.stores.sql import MemoryPushStore
from support.desk import Desk
from support.inside import of_directory
from support.push_accounts import check_inline
from support.push_stores import (
    DAY,
    a_device,
    a_status,
    a_subscription,
    an_event,
    an_intent,
)
from unit.push.nodes import InlineTokens, push_settings

__all__ = ["SECRET", "FakeProvider", "PushDesk"]

SECRET = "planted-token"
"""In every token: it must be nowhere in what the dashboard says."""


class FakeProvider:
    """Answers what a test wants, and keeps what it was given."""

    def __init__(self) -> None:
        self.answer = Sent("accepted", "message-1")
        self.sent: list[tuple[str, Mapping[str, Any], Recipient]] = []

    async def send(
        self, app_id: str, payload: Mapping[str, Any], recipient: Recipient, *, expires_at_ms: int | None
    ) -> Sent:
        assert expires_at_ms is not None
        self.sent.append((app_id, payload, recipient))
        return self.answer

    async def readiness(self, app_id: str) -> Readiness:
        return Readiness(True)

    async def close(self) -> None:
        pass


class PushDesk(Desk):
    """``app`` is the id of the only app. FCM can send, APNs lacks credentials."""

    def __init__(self) -> None:
        super().__init__()
        edge = self.node.edge
        edge.settings = edge.gateway.settings = replace(
            edge.settings, push=replace(edge.settings.push, fcm_enabled=True, apns_enabled=True)
        )
        self.app_id = edge.apps.all()[0].id
        self.store = MemoryPushStore()
        self.fcm = FakeProvider()
        self.ready: dict[Provider, Readiness] = {
            "fcm": Readiness(True, "stored credential fcm"),
            "apns": Readiness(False, None, "APNS_TOPIC is not set"),
        }

        async def ready(_: str) -> Mapping[Provider, Readiness]:
            return self.ready

        rules = EndpointRules(is_public)
        self.push = Push(
            self.store,
            MemoryJobQueue(PUSH_QUEUE),
            self.clock,
            ready,
            rules,
            push_settings(),
            providers={"fcm": self.fcm},
        )
        directory = Directory(
            self.store, rules, Envelopes("planted-encryption-key"), self.clock, check_inline, tokens=InlineTokens()
        )
        self.node.components.push = self.push
        self.node.components.push_storage.put(of_directory(directory))

    @property
    def now(self) -> int:
        return self.push.now_ms()

    async def device(self, device_id: str = "phone", *channels: str, **fields: Any) -> None:
        await self.store.put_device(a_device(device_id, f"{SECRET}-{device_id}", **{"app_id": self.app_id, **fields}))
        for channel in channels:
            await self.store.put_subscription(a_subscription(channel, device_id, self.app_id))

    async def publish(self, publish_id: str = "ship", *targets: Target, count: int = 1, **fields: Any) -> None:
        """Accepted a moment later than the one before, for a channel unless told otherwise."""
        self.clock.advance(0.01)
        wanted = list(targets) or [Target(type="channel", channel="news")]
        status = a_status(publish_id, self.app_id, self.now, **fields)
        intent = an_intent(publish_id, self.app_id, self.now, targets=wanted)
        assert await self.store.accept(status, intent, [f"id:{publish_id}"], self.now + DAY) is None
        if status.state == "queued" and status.not_before_ms is None:
            await change_status(self.store, self.app_id, publish_id, lambda now: planned(now, count), self.now)

    async def outcome(
        self,
        publish_id: str = "ship",
        device_id: str = "phone",
        kind: StepKind = "accepted",
        error: OutcomeError | None = None,
        attempt: int = 1,
    ) -> None:
        """What became of it at one device."""
        self.clock.advance(0.01)
        words = {"accepted": "accepted", "rejected": "rejected", "retry_scheduled": "retryable", "expired": "expired"}
        made = an_event(f"{device_id}-{attempt}", self.now, publish_id, self.app_id)
        result = replace(
            made.result,
            device_id=device_id,
            outcome=words[kind],  # type: ignore[arg-type]
            error=error,
            attempt=attempt,
        )
        step = Step(f"{device_id}-{attempt}", kind, "fcm", device_id, error, event=replace(made, result=result))
        await self.store.take_steps(self.app_id, publish_id, [step], self.now, self.now + DAY)
