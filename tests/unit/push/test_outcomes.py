"""Changing a status: once where nobody else does, in the store where somebody is faster."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import structlog
from msgspec.structs import replace

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.delivery import Batch, DeliveryJob
from sockudo.push.messages import Delivery, Retry, read_body, retry_message
from sockudo.push.outcomes import (
    cancel,
    change_status,
    dead_letter_view,
    delivery_report,
    delivery_view,
    note_report,
    publish_status,
    replay,
    state_named,
    status_view,
    waiting,
)
from sockudo.push.recipients import FcmRecipient
from sockudo.push.records import (
    Counters,
    DeliveryEvent,
    FailureSample,
    OutcomeError,
    PublishStatus,
    ScheduledJob,
    State,
)
from sockudo.push.stores.sql import MemoryPushStore
from support.push_stores import (
    NOW,
    a_letter,
    a_status,
    accept,
    an_event,
    an_intent,
)
from unit.push import nodes
from unit.push.nodes import Desk, a_publish


class Contended(MemoryPushStore):
    """Somebody else changes the status after it was read, as often as ``rivals`` says."""

    rivals = 1

    async def status(self, app_id: str, publish_id: str) -> PublishStatus | None:
        status = await super().status(app_id, publish_id)
        if status is not None and self.rivals:
            self.rivals -= 1
            await self.swap_status(status, replace(status, error_reason="a rival"))
        return status


def planning(status: PublishStatus) -> PublishStatus:
    return replace(status, state="planning")


async def test_a_change_keeps_what_a_rival_has_done() -> None:
    store = Contended()
    store.rivals = 0
    await accept(store)
    store.rivals = 1
    conflicts: list[str] = []
    status = await change_status(store, "app", "ship", planning, NOW, conflict=lambda: conflicts.append("one"))
    assert status is not None
    assert (status.state, status.error_reason, status.revision) == ("planning", "a rival", 3)
    assert conflicts == ["one"]
    assert status == await store.status("app", "ship")


async def test_without_rivals_there_is_no_conflict() -> None:
    store = MemoryPushStore()
    await accept(store)
    conflicts: list[str] = []
    status = await change_status(store, "app", "ship", planning, NOW + 5, conflict=lambda: conflicts.append("one"))
    assert status is not None
    assert (status.state, status.updated_at_ms, conflicts) == ("planning", NOW + 5, [])


async def test_what_is_left_alone_stays() -> None:
    store = MemoryPushStore()
    stored = await accept(store)
    assert await change_status(store, "app", "ship", lambda _: None, NOW) == stored
    assert await change_status(store, "app", "ship", lambda status: status, NOW) == stored
    assert await change_status(store, "app", "unknown", planning, NOW) is None
    assert await store.status("app", "ship") == stored


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def state_of(desk: Desk, publish_id: str = "ship") -> State:
    return (await publish_status(desk.store, "app", publish_id)).state


# ---- stopping ----


async def test_a_publish_whose_time_has_not_come_is_stopped(desk: Desk) -> None:
    await desk.push.publish("app", a_publish(publish_id="ship", not_before_ms=NOW + 3000))
    desk.clock.advance(1)
    assert await cancel(desk.push, "app", "ship")
    assert await state_of(desk) == "cancelled"
    assert not await cancel(desk.push, "app", "ship")


@pytest.mark.parametrize("state", ["planning", "dispatching"])
async def test_also_while_it_is_planned_already(desk: Desk, state: State) -> None:
    status = await accept(desk.store, not_before_ms=NOW + 3000)
    await desk.store.swap_status(status, replace(status, state=state, updated_at_ms=NOW + 1))
    assert await cancel(desk.push, "app", "ship")
    assert await state_of(desk) == "cancelled"


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        ("queued", {}),
        ("dispatching", {"not_before_ms": NOW}),
        ("succeeded", {"not_before_ms": NOW + 3000}),
        ("quota_exceeded", {"not_before_ms": NOW + 3000}),
    ],
)
async def test_nothing_else_is_stopped(desk: Desk, state: State, fields: dict[str, Any]) -> None:
    status = await accept(desk.store, **fields)
    if state != "queued":
        await desk.store.swap_status(status, replace(status, state=state, updated_at_ms=NOW + 1))
    assert not await cancel(desk.push, "app", "ship")
    assert await state_of(desk) == state


async def test_what_does_not_exist_is_not_stopped(desk: Desk) -> None:
    assert not await cancel(desk.push, "app", "nope")


async def test_a_scheduled_job_goes_with_its_publish(desk: Desk) -> None:
    await accept(desk.store)
    await desk.store.put_job(ScheduledJob(app_id="app", publish_id="ship", due_at_ms=NOW + 9, intent=an_intent()))
    assert await cancel(desk.push, "app", "ship")
    assert await desk.store.jobs("app", "", 10) == []
    assert await state_of(desk) == "cancelled"


# ---- repeating ----


async def letter(desk: Desk, **fields: Any) -> None:
    await desk.store.append_dead_letters([a_letter(**fields)])


async def test_a_dead_letter_is_tried_again_from_the_start_and_stays(desk: Desk) -> None:
    batch = Batch(
        app_id="app",
        publish_id="ship",
        provider="fcm",
        batch_id="fast-batch-fcm-1-retry-4",
        payload=msgspec.Raw(b"{}"),
        jobs=[DeliveryJob(FcmRecipient("planted-token"), "phone")],
        attempt=5,
    )
    await letter(desk, payload=retry_message(Retry(batch=batch, reason="quota", due_at_ms=NOW)).body)
    with structlog.testing.capture_logs() as lines:
        message_id = await replay(desk.push, "app", "letter")
    [lease] = await nodes.waiting(desk.queue, "delivery_jobs_fcm")
    body = read_body(lease.job.body)
    assert isinstance(body, Delivery)
    assert (body.batch.attempt, body.batch.jobs, lease.job.key) == (1, batch.jobs, message_id)
    assert desk.woken == ["delivery_jobs_fcm"]
    assert await desk.store.dead_letter("app", "letter") is not None
    assert [(line["action"], line["dead_letter_id"]) for line in lines] == [("deadLetterReplay", "letter")]
    assert "planted" not in repr(lines)


async def test_a_marker_and_what_does_not_exist_are_refused(desk: Desk) -> None:
    await letter(desk, payload=None)
    with pytest.raises(SockudoError) as caught:
        await replay(desk.push, "app", "letter")
    assert caught.value.spec is errors.DEAD_LETTER_NOT_REPLAYABLE
    assert caught.value.text == "dead-letter does not retain an original queue payload"
    for app_id, letter_id in (("app", "nope"), ("other", "letter")):
        with pytest.raises(SockudoError) as caught:
            await replay(desk.push, app_id, letter_id)
        assert caught.value.spec is errors.DEAD_LETTER_NOT_FOUND
        assert caught.value.text.startswith("dead letter not found")


# ---- looking for something ----


async def test_a_publish_that_does_not_exist(desk: Desk) -> None:
    await accept(desk.store)
    with pytest.raises(SockudoError) as caught:
        await publish_status(desk.store, "other", "ship")
    assert caught.value.spec is errors.PUBLISH_NOT_FOUND
    assert caught.value.text == "publish status not found: this app has no push publish 'ship'"


def an_event_at(device_id: str | None, number: int) -> DeliveryEvent:
    event = an_event(f"e{number:04}", NOW + number)
    return replace(event, result=replace(event.result, device_id=device_id))


async def test_what_waits_for_its_time(desk: Desk) -> None:
    await accept(desk.store, "now", at=NOW)
    await accept(desk.store, "past", at=NOW + 1, not_before_ms=NOW + 2)
    await accept(desk.store, "first", at=NOW + 2, not_before_ms=NOW + 9000)
    await accept(desk.store, "second", at=NOW + 3, not_before_ms=NOW + 9000)
    await accept(desk.store, "over", at=NOW + 4, not_before_ms=NOW + 9000)
    await cancel(desk.push, "app", "over")
    assert [status.publish_id for status in await waiting(desk.store, "app", "", 10, NOW + 5)] == ["second", "first"]
    assert [status.publish_id for status in await waiting(desk.store, "app", "", 1, NOW + 5)] == ["second"]
    assert await waiting(desk.store, "app", "", 10, NOW + 9000) == []


@pytest.mark.parametrize(
    ("text", "state"),
    [("queued", "queued"), ("partially_succeeded", "partiallySucceeded"), ("quotaExceeded", "quota_exceeded")],
)
def test_states_are_known_however_they_are_spelt(text: str, state: State) -> None:
    assert state_named(text) == state


def test_another_word_is_no_state() -> None:
    with pytest.raises(SockudoError, match="state must be one of cancelled, dead_lettered, dispatching"):
        state_named("done")


# ---- as it is shown ----


def test_a_status_shows_every_counter_and_leaves_out_what_is_not_set() -> None:
    shown = json.loads(msgspec.json.encode(status_view(a_status(regime="fastPath", counters=Counters(planned=3)))))
    assert shown == {
        "appId": "app",
        "publishId": "ship",
        "state": "queued",
        "counters": {
            "planned": 3,
            "dispatched": 0,
            "succeeded": 0,
            "failed": 0,
            "expired": 0,
            "retryScheduled": 0,
            "retryAttempted": 0,
            "deadLettered": 0,
        },
        "fanoutRegime": "fastPath",
        "createdAtMs": NOW,
        "updatedAtMs": 0,
    }


def test_a_status_explains_what_failed_with_an_example_of_each() -> None:
    sample = FailureSample(
        provider="fcm",
        failure_class="device_terminal",
        code="invalid_token",
        count=2,
        device_id="phone",
        reason="UNREGISTERED",
    )
    status = a_status(
        state="dead_lettered",
        error_reason="retry attempts exhausted: quota",
        failures=[sample],
        missing=["device:ghost"],
        retry_after_ms=NOW + 5,
        not_before_ms=NOW,
        expires_at_ms=NOW + 9,
    )
    shown = status_view(status)
    assert shown["errorReason"] == "retry attempts exhausted: quota"
    assert shown["code"] in {"push_retries_exhausted", "provider_throttled"}
    assert shown["docs"] == f"errors.md#{shown['code']}"
    assert shown["failures"] == [
        {
            "provider": "fcm",
            "class": "invalid_token",
            "failureClass": "device_terminal",
            "count": 2,
            "example": {"deviceId": "phone", "reason": "UNREGISTERED"},
            "code": "provider_token_invalid",
            "docs": "errors.md#provider_token_invalid",
        }
    ]
    assert (shown["missing"], shown["retryAfterMs"]) == (["device:ghost"], NOW + 5)
    assert (shown["notBeforeMs"], shown["expiresAtMs"]) == (NOW, NOW + 9)


def test_single_outcomes() -> None:
    event = an_event_at("phone", 1)
    accepted = replace(event, result=replace(event.result, provider_message_id="m-1"))
    assert delivery_view(accepted) == {
        "eventId": "e0001",
        "occurredAtMs": NOW + 1,
        "deviceId": "phone",
        "provider": "fcm",
        "outcome": "accepted",
        "attempt": 1,
        "providerMessageId": "m-1",
    }
    error = OutcomeError(kind="quota", failure_class="provider_quota", retry_after_ms=NOW + 9)
    refused = replace(event, result=replace(event.result, device_id=None, outcome="retryable", error=error))
    shown = json.loads(msgspec.json.encode(delivery_view(refused)))
    assert shown["error"] == {"class": "quota", "failureClass": "provider_quota", "retryAfterMs": NOW + 9}
    assert (shown["deviceId"], shown["code"], shown["docs"]) == (
        None,
        "provider_throttled",
        "errors.md#provider_throttled",
    )


def test_dead_letters_hide_what_they_hold() -> None:
    shown = dead_letter_view(a_letter())
    assert shown == {
        "deadLetterId": "letter",
        "appId": "app",
        "publishId": "ship",
        "provider": "fcm",
        "stage": "retry_schedule",
        "key": "k",
        "reason": "retry attempts exhausted: quota",
        "occurredAtMs": NOW,
        "replayable": True,
    }
    marker = dead_letter_view(a_letter(payload=None, provider=None))
    assert not marker["replayable"]
    assert "provider" not in marker


# ---- what others tell ----


def a_report(**result: Any) -> dict[str, Any]:
    told = {"appId": "mallory", "publishId": "ship", "provider": "webpush", "batchId": "b", "outcome": "accepted"}
    return {"publishId": "ship", "eventId": "e1", "occurredAtMs": NOW, "result": {**told, **result}}


async def test_a_report_is_kept_beside_its_publish_and_changes_nothing_else(desk: Desk) -> None:
    status = await accept(desk.store)
    error = {"class": "quota", "failureClass": "provider_quota", "reason": "endpoint https://planted.test/x", "x": 1}
    report = a_report(deviceId="phone", outcome="retryable", error=error, attempt=2)
    event = delivery_report(json.dumps(report).encode(), "app")
    await note_report(desk.push, event)
    [kept] = await desk.store.events("app", "ship", "", 10)
    assert kept == event
    assert (kept.result.app_id, kept.result.provider, kept.result.attempt) == ("app", "webPush", 2)
    assert kept.result.error is not None
    assert kept.result.error.kind == "quota"
    assert "planted" not in repr(kept)
    assert await desk.store.status("app", "ship") == status
    assert desk.push.counters.counts["delivery_status_total", ("retryable", "app")] == 1


@pytest.mark.parametrize(
    ("report", "slug", "text"),
    [
        ({**a_report(), "eventId": " "}, "invalid_input", "eventId must not be empty"),
        (a_report(publishId="other"), "invalid_input", "result.publishId must be the same as publishId"),
        (a_report(provider="pigeon"), "invalid_input", "result.provider must be one of fcm"),
        ({**a_report(), "occurredAtMs": -1}, "invalid_input", "occurredAtMs must be"),
        (a_report(outcome="lost"), "wrong_shape", "Wrong shape of the JSON body: "),
        ({"publishId": "ship"}, "wrong_shape", "Wrong shape of the JSON body: "),
        ([], "wrong_shape", "Wrong shape of the JSON body: "),
    ],
)
def test_a_report_that_cannot_be_kept(report: Any, slug: str, text: str) -> None:
    with pytest.raises(SockudoError) as caught:
        delivery_report(json.dumps(report).encode(), "app")
    assert caught.value.spec.slug == slug
    assert caught.value.text.startswith(text)


def test_both_spellings_of_a_report() -> None:
    snake = {
        "publish_id": "ship",
        "event_id": "e1",
        "occurred_at_ms": NOW,
        "result": {"provider": "fcm", "batch_id": "b", "device_id": "d", "outcome": "rejected"},
    }
    event = delivery_report(json.dumps(snake).encode(), "app")
    assert (event.event_id, event.result.batch_id, event.result.device_id) == ("e1", "b", "d")
