"""What endpoints are told of push, and that they are told nothing unless it was switched on (spec: push § 9)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import structlog

from sockudo.config.sections.push import PushQuotas
from sockudo.inspector import Inspector
from sockudo.push.observers import ProviderRefusals, PushWebhooks
from sockudo.push.records import Counters, OutcomeError, State
from sockudo.testing import FakeClock
from sockudo.webhooks.events import app_event
from sockudo.webhooks.records import Event
from support.push_stores import NOW, a_status, a_subscription
from unit.push.nodes import Desk, a_publish

TOPIC = OutcomeError(
    kind="apns_topic_mismatch",
    failure_class="credential_auth",
    reason="DeviceTokenNotForTopic, sent with apns-topic com.example.app",
)


class Told:
    """In place of the webhooks of a server."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Event]] = []

    def tell(self, app_id: str, name: str, about: Mapping[str, Any]) -> None:
        self.events.append((app_id, app_event(name, about, NOW)))


def webhooks(told: Told | None, *, enabled: bool = True) -> PushWebhooks:
    return PushWebhooks(lambda: told, enabled=enabled)


@pytest.mark.parametrize("state", ["failed", "expired", "dead_lettered", "quota_exceeded"])
def test_a_publish_that_reached_nobody(state: State) -> None:
    told = Told()
    status = a_status(
        state=state, error_reason="no_recipients", code="no_recipients", counters=Counters(planned=2, failed=2)
    )
    webhooks(told).publish_ended(status)
    [(app_id, event)] = told.events
    assert (app_id, event.name, event.channel, event.time_ms) == ("app", "push.publish_failed", "", NOW)
    body = json.loads(event.body)
    assert body["counters"] == {
        "planned": 2,
        "dispatched": 0,
        "succeeded": 0,
        "failed": 2,
        "expired": 0,
        "retryScheduled": 0,
        "retryAttempted": 0,
        "deadLettered": 0,
    }
    assert (body["name"], body["publish_id"], body["state"]) == ("push.publish_failed", "ship", state)
    assert (body["code"], body["error_reason"]) == ("no_recipients", "no_recipients")


@pytest.mark.parametrize("state", ["queued", "dispatching", "succeeded", "partiallySucceeded", "cancelled"])
def test_no_other_end_is_told(state: State) -> None:
    told = Told()
    webhooks(told).publish_ended(a_status(state=state))
    assert told.events == []


def test_a_device_whose_token_is_dead() -> None:
    told = Told()
    webhooks(told).device_invalidated("app", "phone", "webPush", "ship")
    [(app_id, event)] = told.events
    assert app_id == "app"
    assert json.loads(event.body) == {
        "name": "push.device_invalidated",
        "device_id": "phone",
        "provider": "webpush",
        "publish_id": "ship",
    }


def test_nothing_is_told_unless_it_is_switched_on_and_somebody_listens() -> None:
    told = Told()
    for off in (webhooks(told, enabled=False), webhooks(None)):
        off.publish_ended(a_status(state="failed"))
        off.device_invalidated("app", "phone", "fcm", None)
    assert told.events == []


async def test_a_quota_that_is_exceeded_is_told_where_nobody_waits_for_the_answer() -> None:
    told = Told()
    desk = Desk(quotas=PushQuotas(fanout_max=0))
    desk.push.webhooks = webhooks(told)
    await desk.store.put_subscription(a_subscription("news", "d"))
    await desk.push.publish("app", a_publish(publish_id="ship"))
    await desk.push.publish("app", a_publish(publish_id="ship"))
    await desk.push.publish("app", a_publish(publish_id="more"), over_quota=True)
    assert [json.loads(event.body)["publish_id"] for _, event in told.events] == ["ship"]


def test_it_is_told_once_a_minute_for_each_kind() -> None:
    clock = FakeClock(time=1_000_000.0)
    inspector = Inspector(clock.time)
    refusals = ProviderRefusals(inspector, clock.monotonic)
    with structlog.testing.capture_logs() as lines:
        for number in range(100):
            refusals.note("shop", f"p{number}", "apns", TOPIC)
        clock.advance(60)
        refusals.note("shop", "later", "apns", TOPIC)
        refusals.note("shop", "p", "webPush", OutcomeError(kind="auth_failure", failure_class="credential_auth"))
    assert [(line["log_level"], line["publish_id"]) for line in lines] == [
        ("warning", "p0"),
        ("warning", "later"),
        ("warning", "p"),
    ]
    assert "APNS_TOPIC" in lines[0]["advice"]
    assert "com.example.app" in lines[0]["reason"]
    vapid, topic = inspector.problems.groups("shop")
    assert (topic.kind, topic.error, topic.count) == ("push_refused", "provider_topic_mismatch", 2)
    assert "DeviceTokenNotForTopic, sent with apns-topic com.example.app" in (topic.last[0].text or "")
    assert vapid.error == "provider_vapid_refused"


def test_what_is_remembered_is_bounded() -> None:
    refusals = ProviderRefusals(Inspector(lambda: 0.0), lambda: 0.0)
    with structlog.testing.capture_logs():
        for number in range(3000):
            refusals.note(f"app-{number}", "p", "apns", TOPIC)
    assert len(refusals._quiet) <= 1000
