"""The content of a notification, in the shape of each provider, measured (spec: push § 4): the publish over its
template, placeholders such as ``{{ data.parcel.no }}`` filled in.

The merged payload goes into the queue, placeholders still in place: later edits of a template do not change it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.recipients import PROVIDERS, Provider, provider_named
from sockudo.push.records import Localized, Override, Payload, Template

__all__ = [
    "LIMITS",
    "MOST_TEXT_BYTES",
    "Rendering",
    "filled",
    "localized",
    "merged",
    "render",
    "render_all",
    "substituted",
]

_TEXTS = ("title", "body", "icon", "sound", "collapse_key")

MOST_TEXT_BYTES: Final = 4096
"""UTF-8 bytes of a text once everything is put in."""

_KEY: Final = re.compile(r"data\.[A-Za-z0-9_.]+", re.ASCII)
_MOST_DOTS: Final = 4
# How much of an unknown key a refusal quotes.
_SHOWN: Final = 64

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


# ---- templates ----


def merged(payload: Payload, overrides: Sequence[Override], template: Template) -> tuple[Payload, list[Override]]:
    """Fields of the request win one by one, its overrides provider by provider.

    Raises errors.INVALID_INPUT for a template that keeps an override under another provider's name.
    """
    texts = localized(template, payload)
    filled = {name: getattr(texts, name) for name in _TEXTS if getattr(payload, name) is None}
    own = {override.provider for override in overrides}
    kept = []
    for name, override in template.provider_overrides.items():
        if provider_named(name) != override.provider:
            raise errors.INVALID_INPUT(
                f"push template {template.template_id} keeps an override for {override.provider} "
                f"under the key of another provider"
            )
        if override.provider not in own:
            kept.append(override)
    return replace(payload, **filled), [*kept, *overrides]


def localized(template: Template, payload: Payload) -> Localized:
    """The template's text in the language of ``templateData.locale``, or in the nearest that it has."""
    asked = (payload.template_data or {}).get("locale")
    if isinstance(asked, str) and asked.strip():
        found = template.locales.get(asked)
        tag = asked.replace("_", "-")
        while found is None and tag:
            found = template.locales.get(tag)
            tag = tag.rpartition("-")[0]
        if found is not None:
            return found
    return template.locales[template.default_locale]


# ---- placeholders ----


def substituted(text: str, data: Mapping[str, Any] | None, field: str) -> str:
    """The text with every placeholder replaced by its value in ``data``.

    Raises errors.INVALID_INPUT, which names ``field`` and, where it is well formed, the key; never a value.
    """
    if "{{" in text:
        text = "".join(_pieces(text, data or {}, field))
    # A character has at most four bytes, so most texts need not be encoded to be measured.
    if len(text) * 4 > MOST_TEXT_BYTES and len(text.encode("utf-8", "surrogatepass")) > MOST_TEXT_BYTES:
        raise _refused(f"rendered output is too large (over {MOST_TEXT_BYTES} bytes)", field)
    return text


def _pieces(text: str, data: Mapping[str, Any], field: str) -> list[str]:
    head, *rest = text.split("{{")
    pieces, size = [head], len(head)
    for part in rest:
        key, closed, tail = part.partition("}}")
        if not closed:
            raise _refused("unterminated placeholder", field)
        value = _value(key.strip(), data, field)
        pieces += (value, tail)
        size += len(value) + len(tail)
        if size > MOST_TEXT_BYTES:
            raise _refused(f"rendered output is too large (over {MOST_TEXT_BYTES} bytes)", field)
    return pieces


def _value(key: str, data: Mapping[str, Any], field: str) -> str:
    if _KEY.fullmatch(key) is None or key.count(".") > _MOST_DOTS:
        raise _refused("placeholder key must use a bounded data.* path", field)
    found: Any = data
    for name in key.split(".")[1:]:
        if not isinstance(found, Mapping) or name not in found:
            raise _refused("placeholder key is missing", field, key)
        found = found[name]
    if found is None:
        return ""
    if isinstance(found, str):
        return found
    if isinstance(found, (bool, int, float)):
        return msgspec.json.encode(found).decode()
    raise _refused("placeholder value must be scalar", field, key)


def _refused(reason: str, field: str, key: str | None = None) -> SockudoError:
    where = field if key is None else f"{field}: {key[:_SHOWN]}"
    return errors.INVALID_INPUT(f"invalid template substitution: {reason} ({where})")


# ---- shapes ----


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
    """All six, in the order of `PROVIDERS`, for every audience.

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
    android = {"collapse_key": texts.collapse_key, "notification": {"icon": texts.icon, "sound": texts.sound}}
    return {"message": {"notification": _notification(texts), "data": texts.template_data, "android": android}}


def _apns(texts: Payload) -> dict[str, Any]:
    return {
        "headers": {"apns-push-type": "alert", "apns-priority": "10", "apns-collapse-id": texts.collapse_key},
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
    android = {"collapse_key": texts.collapse_key, "notification": {"click_action": {"type": 3}, "sound": texts.sound}}
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
