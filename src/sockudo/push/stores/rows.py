"""Records as rows and back: each function gives or takes the columns of its table, in order (spec: push § 3.2)."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar, get_args

import msgspec
from msgspec import json
from sqlalchemy import Row

from sockudo import errors
from sockudo.push.ports import OperatorNote
from sockudo.push.recipients import Recipient
from sockudo.push.records import (
    Credential,
    DeadLetter,
    DeliveryEvent,
    DeliveryResult,
    Device,
    Localized,
    Override,
    PublishIntent,
    PublishStatus,
    RatePolicy,
    ScheduledJob,
    Shard,
    State,
    Subscription,
    Template,
)

__all__ = [
    "credential_of",
    "credential_row",
    "device_of",
    "device_row",
    "event_of",
    "event_row",
    "intent_of",
    "job_of",
    "job_row",
    "letter_of",
    "letter_row",
    "log_row",
    "note_of",
    "shard_of",
    "shard_row",
    "sql_state",
    "state_of",
    "status_of",
    "status_row",
    "subscription_of",
    "subscription_row",
    "template_of",
    "template_row",
]

T = TypeVar("T")
Values = tuple[object, ...]

_MINUTE_MS: Final = 60_000


class _Wrapped(msgspec.Struct, Generic[T]):
    version: int = msgspec.field(name="_v")
    data: T


class _Json(Generic[T]):
    """A column of JSON: ``{"_v":1,"data":…}``; a bare value is understood as well."""

    def __init__(self, kind: Any) -> None:
        self._wrapped: json.Decoder[_Wrapped[T]] = json.Decoder(_Wrapped[kind])
        self._bare: json.Decoder[T] = json.Decoder(kind)

    def text(self, value: T) -> str:
        return f'{{"_v":1,"data":{json.encode(value).decode()}}}'

    def value(self, text: str) -> T:
        """Raises errors.SERVICE_UNAVAILABLE for what no version of ours has written."""
        try:
            return self._wrapped.decode(text).data
        except msgspec.DecodeError:
            try:
                return self._bare.decode(text)
            except msgspec.DecodeError:
                # What it is may be a secret.
                raise errors.SERVICE_UNAVAILABLE("The push store has a record that cannot be read") from None


_ANY: Final[_Json[Any]] = _Json(Any)
_RECIPIENT: Final[_Json[Recipient]] = _Json(Recipient)
_POLICY: Final[_Json[RatePolicy]] = _Json(RatePolicy)
_MATERIAL: Final[_Json[dict[str, str]]] = _Json(dict[str, str])
_LOCALES: Final[_Json[dict[str, Localized]]] = _Json(dict[str, Localized])
_OVERRIDES: Final[_Json[dict[str, Override]]] = _Json(dict[str, Override])
_INTENT: Final[_Json[PublishIntent]] = _Json(PublishIntent)
_STATUS: Final[_Json[PublishStatus]] = _Json(PublishStatus)
_SHARD: Final[_Json[Shard]] = _Json(Shard)
_RESULT: Final[_Json[DeliveryResult]] = _Json(DeliveryResult)
_LETTER: Final[_Json[DeadLetter]] = _Json(DeadLetter)


# ---- devices and subscriptions ----


def device_row(device: Device, now_ms: int) -> Values:
    policy = device.rate_policy
    return (
        device.app_id,
        device.id,
        device.client_id,
        device.form_factor,
        device.platform,
        _ANY.text(device.metadata),
        device.secret_hash,
        device.timezone,
        device.locale,
        device.last_active_at_ms,
        device.state,
        device.failure_count,
        device.error_reason,
        device.recipient.provider,
        device.token_hash,
        _RECIPIENT.text(device.recipient),
        None if policy is None else _POLICY.text(policy),
        None,
        now_ms,
        now_ms,
    )


def device_of(row: Row[Any]) -> Device:
    return Device(
        app_id=row.app_id,
        id=row.device_id,
        client_id=row.client_id,
        form_factor=row.form_factor,
        platform=row.platform,
        metadata=None if row.metadata is None else _ANY.value(row.metadata),
        timezone=row.timezone,
        locale=row.locale,
        last_active_at_ms=row.last_active_at_ms,
        state=row.push_state,
        failure_count=row.failure_count,
        error_reason=row.error_reason,
        recipient=_RECIPIENT.value(row.recipient_json),
        rate_policy=None if row.rate_policy_json is None else _POLICY.value(row.rate_policy_json),
        secret_hash=row.device_secret_hash,
    )


def subscription_row(subscription: Subscription, now_ms: int) -> Values:
    return (
        subscription.app_id,
        subscription.channel,
        subscription.device_id,
        subscription.client_id,
        subscription.provider,
        subscription.token_hash,
        subscription.credential_version,
        None,
        f"{subscription.channel}:{subscription.device_id}",
        len(subscription.channel),
        now_ms,
    )


def subscription_of(row: Row[Any]) -> Subscription:
    return Subscription(
        app_id=row.app_id,
        channel=row.channel,
        device_id=row.device_id,
        client_id=row.client_id,
        provider=row.provider,
        token_hash=row.token_hash,
        credential_version=row.credential_version,
    )


# ---- credentials and templates ----


def credential_row(credential: Credential) -> Values:
    return (
        credential.app_id,
        credential.credential_id,
        credential.provider,
        credential.version,
        1,
        _MATERIAL.text(credential.material),
        None,
        None,
        None,
        credential.updated_at_ms,
    )


def credential_of(row: Row[Any]) -> Credential:
    return Credential(
        app_id=row.app_id,
        credential_id=row.credential_id,
        provider=row.provider,
        version=row.version,
        material=_MATERIAL.value(row.encrypted_material),
        updated_at_ms=row.updated_at_ms,
    )


def template_row(template: Template, now_ms: int) -> Values:
    return (
        template.app_id,
        template.template_id,
        template.default_locale,
        _LOCALES.text(template.locales),
        _OVERRIDES.text(template.provider_overrides),
        now_ms,
    )


def template_of(row: Row[Any]) -> Template:
    return Template(
        app_id=row.app_id,
        template_id=row.template_id,
        default_locale=row.default_locale,
        locales=_LOCALES.value(row.locales_json),
        provider_overrides=_OVERRIDES.value(row.provider_overrides_json),
    )


# ---- publishes ----


def sql_state(state: State) -> str:
    """As the column spells it."""
    return state.replace("_", "").lower()


_STATES: Final[dict[str, State]] = {sql_state(state): state for state in get_args(State)}


def state_of(text: str) -> State:
    return _STATES[text]


def status_row(status: PublishStatus) -> Values:
    return (
        status.app_id,
        status.publish_id,
        sql_state(status.state),
        _STATUS.text(status),
        status.error_reason,
        status.revision,
        status.created_at_ms,
        status.updated_at_ms,
    )


def status_of(text: str) -> PublishStatus:
    """From ``counters_json``, which has all of it."""
    return _STATUS.value(text)


def log_row(intent: PublishIntent) -> Values:
    return intent.app_id, intent.accepted_at_ms, intent.publish_id, intent.publish_id, _INTENT.text(intent)


def intent_of(text: str) -> PublishIntent:
    return _INTENT.value(text)


def shard_row(shard: Shard) -> Values:
    return shard.app_id, shard.publish_id, shard.shard_id, _SHARD.text(shard)


def shard_of(text: str) -> Shard:
    return _SHARD.value(text)


def job_row(job: ScheduledJob) -> Values:
    minute = job.due_at_ms - job.due_at_ms % _MINUTE_MS
    return job.app_id, job.publish_id, minute, job.due_at_ms, _INTENT.text(job.intent), "pending"


def job_of(row: Row[Any]) -> ScheduledJob:
    return ScheduledJob(
        app_id=row.app_id, publish_id=row.publish_id, due_at_ms=row.due_at_ms, intent=_INTENT.value(row.payload_json)
    )


def event_row(event: DeliveryEvent) -> Values:
    result = event.result
    return (
        result.app_id,
        result.publish_id,
        event.occurred_at_ms,
        event.event_id,
        result.provider,
        result.outcome,
        _RESULT.text(result),
    )


def event_of(row: Row[Any]) -> DeliveryEvent:
    return DeliveryEvent(
        event_id=row.event_id, occurred_at_ms=row.occurred_at_ms, result=_RESULT.value(row.result_json)
    )


def letter_row(letter: DeadLetter) -> Values:
    return (
        letter.app_id,
        letter.publish_id,
        letter.dead_letter_id,
        letter.occurred_at_ms,
        letter.provider,
        letter.stage,
        letter.reason,
        _LETTER.text(letter),
    )


def letter_of(text: str) -> DeadLetter:
    return _LETTER.value(text)


def note_of(row: Row[Any]) -> OperatorNote:
    return OperatorNote(row.event_id, row.occurred_at_ms, row.subject)
