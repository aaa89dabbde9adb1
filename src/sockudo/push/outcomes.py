"""What became of publishes: states, single deliveries, what was given up; and how to stop or repeat (spec: push § 2.5,
3.1, 7.7).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from sockudo import errors
from sockudo.push.diagnosis.advice import row_of_class, row_of_status
from sockudo.push.messages import replayed
from sockudo.push.paging import status_position
from sockudo.push.ports import Publishes, PushStore
from sockudo.push.recipients import PROVIDERS, provider_named
from sockudo.push.records import (
    TERMINAL,
    DeadLetter,
    DeliveryEvent,
    DeliveryResult,
    FailureSample,
    Outcome,
    OutcomeError,
    PublishStatus,
    State,
)
from sockudo.push.secrecy import redacted
from sockudo.push.service import Push
from sockudo.push.spellings import decoded
from sockudo.push.telemetry import audit
from sockudo.push.validation import check_id

__all__ = [
    "cancel",
    "change_status",
    "dead_letter_view",
    "delivery_report",
    "delivery_view",
    "note_report",
    "publish_status",
    "replay",
    "state_named",
    "status_view",
    "waiting",
]

_PAGE: Final = 1000
_LATEST_MS: Final = 2**53 - 1

_RUNNING: Final[tuple[State, ...]] = ("queued", "planning", "throttled", "dispatching")
_STATES: Final[dict[str, State]] = {
    **{state: state for state in (*_RUNNING, *TERMINAL)},
    "partially_succeeded": "partiallySucceeded",
    "quotaExceeded": "quota_exceeded",
    "deadLettered": "dead_lettered",
}


async def change_status(
    store: Publishes,
    app_id: str,
    publish_id: str,
    edit: Callable[[PublishStatus], PublishStatus | None],
    now_ms: int,
    *,
    conflict: Callable[[], None] = lambda: None,
) -> PublishStatus | None:
    """The status after ``edit``, which returns None to leave it alone: it is then returned as it is.

    None when there is no such publish. When another writer was faster ``conflict`` is called, and ``edit`` is asked
    again by the store, which keeps other writers from the status meanwhile: outcomes may come faster than a status can
    be read and replaced. ``edit`` is plain and quick, and may be called in another thread.
    """
    before = await store.status(app_id, publish_id)
    after = None if before is None else edit(before)
    if before is None or after is None or after == before:
        return before
    stored = await store.swap_status(before, replace(after, updated_at_ms=now_ms))
    if stored is not None:
        return stored
    conflict()
    return await store.edit_status(app_id, publish_id, edit, now_ms)


def state_named(text: str) -> State:
    """The state that a caller means, however it is spelt. Raises errors.INVALID_INPUT."""
    found = _STATES.get(text)
    if found is None:
        raise errors.INVALID_INPUT(f"state must be one of {', '.join(sorted({*_RUNNING, *TERMINAL}))}")
    return found


async def publish_status(store: PushStore, app_id: str, publish_id: str) -> PublishStatus:
    """Raises errors.PUBLISH_NOT_FOUND."""
    status = await store.status(app_id, publish_id)
    if status is None:
        raise errors.PUBLISH_NOT_FOUND(f"publish status not found: this app has no push publish '{publish_id[:100]}'")
    return status


# ---- looking for something ----


async def waiting(store: PushStore, app_id: str, after: str, limit: int, now_ms: int) -> list[PublishStatus]:
    """Publishes whose time has not come, the newest first."""
    found: list[PublishStatus] = []
    while len(found) < limit:
        page = await store.statuses(app_id, states=_RUNNING, after=after, limit=_PAGE)
        found.extend(status for status in page if status.not_before_ms is not None and status.not_before_ms > now_ms)
        if len(page) < _PAGE:
            break
        after = status_position(page[-1])
    return found[:limit]


# ---- stopping and repeating ----


async def cancel(push: Push, app_id: str, publish_id: str) -> bool:
    """Stops a publish whose time has not come; whether there was one. Nothing is sent of it once this returns."""
    now_ms = push.now_ms()
    deleted = await push.store.delete_job(app_id, publish_id)
    cancelled = False

    def edit(status: PublishStatus) -> PublishStatus | None:
        nonlocal cancelled
        cancelled = False
        if status.state in TERMINAL or not (deleted or (status.not_before_ms or 0) > now_ms):
            return None
        cancelled = True
        return replace(status, state="cancelled", retry_after_ms=None)

    await change_status(
        push.store,
        app_id,
        publish_id,
        edit,
        now_ms,
        conflict=lambda: push.counters.count("status_cas_conflicts_total", "cancel"),
    )
    return deleted or cancelled


async def replay(push: Push, app_id: str, dead_letter_id: str) -> str:
    """Has what was given up tried again; the id of the message. The letter stays in the list.

    Raises errors.DEAD_LETTER_NOT_FOUND and errors.DEAD_LETTER_NOT_REPLAYABLE.
    """
    letter = await push.store.dead_letter(app_id, dead_letter_id)
    if letter is None:
        raise errors.DEAD_LETTER_NOT_FOUND(
            f"dead letter not found: this app has none with the id '{dead_letter_id[:80]}'"
        )
    message = replayed(letter)
    if message is None:
        raise errors.DEAD_LETTER_NOT_REPLAYABLE("dead-letter does not retain an original queue payload")
    await push.queue.put([message], push.now_ms())
    push.wake(message.stage)
    audit("deadLetterReplay", app_id, dead_letter_id=dead_letter_id, publish_id=letter.publish_id)
    return message.key


# ---- what others tell ----


class _Result(msgspec.Struct, rename="camel", kw_only=True):
    app_id: str | None = None
    publish_id: str | None = None
    provider: str
    batch_id: str = ""
    device_id: str | None = None
    outcome: Outcome
    provider_message_id: str | None = None
    error: OutcomeError | None = None
    attempt: int = 1


class _Report(msgspec.Struct, rename="camel", kw_only=True):
    publish_id: str
    event_id: str
    occurred_at_ms: int
    result: _Result


def delivery_report(body: bytes, app_id: str) -> DeliveryEvent:
    """An outcome that another system reports; reasons are redacted.

    Raises what `sockudo.push.bodies.decoded` does, and errors.INVALID_INPUT.
    """
    given = decoded(body, _Report)
    result = given.result
    for value, field in ((given.publish_id, "publishId"), (given.event_id, "eventId")):
        check_id(value, field)
    if result.publish_id not in (None, given.publish_id):
        raise errors.INVALID_INPUT("result.publishId must be the same as publishId")
    provider = provider_named(result.provider)
    if provider is None:
        raise errors.INVALID_INPUT(f"result.provider must be one of {', '.join(PROVIDERS)}")
    if not 0 <= given.occurred_at_ms <= _LATEST_MS:
        raise errors.INVALID_INPUT("occurredAtMs must be a Unix time in whole milliseconds")
    error = result.error
    if error is not None:
        reason = None if error.reason is None else redacted(error.reason)
        error = replace(error, kind=redacted(error.kind), reason=reason)
    made = DeliveryResult(
        app_id=app_id,
        publish_id=given.publish_id,
        provider=provider,
        batch_id=result.batch_id,
        device_id=result.device_id,
        outcome=result.outcome,
        provider_message_id=result.provider_message_id,
        error=error,
        attempt=result.attempt,
    )
    return DeliveryEvent(event_id=given.event_id, occurred_at_ms=given.occurred_at_ms, result=made)


async def note_report(push: Push, event: DeliveryEvent) -> None:
    """Keeps it beside the publish; counters, states and devices stay as they are (spec: push § 2.5)."""
    await push.store.append_events([event])
    push.counters.count("delivery_status_total", event.result.outcome, event.result.app_id)


# ---- as it is shown ----


def status_view(status: PublishStatus) -> dict[str, Any]:
    """The status (spec: push § 2.5), with what explains a failure: the catalogue's word and an example of each kind."""
    counters = status.counters
    shown: dict[str, Any] = {
        "appId": status.app_id,
        "publishId": status.publish_id,
        "state": status.state,
        "counters": counters,
    }
    row = row_of_status(status.state, status.code, status.error_reason)
    optional = {
        "fanoutRegime": status.regime,
        "retryAfterMs": status.retry_after_ms,
        "errorReason": status.error_reason,
        "code": row.code if row is not None else status.code,
        "docs": None if row is None else f"errors.md#{row.slug}",
        "failures": [_failure_view(sample) for sample in status.failures] or None,
        "missing": status.missing or None,
        "notBeforeMs": status.not_before_ms,
        "expiresAtMs": status.expires_at_ms,
    }
    shown.update((name, value) for name, value in optional.items() if value is not None)
    return shown | {"createdAtMs": status.created_at_ms, "updatedAtMs": status.updated_at_ms}


def _failure_view(sample: FailureSample) -> dict[str, Any]:
    row = row_of_class(sample.code, sample.provider)
    example = {"deviceId": sample.device_id, "reason": sample.reason}
    shown: dict[str, Any] = {
        "provider": sample.provider,
        "class": sample.code,
        "failureClass": sample.failure_class,
        "count": sample.count,
        "example": {name: value for name, value in example.items() if value is not None},
    }
    return shown if row is None else shown | {"code": row.code, "docs": f"errors.md#{row.slug}"}


def delivery_view(event: DeliveryEvent) -> dict[str, Any]:
    """One outcome; a raw recipient has no device id."""
    result = event.result
    shown: dict[str, Any] = {
        "eventId": event.event_id,
        "occurredAtMs": event.occurred_at_ms,
        "deviceId": result.device_id,
        "provider": result.provider,
        "outcome": result.outcome,
        "attempt": result.attempt,
    }
    if result.provider_message_id is not None:
        shown["providerMessageId"] = result.provider_message_id
    if result.error is not None:
        shown |= _error_view(result.error, result.provider)
    return shown


def _error_view(error: OutcomeError, provider: str) -> dict[str, Any]:
    row = row_of_class(error.kind, provider)
    shown: dict[str, Any] = {"error": error}
    return shown if row is None else shown | {"code": row.code, "docs": f"errors.md#{row.slug}"}


def dead_letter_view(letter: DeadLetter) -> dict[str, Any]:
    """Without what it holds (spec: push § 2.5)."""
    shown: dict[str, Any] = {
        "deadLetterId": letter.dead_letter_id,
        "appId": letter.app_id,
        "publishId": letter.publish_id,
        "stage": letter.stage,
        "key": letter.key,
        "reason": letter.reason,
        "occurredAtMs": letter.occurred_at_ms,
        "replayable": letter.replayable,
    }
    return shown if letter.provider is None else shown | {"provider": letter.provider}
