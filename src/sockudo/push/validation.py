"""What devices, subscriptions, templates, payloads, overrides and targets must be (spec: push § 3, 4).

Every check raises errors.INVALID_INPUT, or errors.PROVIDER_TOKEN_INVALID for the address of a device; the texts name
the field and the limit and never repeat a value. Sizes are bytes of UTF-8, of compact JSON where there is structure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.endpoints import EndpointRules
from sockudo.push.recipients import Recipient, WebRecipient, WnsRecipient, provider_named
from sockudo.push.records import Device, Localized, Override, Payload, Subscription, Target, Template

__all__ = [
    "CLIENT_SCOPE",
    "FORM_FACTORS",
    "MOST_OVERRIDE_BYTES",
    "PLATFORMS",
    "check_app_id",
    "check_device",
    "check_filled",
    "check_id",
    "check_override",
    "check_payload",
    "check_recipient",
    "check_subscription",
    "check_targets",
    "check_template",
    "one_of",
]

MOST_OVERRIDE_BYTES: Final = 4096
"""Bytes of an override's payload as compact JSON."""

CheckUrl = Callable[[str], object]
"""Raises a `SockudoError` for an address that nothing may be sent to."""

_PUSH_TYPES: Final = frozenset({"alert", "background", "voip", "complication", "fileprovider", "mdm", "liveactivity"})
_PRIORITIES: Final = frozenset({"5", "10"})
_URGENCIES: Final = frozenset({"very-low", "low", "normal", "high"})
_WNS_TYPES: Final = frozenset({"toast", "tile", "raw"})

_encode: Final = msgspec.json.Encoder().encode

FORM_FACTORS: Final = ("phone", "tablet", "desktop", "tv", "car", "watch", "embedded", "other")
PLATFORMS: Final = ("android", "ios", "browser", "windows", "macos", "watchos", "tvos", "other")

CLIENT_SCOPE: Final = "__sockudo_client_scope__:"
"""Begins the device id of a subscription that stands for all devices of a client (spec: push § 3); no device has
such an id."""

_APP_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MOST_TARGETS: Final = 1024
_LONGEST_ID: Final = 255
_LONGEST_TOKEN: Final = 4096
_LARGEST_METADATA: Final = 4096
_LARGEST_TEMPLATE_DATA: Final = 8192
_LARGEST_FILTER: Final = 4096
_TEXT_LIMITS: Final = (("title", 256), ("body", 4096), ("icon", 2048))
_TARGET_FIELDS: Final = {
    "device": ("device_id",),
    "client": ("client_id",),
    "channel": ("channel",),
    "recipient": (),
    "registeredTopic": ("topic",),
    "userTopic": ("topic",),
    "providerTopic": ("topic",),
    "providerCondition": ("condition",),
    "indexedFilter": ("filter",),
}


# ---- payloads in a provider's own shape ----


def check_override(override: Override, check_url: CheckUrl) -> None:
    """Raises errors.PUSH_PAYLOAD_TOO_LARGE for more than any provider takes and errors.INVALID_INPUT for what the
    provider would not understand; never repeats what it found.
    """
    size = len(_encode(override.payload))
    if size > MOST_OVERRIDE_BYTES:
        raise errors.PUSH_PAYLOAD_TOO_LARGE(
            f"{override.provider} override exceeds {MOST_OVERRIDE_BYTES} bytes: it has {size}"
        )
    if override.provider == "apns":
        _check_apns(_headers(override))
    elif override.provider == "webPush":
        _check_webpush(_headers(override), check_url)
    elif override.provider == "wns":
        kind = override.payload.get("type")
        if kind is not None and not _one_of(kind, _WNS_TYPES):
            raise _wrong("wns", "type must be toast, tile or raw")


def _headers(override: Override) -> Mapping[str, Any]:
    headers = override.payload.get("headers")
    if headers is None:
        return {}
    if not isinstance(headers, dict):
        raise _wrong(override.provider, "headers must be an object")
    return headers


def _check_apns(headers: Mapping[str, Any]) -> None:
    kind, priority = headers.get("apns-push-type"), headers.get("apns-priority")
    if kind is not None and not _one_of(kind, _PUSH_TYPES):
        raise _wrong("apns", f"apns-push-type must be one of {', '.join(sorted(_PUSH_TYPES))}")
    if priority is not None and not _one_of(priority, _PRIORITIES):
        raise _wrong("apns", "apns-priority must be the string 5 or 10")
    expiration = headers.get("apns-expiration")
    if expiration is not None and (isinstance(expiration, bool) or not isinstance(expiration, (str, int, float))):
        raise _wrong("apns", "apns-expiration must be a string or a number")
    for name in ("apns-topic", "apns-collapse-id"):
        _check_text("apns", headers, name)


def _check_webpush(headers: Mapping[str, Any], check_url: CheckUrl) -> None:
    ttl, urgency = headers.get("ttl"), headers.get("urgency")
    if ttl is not None and not _is_ttl(ttl):
        raise _wrong("webPush", "ttl must be a whole number of seconds, 0 or more")
    if urgency is not None and not _one_of(urgency, _URGENCIES):
        raise _wrong("webPush", "urgency must be very-low, low, normal or high")
    _check_text("webPush", headers, "topic")
    audience = headers.get("vapidAudience")
    if audience is None:
        return
    if not isinstance(audience, str):
        raise _wrong("webPush", "vapidAudience must be a string")
    try:
        check_url(audience)
    except SockudoError as problem:
        raise _wrong("webPush", f"vapidAudience: {problem.text}") from None


def _check_text(provider: str, headers: Mapping[str, Any], name: str) -> None:
    """A header goes on the wire as it is: no line breaks."""
    value = headers.get(name)
    if value is None:
        return
    if not isinstance(value, str):
        raise _wrong(provider, f"{name} must be a string")
    if not value.isprintable():
        raise _wrong(provider, f"{name} must have no control characters")


def _is_ttl(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdigit()
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _one_of(value: object, words: frozenset[str]) -> bool:
    return isinstance(value, str) and value in words


def _wrong(provider: str, reason: str) -> SockudoError:
    return errors.INVALID_INPUT(f"invalid {provider} override: {reason}")


# ---- the rest ----


def check_app_id(app_id: str) -> None:
    """Apps whose ids are not plain can have no push."""
    if not _APP_ID.fullmatch(app_id):
        raise errors.INVALID_INPUT("appId must be 1 to 128 bytes of letters, digits, '_' and '-' to be used with push")


def check_id(value: str, field: str) -> None:
    """A name that something is stored under."""
    check_filled(value, field)
    _check_size(value, field, _LONGEST_ID)


def check_filled(value: str, field: str) -> None:
    """Not blank, and plain text in one line."""
    if not value.strip():
        raise errors.INVALID_INPUT(f"{field} must not be empty")
    if any(letter < " " or letter == "\x7f" for letter in value):
        raise errors.INVALID_INPUT(f"{field} must have no control characters")


def one_of(value: str, words: Sequence[str], field: str) -> str:
    """The value, which must be one of these."""
    if value not in words:
        raise errors.INVALID_INPUT(f"{field} must be one of {', '.join(words)}")
    return value


def check_device(device: Device, rules: EndpointRules) -> None:
    check_id(device.id, "id")
    if device.id.startswith(CLIENT_SCOPE):
        raise errors.INVALID_INPUT(f"id must not start with {CLIENT_SCOPE}")
    if device.client_id is not None:
        check_id(device.client_id, "clientId")
    one_of(device.form_factor, FORM_FACTORS, "formFactor")
    one_of(device.platform, PLATFORMS, "platform")
    check_id(device.timezone, "timezone")
    check_id(device.locale, "locale")
    if len(_encode(device.metadata)) > _LARGEST_METADATA:
        raise errors.INVALID_INPUT(f"metadata exceeds {_LARGEST_METADATA} bytes")
    policy = device.rate_policy
    if policy is not None:
        for name, number in (("capacity", policy.capacity), ("refillPerSecond", policy.refill_per_second)):
            if not number > 0:
                raise errors.INVALID_INPUT(f"pushRatePolicy.{name} must be greater than 0")
    check_recipient(device.recipient, rules)


def check_recipient(recipient: Recipient, rules: EndpointRules) -> None:
    for name, field in zip(recipient.__struct_fields__, recipient.__struct_encode_fields__, strict=True):
        value = getattr(recipient, name)
        check_filled(value, field)
        _check_size(value, field, _LONGEST_TOKEN)
    if isinstance(recipient, WebRecipient):
        rules.check(recipient.endpoint, "endpoint")
    elif isinstance(recipient, WnsRecipient):
        rules.check(recipient.channel_uri, "channelUri")


def check_subscription(subscription: Subscription) -> None:
    check_id(subscription.channel, "channel")
    check_id(subscription.device_id, "deviceId")
    if subscription.client_id is not None:
        check_id(subscription.client_id, "clientId")
    check_id(subscription.token_hash, "tokenHash")
    if subscription.credential_version is not None and subscription.credential_version < 1:
        raise errors.INVALID_INPUT("credentialVersion must be 1 or more")


def check_template(template: Template, rules: EndpointRules) -> None:
    check_id(template.template_id, "templateId")
    check_id(template.default_locale, "defaultLocale")
    if template.default_locale not in template.locales:
        raise errors.INVALID_INPUT("defaultLocale must be a key of locales")
    for locale, texts in template.locales.items():
        check_filled(locale, "a key of locales")
        for field in ("title", "body"):
            if not getattr(texts, field).strip():
                raise errors.INVALID_INPUT(f"locales.{locale}.{field} must not be empty")
        _check_texts(texts, f"locales.{locale}.")
    for name, override in template.provider_overrides.items():
        if provider_named(name) != override.provider:
            raise errors.INVALID_INPUT(f"providerOverrides.{override.provider} is under the key of another provider")
        check_override(override, rules.check)


def check_payload(payload: Payload) -> None:
    """On the raw texts, placeholders not yet filled in."""
    _check_texts(payload)
    if payload.template_id is not None:
        check_id(payload.template_id, "templateId")
    if payload.template_data is not None and len(_encode(payload.template_data)) > _LARGEST_TEMPLATE_DATA:
        raise errors.INVALID_INPUT(f"templateData exceeds {_LARGEST_TEMPLATE_DATA} bytes")


def check_targets(targets: Sequence[Target], rules: EndpointRules) -> None:
    if not targets:
        raise errors.INVALID_INPUT("targets is invalid: must contain at least one target")
    if len(targets) > _MOST_TARGETS:
        raise errors.INVALID_INPUT(f"targets is invalid: must contain at most {_MOST_TARGETS} targets")
    for target in targets:
        for name in _TARGET_FIELDS[target.type]:
            value = getattr(target, name)
            field = _camel(name)
            if value is None:
                raise errors.INVALID_INPUT(f"{field} is required for a {target.type} target")
            check_filled(value, field)
            _check_size(value, field, _LARGEST_FILTER if name in ("filter", "condition") else _LONGEST_ID)
        if target.type.startswith("provider") and target.provider is None:
            raise errors.INVALID_INPUT(f"provider is required for a {target.type} target")
        if target.type == "recipient":
            if target.recipient is None:
                raise errors.INVALID_INPUT("recipient is required for a recipient target")
            check_recipient(target.recipient, rules)


def _check_texts(texts: Payload | Localized, where: str = "") -> None:
    for name, limit in _TEXT_LIMITS:
        value = getattr(texts, name)
        if value is None:
            continue
        if name == "body" and (size := len(value.encode())) > limit:
            raise errors.PUSH_PAYLOAD_TOO_LARGE(
                f"{where}body exceeds {limit} bytes, the bound of fcm, apns, webPush and hms: it has {size}"
            )
        _check_size(value, f"{where}{name}", limit)
    if texts.icon is not None and not _is_https(texts.icon):
        raise errors.INVALID_INPUT(f"{where}icon must be an https URL")


def _is_https(text: str) -> bool:
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return url.scheme == "https" and bool(url.hostname)


def _check_size(value: str, field: str, limit: int) -> None:
    if len(value.encode()) > limit:
        raise errors.INVALID_INPUT(f"{field} exceeds {limit} bytes")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
