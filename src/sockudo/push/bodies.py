"""Bodies of push requests: both spellings of every field, and what may be left out (contract 50 § 2, D1).

All functions raise what `sockudo.publishing.json_body` does, for JSON that is broken or of another shape, and
errors.INVALID_INPUT for a word that is none of a list. Only shapes are looked at here: see `sockudo.push.validation`.
"""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from sockudo import errors
from sockudo.publishing.json_body import decode, in_our_words, members, refuse_repeats, wrong_shape
from sockudo.push.recipients import Provider, Recipient, provider_named
from sockudo.push.records import Device, Localized, Override, Payload, RatePolicy, Target, Template
from sockudo.push.redaction import redacted
from sockudo.push.validation import one_of

__all__ = [
    "PublishRequest",
    "SubscriptionRequest",
    "batch_from",
    "decoded",
    "device_from",
    "payload_from",
    "publish_from",
    "subscription_from",
    "template_from",
]

Body = TypeVar("Body", bound=msgspec.Struct)

_STATES: Final = ("ACTIVE", "FAILING", "FAILED")
_TRANSPORTS: Final = ("gcm", "apns", "web", "hms", "wns", "realtime")
_PROVIDERS: Final = ("fcm", "apns", "webPush", "hms", "wns", "realtime")
_TARGET_TYPES: Final = (
    "device",
    "client",
    "channel",
    "recipient",
    "registeredTopic",
    "userTopic",
    "providerTopic",
    "providerCondition",
    "indexedFilter",
)
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
        state=one_of(push.state or "ACTIVE", _STATES, "push.state"),  # type: ignore[arg-type]
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
    """A payload that is part of something else, decoded before: ``extras.push`` of an event (§ 9)."""
    return _payload(_converted(value, _Payload))


def decoded(body: bytes, kind: type[Body]) -> Body:
    """The body as a struct whose JSON names are camelCase; every field may be spelt in snake_case, too."""
    value = decode(_anything, body)
    made = _converted(value, kind)
    names, quoted = _names(kind)
    # A name that occurs once is not repeated; nobody writes an escaped letter, unless to get past this.
    if b"\\u00" in body or any(body.count(name) > 1 for name in quoted):
        refuse_repeats(members(body), names)
    return made


@cache
def _names(kind: type[msgspec.Struct]) -> tuple[frozenset[str], tuple[bytes, ...]]:
    """Both spellings of every field, and as they stand in JSON text."""
    names = frozenset((*kind.__struct_fields__, *kind.__struct_encode_fields__))
    return names, tuple(f'"{name}"'.encode() for name in names)


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
        type=one_of(given.type, _TARGET_TYPES, "recipients.type"),  # type: ignore[arg-type]
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
        raise errors.INVALID_INPUT(f"{field} must be one of {', '.join(_PROVIDERS)}")
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


# ---- both spellings ----


class _Field(NamedTuple):
    """The JSON name of a field and the struct that its value is, or holds as a list or under names."""

    name: str
    kind: Any = None
    nested: type | None = None


def _converted(value: object, kind: type[Body]) -> Body:
    try:
        return msgspec.convert(_renamed(value, kind, ""), kind)
    except msgspec.ValidationError as problem:
        raise wrong_shape(in_our_words(problem)) from None


def _renamed(value: object, kind: Any, where: str) -> object:
    """The value with the names of objects that are structs in camelCase."""
    if not isinstance(value, dict):
        return value
    fields = _fields(kind)
    made: dict[str, object] = {}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            continue
        if field.name in made:
            raise wrong_shape(f"the field '{field.name}' is repeated{where and f' in {where}'}")
        path = f"{where}.{field.name}" if where else field.name
        made[field.name] = _within(item, field, path)
    if kind is Recipient:
        _check_transport(made, where)
    return made


def _within(item: object, field: _Field, path: str) -> object:
    if field.kind is None:
        return item
    if field.nested is list and isinstance(item, list):
        return [_renamed(each, field.kind, path) for each in item]
    if field.nested is dict and isinstance(item, dict):
        return {key: _renamed(each, field.kind, path) for key, each in item.items()}
    return item if field.nested is not None else _renamed(item, field.kind, path)


def _check_transport(given: dict[str, object], where: str) -> None:
    # The decoder would quote what it found, which may be a token.
    kind = given.get("transportType")
    if isinstance(kind, str):
        one_of(kind, _TRANSPORTS, f"{where}.transportType")


@cache
def _fields(kind: Any) -> dict[str, _Field]:
    """Each field of a struct, or of any of a union's, under both of its spellings."""
    found: dict[str, _Field] = {}
    if kind is Recipient:
        found["transportType"] = found["transport_type"] = _Field("transportType")
    for struct in get_args(kind) or (kind,):
        for field in msgspec.structs.fields(struct):
            made = _Field(field.encode_name, *_struct_of(field.type))
            found[field.name] = found[field.encode_name] = made
    return found


def _struct_of(hint: Any) -> tuple[Any, type | None]:
    """The struct in a field's type and how it holds it; (None, None) when there is none."""
    if hint == Recipient or hint == Recipient | None:
        return Recipient, None
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint, None
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return next((found for part in parts if (found := _struct_of(part))[0] is not None), (None, None))
    if origin in (list, dict):
        struct, _ = _struct_of(parts[-1])
        return (struct, origin) if struct is not None else (None, None)
    return None, None
