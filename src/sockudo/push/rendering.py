"""A notification in the shape of each provider, measured (spec: push § 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from sockudo import errors
from sockudo.push.placeholders import substituted
from sockudo.push.recipients import PROVIDERS, Provider
from sockudo.push.records import Override, Payload

__all__ = ["LIMITS", "Rendering", "filled", "render", "render_all"]

LIMITS: Final[Mapping[Provider, int]] = {
    "fcm": 4096,
    "apns": 4096,
    "webPush": 4096,
    "hms": 4096,
    "wns": 5000,
    "realtime": 65_536,
}
"""Bytes of compact JSON that a provider takes; of APNs only ``aps`` and ``data`` count."""

_TTL_SECONDS: Final = 2_419_200

_encode: Final = msgspec.json.Encoder().encode


class Rendering(NamedTuple):
    """What a provider is sent, save for the recipient: ``body`` is compact JSON, unset fields are null."""

    provider: Provider
    body: bytes
    used_override: bool


def filled(payload: Payload) -> Payload:
    """The payload with its placeholders replaced. Raises errors.INVALID_INPUT."""
    data = payload.template_data
    texts = (
        ("title", "title", payload.title),
        ("body", "body", payload.body),
        ("icon", "icon", payload.icon),
        ("sound", "sound", payload.sound),
        ("collapse_key", "collapseKey", payload.collapse_key),
    )
    changed = {
        name: made
        for name, field, text in texts
        if text is not None and (made := substituted(text, data, field)) != text
    }
    return replace(payload, **changed) if changed else payload


def render_all(payload: Payload, overrides: Sequence[Override]) -> list[Rendering]:
    """All six, in the order of `PROVIDERS`, whatever the audience.

    Raises errors.INVALID_INPUT for a placeholder that has no value and errors.PUSH_PAYLOAD_TOO_LARGE for the first
    that is over its provider's bound.
    """
    texts = filled(payload)
    own = {override.provider: override.payload for override in overrides}
    return [_rendered(provider, texts, own.get(provider)) for provider in PROVIDERS]


def render(provider: Provider, payload: Payload, overrides: Sequence[Override]) -> Rendering:
    """One of them; what was accepted is rendered again the same."""
    own = next((override.payload for override in reversed(overrides) if override.provider == provider), None)
    return _rendered(provider, filled(payload), own)


def _rendered(provider: Provider, texts: Payload, own: Mapping[str, Any] | None) -> Rendering:
    content = _GENERIC[provider](texts) if own is None else own
    body = _encode(content)
    limit = LIMITS[provider]
    if len(body) > limit:
        size = _apns_size(content) if provider == "apns" else len(body)
        if size > limit:
            raise errors.PUSH_PAYLOAD_TOO_LARGE(f"{provider} payload exceeds {limit} bytes: it has {size}")
    return Rendering(provider, body, own is not None)


def _apns_size(content: Mapping[str, Any]) -> int:
    """Bytes of what becomes the request's body: the headers of the payload are sent apart from it."""
    if "aps" not in content:
        return len(_encode(content))
    return len(_encode({"aps": content["aps"], "data": content.get("data")}))


def _notification(texts: Payload) -> dict[str, Any]:
    return {"title": texts.title, "body": texts.body, "image": texts.icon}


def _fcm(texts: Payload) -> dict[str, Any]:
    android = {
        "collapse_key": texts.collapse_key,
        "notification": {"icon": texts.icon, "sound": texts.sound},
    }
    return {"message": {"notification": _notification(texts), "data": texts.template_data, "android": android}}


def _apns(texts: Payload) -> dict[str, Any]:
    return {
        "headers": {
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-collapse-id": texts.collapse_key,
        },
        "aps": {"alert": {"title": texts.title, "body": texts.body}, "sound": texts.sound},
        "data": texts.template_data,
    }


def _webpush(texts: Payload) -> dict[str, Any]:
    return {
        "headers": {"ttl": _TTL_SECONDS, "urgency": "normal", "topic": texts.collapse_key},
        "notification": _notification(texts),
        "data": texts.template_data,
    }


def _hms(texts: Payload) -> dict[str, Any]:
    android = {
        "collapse_key": texts.collapse_key,
        "notification": {"click_action": {"type": 3}, "sound": texts.sound},
    }
    return {"message": {"notification": _notification(texts), "data": texts.template_data, "android": android}}


def _wns(texts: Payload) -> dict[str, Any]:
    binding = {"template": "ToastGeneric", "text": [texts.title, texts.body], "image": texts.icon}
    return {
        "type": "toast",
        "toast": {"visual": {"binding": binding}, "audio": {"src": texts.sound}},
        "data": texts.template_data,
    }


def _realtime(texts: Payload) -> dict[str, Any]:
    return {"notification": _notification(texts), "data": texts.template_data}


_GENERIC: Final[Mapping[Provider, Callable[[Payload], dict[str, Any]]]] = {
    "fcm": _fcm,
    "apns": _apns,
    "webPush": _webpush,
    "hms": _hms,
    "wns": _wns,
    "realtime": _realtime,
}
