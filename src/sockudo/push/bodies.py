"""Bodies of push requests: both spellings of every field, and what may be left out (spec: push § 2).

All functions raise what `sockudo.publishing.json_body` does, for JSON that is broken or of another shape, and
errors.INVALID_INPUT for a word that is none of a list. Only shapes are looked at here: see `sockudo.push.validation`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, get_args

import msgspec

from sockudo import errors
from sockudo.publishing.json_body import decode, wrong_shape
from sockudo.push.recipients import PROVIDERS, Provider, Recipient, provider_named
from sockudo.push.records import (
    Device,
    DeviceState,
    Localized,
    Override,
    Payload,
    RatePolicy,
    Target,
    TargetType,
    Template,
)
from sockudo.push.secrecy import redacted
from sockudo.push.spellings import converted, decoded
from sockudo.push.validation import one_of

__all__ = [
    "PublishRequest",
    "SubscriptionRequest",
    "batch_from",
    "device_from",
    "payload_from",
    "publish_from",
    "subscription_from",
    "template_from",
]

_LATEST_MS: Final = 2**53 - 1

_anything: Final = msgspec.json.Decoder(Any)


class SubscriptionRequest(NamedTuple):
    """A subscription as it was asked for; what is None comes from the device."""

    channel: str
    device_id: str
    client_id: str | None = None
    provider: Provider | None = None
    token_hash: str | None = None
    credential_version: int | None = None


class PublishRequest(NamedTuple):
    """A publish as it was asked for. Times are Unix milliseconds; whether they can be kept is not looked at."""

    publish_id: str | None
    targets: list[Target]
    payload: Payload
    overrides: list[Override]
    not_before_ms: int | None = None
    expires_at_ms: int | None = None
    sync: bool = False

    def __repr__(self) -> str:
        return f"<PublishRequest {self.publish_id}>"


# ---- the shapes ----


class _Wire(msgspec.Struct, rename="camel", kw_only=True):
    """Null means left out wherever it is allowed."""


class _State(_Wire, kw_only=True):
    state: str | None = None
    failure_count: int | None = None
    error_reason: str | None = None
    recipient: Recipient


class _Device(_Wire, kw_only=True):
    id: str
    client_id: str | None = None
    form_factor: str
    platform: str
    metadata: Any = None
    timezone: str
    locale: str
    last_active_at_ms: int | None = None
    push: _State
    push_rate_policy: RatePolicy | None = None


class _Subscription(_Wire, kw_only=True):
    channel: str
    device_id: str
    client_id: str | None = None
    provider: str | None = None
    token_hash: str | None = None
    credential_version: int | None = None


class _Override(_Wire, kw_only=True):
    provider: str | None = None
    payload: dict[str, Any]


class _Template(_Wire, kw_only=True):
    template_id: str
    default_locale: str
    locales: dict[str, Localized]
    provider_overrides: dict[str, _Override] | None = None


class _Payload(_Wire, kw_only=True):
    title: str | None = None
    body: str | None = None
    icon: str | None = None
    sound: str | None = None
    collapse_key: str | None = None
    template_id: str | None = None
    template_data: dict[str, Any] | None = None
    # What the documentation calls templateData.
    data: Any = None


class _Target(_Wire, kw_only=True):
    type: str
    device_id: str | None = None
    client_id: str | None = None
    channel: str | None = None
    recipient: Recipient | None = None
    provider: str | None = None
    topic: str | None = None
    condition: str | None = None
    filter: str | None = None


class _Publish(_Wire, kw_only=True):
    publish_id: str | None = None
    idempotency_key: str | None = None
    recipients: list[_Target] | None = None
    payload: _Payload
    provider_overrides: list[_Override] | None = None
    not_before_ms: Any = None
    expires_at_ms: Any = None
    sync: bool | None = None


# ---- from bytes to records ----


def device_from(body: bytes, app_id: str) -> Device:
    """A device without the hash of an identity token; ``appId`` and ``deviceSecret`` of the body count for nothing."""
    given = decoded(body, _Device)
    push = given.push
    return Device(
        app_id=app_id,
        id=given.id,
        client_id=given.client_id,
        form_factor=given.form_factor,
        platform=given.platform,
        metadata=given.metadata,
        timezone=given.timezone,
        locale=given.locale,
        last_active_at_ms=_count(given.last_active_at_ms, "lastActiveAtMs"),
        state=one_of(push.state or "ACTIVE", get_args(DeviceState), "push.state"),  # type: ignore[arg-type]
        failure_count=_count(push.failure_count, "push.failureCount"),
        error_reason=None if push.error_reason is None else redacted(push.error_reason),
        recipient=push.recipient,
        rate_policy=given.push_rate_policy,
    )


def subscription_from(body: bytes) -> SubscriptionRequest:
    given = decoded(body, _Subscription)
    return SubscriptionRequest(
        given.channel,
        given.device_id,
        given.client_id,
        None if given.provider is None else _provider(given.provider, "provider"),
        given.token_hash,
        given.credential_version,
    )


def template_from(body: bytes, app_id: str) -> Template:
    """An override without a provider is for the one that it stands under."""
    given = decoded(body, _Template)
    overrides: dict[str, Override] = {}
    for name, override in (given.provider_overrides or {}).items():
        key = _provider(name, "a key of providerOverrides")
        if key in overrides:
            raise wrong_shape(f"providerOverrides has two entries for {key}")
        provider = key if override.provider is None else _provider(override.provider, "providerOverrides.provider")
        overrides[key] = Override(provider=provider, payload=override.payload)
    return Template(
        app_id=app_id,
        template_id=given.template_id,
        default_locale=given.default_locale,
        locales=given.locales,
        provider_overrides=overrides,
    )


def publish_from(body: bytes) -> PublishRequest:
    """Raises errors.SCHEDULED_PUSH_INVALID besides, for times that are none."""
    return _publish(decoded(body, _Publish))


def batch_from(body: bytes) -> list[PublishRequest]:
    """Every item of an array, or the refusal of the first that cannot be read, which names its number."""
    items = decode(_anything, body)
    if not isinstance(items, list):
        raise wrong_shape("Expected 'array'")
    texts = [msgspec.json.encode(item) for item in items]
    made = []
    for number, text in enumerate(texts):
        try:
            made.append(publish_from(text))
        except errors.SockudoError as problem:
            raise problem.spec(f"Item {number}: {problem.text}") from None
    return made


def payload_from(value: object) -> Payload:
    """A payload that is part of something else, decoded before: ``extras.push`` of an event (spec: push § 9)."""
    return _payload(converted(value, _Payload))


def _publish(given: _Publish) -> PublishRequest:
    return PublishRequest(
        publish_id=given.publish_id if given.publish_id is not None else given.idempotency_key,
        targets=[_target(target) for target in given.recipients or ()],
        payload=_payload(given.payload),
        overrides=[_override(override) for override in given.provider_overrides or ()],
        not_before_ms=_time(given.not_before_ms, "notBeforeMs"),
        expires_at_ms=_time(given.expires_at_ms, "expiresAtMs"),
        sync=bool(given.sync),
    )


def _payload(given: _Payload) -> Payload:
    data = given.template_data
    if data is None and isinstance(given.data, dict):
        data = given.data
    return Payload(
        title=given.title,
        body=given.body,
        icon=given.icon,
        sound=given.sound,
        collapse_key=given.collapse_key,
        template_id=given.template_id,
        template_data=data,
    )


def _target(given: _Target) -> Target:
    return Target(
        type=one_of(given.type, get_args(TargetType), "recipients.type"),  # type: ignore[arg-type]
        device_id=given.device_id,
        client_id=given.client_id,
        channel=given.channel,
        recipient=given.recipient,
        provider=None if given.provider is None else _provider(given.provider, "recipients.provider"),
        topic=given.topic,
        condition=given.condition,
        filter=given.filter,
    )


def _override(given: _Override) -> Override:
    if given.provider is None:
        raise wrong_shape("Object missing required field 'provider' - at 'providerOverrides[...]'")
    return Override(provider=_provider(given.provider, "providerOverrides.provider"), payload=given.payload)


def _provider(text: str, field: str) -> Provider:
    found = provider_named(text)
    if found is None:
        raise errors.INVALID_INPUT(f"{field} must be one of {', '.join(PROVIDERS)}")
    return found


def _count(value: int | None, field: str) -> int:
    if value is not None and not 0 <= value <= _LATEST_MS:
        raise errors.INVALID_INPUT(f"{field} must be a whole number of 0 or more")
    return value or 0


def _time(value: object, field: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LATEST_MS:
        raise errors.SCHEDULED_PUSH_INVALID(f"{field} must be a Unix time in whole milliseconds")
    return value
