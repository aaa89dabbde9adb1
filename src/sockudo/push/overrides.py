"""Payloads in a provider's own shape: what is checked of them before they are kept (spec: push § 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.records import Override

__all__ = ["MOST_BYTES", "check_override"]

MOST_BYTES: Final = 4096
"""Bytes of an override's payload as compact JSON."""

CheckUrl = Callable[[str], object]
"""Raises a `SockudoError` for an address that nothing may be sent to."""

_PUSH_TYPES: Final = frozenset({"alert", "background", "voip", "complication", "fileprovider", "mdm", "liveactivity"})
_PRIORITIES: Final = frozenset({"5", "10"})
_URGENCIES: Final = frozenset({"very-low", "low", "normal", "high"})
_WNS_TYPES: Final = frozenset({"toast", "tile", "raw"})

_encode: Final = msgspec.json.Encoder().encode


def check_override(override: Override, check_url: CheckUrl) -> None:
    """Raises errors.PUSH_PAYLOAD_TOO_LARGE for more than any provider takes and errors.INVALID_INPUT for what the
    provider would not understand; never repeats what it found.
    """
    size = len(_encode(override.payload))
    if size > MOST_BYTES:
        raise errors.PUSH_PAYLOAD_TOO_LARGE(f"{override.provider} override exceeds {MOST_BYTES} bytes: it has {size}")
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
