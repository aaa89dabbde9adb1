from __future__ import annotations

import msgspec
import pytest

from sockudo.jobs.ports import Job
from sockudo.push.delivery import Batch, DeliveryJob, Sent, delivery_key
from sockudo.push.messages import (
    STAGES,
    Delivery,
    Feedback,
    Planned,
    PublishLog,
    Retry,
    ShardJob,
    delivery_message,
    feedback_message,
    planned_message,
    publish_message,
    read_body,
    replayed,
    retry_message,
    shard_message,
)
from sockudo.push.recipients import PROVIDERS, WebRecipient
from sockudo.push.records import DeadLetter, OutcomeError

_WEB = WebRecipient("https://push.example/secret-endpoint", "p256dh", "auth")
_BATCH = Batch(
    app_id="app",
    publish_id="publish",
    provider="webPush",
    batch_id="fast-batch-webpush-1",
    payload=msgspec.Raw(b'{"a":null}'),
    jobs=[DeliveryJob(_WEB, "device-1"), DeliveryJob(_WEB)],
    expires_at_ms=5,
)
_RETRY = Retry(batch=msgspec.structs.replace(_BATCH, attempt=6), reason="quota", due_at_ms=9)
_MESSAGES = [
    publish_message("app", "publish"),
    shard_message(ShardJob(app_id="app", publish_id="publish", target=1, batches={"webPush": 2}), "shard_jobs"),
    planned_message(Planned(app_id="app", publish_id="publish", emitted=3)),
    delivery_message(_BATCH, 7),
    feedback_message(Feedback(batch=_BATCH, sent=[Sent("accepted", "id"), Sent("expired")], at_ms=1)),
    retry_message(_RETRY),
]


def _letter(payload: bytes | None, reason: str = "retry attempts exhausted: quota") -> DeadLetter:
    return DeadLetter(
        dead_letter_id="0123456789abcdef0123",
        app_id="app",
        publish_id="publish",
        stage="retry_schedule",
        key="retry:x",
        reason=reason,
        occurred_at_ms=1,
        payload=payload,
    )


@pytest.mark.parametrize("message", _MESSAGES, ids=lambda message: message.stage)
def test_what_is_produced_is_read_again(message: Job) -> None:
    body = read_body(message.body)
    assert body is not None
    assert message.stage in STAGES
    assert message.app_id == "app"


def test_messages_say_what_they_are() -> None:
    bodies = [read_body(message.body) for message in _MESSAGES]
    assert [type(body) for body in bodies] == [PublishLog, ShardJob, Planned, Delivery, Feedback, Retry]
    delivery, feedback = bodies[3], bodies[4]
    assert isinstance(delivery, Delivery)
    assert isinstance(feedback, Feedback)
    assert (bytes(delivery.batch.payload), delivery.batch.jobs) == (b'{"a":null}', _BATCH.jobs)
    assert feedback.sent == [Sent("accepted", "id"), Sent("expired")]


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'{"kind":"other"}', b'{"kind":"planned"}', b"\xff"])
def test_anything_else_is_nothing(body: bytes) -> None:
    assert read_body(body) is None


def test_keys_tell_messages_of_a_stage_apart() -> None:
    odd = publish_message("app", "publish:planned"), publish_message("planned", "app:publish")
    keys = [(message.stage, message.key) for message in (*_MESSAGES, *odd)]
    assert len(set(keys)) == len(keys)


def test_every_provider_has_a_stage() -> None:
    for provider in PROVIDERS:
        assert delivery_message(msgspec.structs.replace(_BATCH, provider=provider)).stage in STAGES


def test_a_retry_has_the_delivery_key_of_the_first_send() -> None:
    again = msgspec.structs.replace(_BATCH, batch_id="fast-batch-webpush-1-retry-2.ab-deferred-77", attempt=2)
    assert delivery_key(again, _BATCH.jobs[0]) == delivery_key(_BATCH, _BATCH.jobs[0])


def test_a_replay_is_a_delivery_of_its_own_that_takes_the_first_ones_place() -> None:
    message = replayed(_letter(retry_message(_RETRY).body))
    assert message is not None
    assert (message.stage, message.due_at_ms) == ("delivery_jobs_webpush", 0)
    body = read_body(message.body)
    assert isinstance(body, Delivery)
    assert (body.batch.attempt, body.batch.replaces) == (1, "dead_lettered")
    assert delivery_key(body.batch, _BATCH.jobs[0]) != delivery_key(_BATCH, _BATCH.jobs[0])
    assert replayed(_letter(retry_message(_RETRY).body)) == message
    expired = replayed(_letter(retry_message(_RETRY).body, "expired: quota"))
    assert expired is not None
    assert isinstance(again := read_body(expired.body), Delivery)
    assert again.batch.replaces == "expired"


def test_a_mere_note_is_not_replayed_and_other_messages_are_as_they_were() -> None:
    assert replayed(_letter(None)) is None
    message = replayed(_letter(b"odd"))
    assert message is not None
    assert (message.stage, message.body) == ("retry_schedule", b"odd")


def test_no_text_of_a_message_holds_an_endpoint() -> None:
    error = OutcomeError(kind="quota", failure_class="provider_quota")
    feedback = Feedback(batch=_BATCH, sent=[Sent("retryable", None, error)] * 2, at_ms=1)
    assert "secret-endpoint" not in repr((feedback, _RETRY, Delivery(batch=_BATCH)))
