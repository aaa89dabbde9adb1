"""The stages that a notification goes through in its job queue, what waits in them, JSON that says its ``kind``
(spec: push § 7.1), and the keys of messages.

A key identifies the subject of its message, so that the same work is not kept twice.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, Literal, get_args

import msgspec
from msgspec.structs import replace

from sockudo.jobs.ports import Job, QueueSpec
from sockudo.push.delivery import Batch, Sent
from sockudo.push.recipients import PROVIDERS, ROUTE_NAMES, Provider
from sockudo.push.records import DeadLetter

__all__ = [
    "DELIVERY_STAGES",
    "FILE_NAME",
    "PUSH_QUEUE",
    "STAGES",
    "Body",
    "Delivery",
    "Feedback",
    "Planned",
    "PublishLog",
    "Retry",
    "ShardJob",
    "Stage",
    "delivery_message",
    "delivery_stage",
    "direct_keys",
    "fast_batch_id",
    "feedback_message",
    "planned_message",
    "planning_keys",
    "publish_message",
    "read_body",
    "replayed",
    "retry_message",
    "shard_message",
]

Stage = Literal[
    "publish_log",
    "shard_jobs",
    "delivery_jobs_fcm",
    "delivery_jobs_apns",
    "delivery_jobs_webpush",
    "delivery_jobs_hms",
    "delivery_jobs_wns",
    "delivery_jobs_realtime",
    "delivery_results",
    "retry_schedule",
    "dead_letters",
]

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
DELIVERY_STAGES: Final[tuple[Stage, ...]] = tuple(name for name in STAGES if name.startswith("delivery_jobs_"))

FILE_NAME: Final = "push-queue.sqlite3"

PUSH_QUEUE: Final = QueueSpec(STAGES, "push", "push queue", "notifications", "sockudo.push")


class _Body(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True, tag_field="kind"):
    pass


class PublishLog(_Body, frozen=True, kw_only=True, tag="publishLog"):
    """A publish that was accepted and waits to be planned; its content is in the log."""

    app_id: str
    publish_id: str


class ShardJob(_Body, frozen=True, kw_only=True, tag="shardJob"):
    """Where planning goes on: with the target of this index, behind ``cursor``.

    ``emitted`` deliveries were planned by the ``step`` steps before; ``batches`` counts them by provider.

    When it is planned again, since the queue had lost that, ``settled`` recipients had their outcome by then; ``known``
    of them were met by the steps before, counted among the emitted, and not sent to again.
    """

    app_id: str
    publish_id: str
    target: int
    cursor: str = ""
    emitted: int = 0
    batches: dict[Provider, int] = {}
    step: int = 0
    settled: int = 0
    known: int = 0


class Planned(_Body, frozen=True, kw_only=True, tag="planned"):
    """All batches of a publish are in the queue, with so many deliveries."""

    app_id: str
    publish_id: str
    emitted: int
    retry_after_ms: int | None = None


class Delivery(_Body, frozen=True, kw_only=True, tag="deliveryBatch"):
    batch: Batch


class Feedback(_Body, frozen=True, kw_only=True, tag="deliveryFeedback"):
    """What became of each job of a batch, in their order."""

    batch: Batch
    sent: list[Sent]
    at_ms: int


class Retry(_Body, frozen=True, kw_only=True, tag="retrySchedule"):
    """A batch to be sent at its time; its attempt is the next one. ``reason`` is the class of what went wrong."""

    batch: Batch
    reason: str
    due_at_ms: int


Body = PublishLog | ShardJob | Planned | Delivery | Feedback | Retry

_encode: Final = msgspec.json.Encoder().encode
_decoder: Final[msgspec.json.Decoder[Body]] = msgspec.json.Decoder(Body)


def read_body(body: bytes) -> Body | None:
    """None for what no version of this pipeline has written."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def delivery_stage(provider: Provider) -> Stage:
    """Where the batches of a provider wait."""
    return f"delivery_jobs_{ROUTE_NAMES[provider]}"  # type: ignore[return-value]  # each of them is a stage


def publish_message(app_id: str, publish_id: str) -> Job:
    """Asks for a publish to be planned; admission, the scheduler and repair all make the same."""
    body = PublishLog(app_id=app_id, publish_id=publish_id)
    return Job("publish_log", f"{app_id}:{publish_id}", app_id, _encode(body))


# No app id holds a colon or is empty, so these keys are none of a publish.


def shard_message(job: ShardJob, stage: Stage) -> Job:
    return Job(stage, _step_key(job.app_id, job.publish_id, job.step), job.app_id, _encode(job))


def planned_message(planned: Planned) -> Job:
    return Job("publish_log", _planned_key(planned.app_id, planned.publish_id), planned.app_id, _encode(planned))


def planning_keys(app_id: str, publish_id: str, steps: int) -> list[tuple[Stage, str]]:
    """Where the planning of a publish can stand in the queue that has come to its step of this number at most."""
    keys: list[tuple[Stage, str]] = [("publish_log", f"{app_id}:{publish_id}")]
    for step in range(steps + 1):
        key = _step_key(app_id, publish_id, step)
        keys += [("shard_jobs", key), ("publish_log", key)]
    return [*keys, ("publish_log", _planned_key(app_id, publish_id))]


def direct_keys(app_id: str, publish_id: str) -> list[tuple[Stage, str]]:
    """All queue keys under which a publish that took the direct way may stand until one of its outcomes is counted."""
    keys: list[tuple[Stage, str]] = []
    for provider in PROVIDERS:
        batch_id = fast_batch_id(provider, 1)
        keys.append((delivery_stage(provider), f"{app_id}:{publish_id}:{batch_id}"))
        keys.append(("delivery_results", f"{app_id}:{publish_id}:{provider}:{batch_id}:1"))
    return keys


def fast_batch_id(provider: Provider, number: int) -> str:
    """The id of a batch of a small publish; numbers count from 1 for each provider."""
    return f"fast-batch-{ROUTE_NAMES[provider]}-{number}"


def _step_key(app_id: str, publish_id: str, step: int) -> str:
    return f":step:{app_id}:{publish_id}:{step}"


def _planned_key(app_id: str, publish_id: str) -> str:
    return f":planned:{app_id}:{publish_id}"


def delivery_message(batch: Batch, due_at_ms: int = 0) -> Job:
    key = f"{batch.app_id}:{batch.publish_id}:{batch.batch_id}"
    return Job(delivery_stage(batch.provider), key, batch.app_id, _encode(Delivery(batch=batch)), due_at_ms)


def feedback_message(feedback: Feedback) -> Job:
    batch = feedback.batch
    key = f"{batch.app_id}:{batch.publish_id}:{batch.provider}:{batch.batch_id}:{batch.attempt}"
    return Job("delivery_results", key, batch.app_id, _encode(feedback))


def retry_message(retry: Retry) -> Job:
    batch = retry.batch
    about = (batch.app_id, batch.publish_id, batch.provider, batch.batch_id, str(batch.attempt))
    digest = sha256("\0".join(about).encode("utf-8", "surrogatepass")).hexdigest()
    return Job("retry_schedule", f"retry:{digest}", batch.app_id, _encode(retry), retry.due_at_ms)


def replayed(letter: DeadLetter) -> Job | None:
    """The message that was given up, as if it were new; None for a letter that is only a marker (spec: push § 2.5).

    A notification is sent with attempt 1 and as another delivery, whose outcome takes the place of the one that was
    counted when it was given up: so the counters still add up, however often it is replayed.
    """
    if letter.payload is None:
        return None
    body = read_body(letter.payload)
    if not isinstance(body, Retry):
        return Job(_stage_of(letter), f":replay:{letter.dead_letter_id}", letter.app_id, letter.payload)
    batch = body.batch
    first = batch.batch_id.partition("-retry-")[0].partition("-deferred-")[0]
    expired = batch.expires_at_ms is not None and letter.reason.startswith("expired")
    again = replace(
        batch,
        batch_id=f"{first}-replay-{letter.dead_letter_id[:16]}",
        attempt=1,
        first_attempt_at_ms=None,
        not_before_ms=None,
        replaces="expired" if expired else "dead_lettered",
    )
    return delivery_message(again)


def _stage_of(letter: DeadLetter) -> Stage:
    return letter.stage  # type: ignore[return-value]  # letters with a payload have the stage of their message
