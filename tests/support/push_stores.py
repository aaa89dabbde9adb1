"""Records for push stores, in short."""

from __future__ import annotations

from typing import Any

from sockudo.push.lifecycle import Step, StepKind
from sockudo.push.ports import PushStore
from sockudo.push.recipients import FcmRecipient
from sockudo.push.records import (
    Counters,
    DeadLetter,
    DeliveryEvent,
    DeliveryResult,
    Device,
    Payload,
    PublishIntent,
    PublishStatus,
    State,
    Subscription,
    Target,
)

__all__ = [
    "DAY",
    "NOW",
    "a_device",
    "a_letter",
    "a_status",
    "a_step",
    "a_subscription",
    "accept",
    "an_event",
    "an_intent",
]

NOW = 1_767_225_600_000
DAY = 86_400_000


def a_device(device_id: str = "phone", token: str | None = None, **fields: Any) -> Device:
    values: dict[str, Any] = {
        "app_id": "app",
        "form_factor": "phone",
        "platform": "android",
        "timezone": "Asia/Tokyo",
        "locale": "ja-JP",
        "recipient": FcmRecipient(token or f"token-{device_id}"),
        **fields,
    }
    return Device(id=device_id, **values)


def a_subscription(channel: str = "news", device_id: str = "phone", app_id: str = "app", **fields: Any) -> Subscription:
    values: dict[str, Any] = {"provider": "fcm", "token_hash": "h", **fields}
    return Subscription(app_id=app_id, channel=channel, device_id=device_id, **values)


def an_intent(publish_id: str = "ship", app_id: str = "app", at: int = NOW, **fields: Any) -> PublishIntent:
    values: dict[str, Any] = {
        "targets": [Target(type="channel", channel="news")],
        "payload": Payload(title="Shipped", template_data={"parcel": {"no": 8841}}),
        "regime": "fastPath",
        **fields,
    }
    return PublishIntent(app_id=app_id, publish_id=publish_id, accepted_at_ms=at, **values)


def a_status(
    publish_id: str = "ship", app_id: str = "app", at: int = NOW, state: State = "queued", **fields: Any
) -> PublishStatus:
    values: dict[str, Any] = {"counters": Counters(planned=3), **fields}
    return PublishStatus(app_id=app_id, publish_id=publish_id, state=state, created_at_ms=at, **values)


async def accept(
    store: PushStore, publish_id: str = "ship", app_id: str = "app", at: int = NOW, **fields: Any
) -> PublishStatus:
    """The status of a publish that nobody has accepted before."""
    status = a_status(publish_id, app_id, at, **fields)
    assert await store.accept(status, an_intent(publish_id, app_id, at), [f"id:{publish_id}"], at + DAY) is None
    stored = await store.status(app_id, publish_id)
    assert stored is not None
    return stored


def an_event(event_id: str = "e", at: int = NOW, publish_id: str = "ship", app_id: str = "app") -> DeliveryEvent:
    result = DeliveryResult(
        app_id=app_id, publish_id=publish_id, provider="fcm", batch_id="fast-batch-fcm-1", outcome="accepted"
    )
    return DeliveryEvent(event_id=event_id, occurred_at_ms=at, result=result)


def a_step(key: str, kind: StepKind = "accepted", *, publish_id: str = "ship", **fields: Any) -> Step:
    """With an event of its own."""
    return Step(key, kind, "fcm", event=an_event(f"event-{key}", publish_id=publish_id), **fields)


def a_letter(letter_id: str = "letter", at: int = NOW, publish_id: str = "ship", **fields: Any) -> DeadLetter:
    values: dict[str, Any] = {
        "app_id": "app",
        "provider": "fcm",
        "stage": "retry_schedule",
        "key": "k",
        "reason": "retry attempts exhausted: quota",
        "payload": b"\x00\xff message",
        **fields,
    }
    return DeadLetter(dead_letter_id=letter_id, publish_id=publish_id, occurred_at_ms=at, **values)
