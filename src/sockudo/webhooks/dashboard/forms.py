"""The form of one webhook: an entry of the record as fields, and back. What is secret in it is never filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sockudo.apps.webhooks import shown_webhook
from sockudo.config.webhooks import EVENT_TYPES
from sockudo.dashboard.bodies import Form

__all__ = ["EVENTS", "NUMBERS", "entry_of", "fields_of_entry"]

EVENTS: Final = (
    ("channel_occupied", "A channel has its first subscriber"),
    ("channel_vacated", "A channel has lost its last one"),
    ("member_added", "A user has come to a presence channel"),
    ("member_removed", "A user has left one"),
    ("member_updated", "A user's information has changed there"),
    ("client_event", "A client has sent an event"),
    ("cache_miss", "A cache channel had no last event for a subscriber"),
    ("subscription_count", "A channel has more or fewer subscribers"),
    ("user_online", "A signed-in user has come"),
    ("user_offline", "A signed-in user has gone"),
    ("push.publish_failed", "A push publish has reached no device (push.webhooks_enabled)"),
    ("push.device_invalidated", "A device was deleted because its token is dead (push.webhooks_enabled)"),
)
"""What can be ticked, in the order of the form."""

NUMBERS: Final = (
    ("request_timeout_ms", "Time limit of a request", "ms"),
    ("retry.max_attempts", "Attempts at most", ""),
    ("retry.max_elapsed_time_ms", "Given up after", "ms"),
    ("retry.initial_backoff_ms", "First pause between attempts", "ms"),
    ("retry.max_backoff_ms", "Longest pause", "ms"),
)

_FILTERS: Final = ("channel_prefix", "channel_suffix", "channel_pattern", "channel_namespace")
_HIDDEN: Final = "…"


def fields_of_entry(entry: Mapping[str, Any]) -> Form:
    """The form filled in: hidden parts of the address and values of headers as `…`."""
    shown = shown_webhook(entry)
    condition, retry = shown.get("filter") or {}, shown.get("retry") or {}
    types = [str(name) for name in shown.get("event_types") or ()]
    fields = [
        ("url", str(shown.get("url") or "")),
        *(("event", name) for name in types if name in EVENT_TYPES),
        ("other_events", ", ".join(name for name in types if name not in EVENT_TYPES)),
        *((f"filter.{name}", str(condition.get(name) or "")) for name in _FILTERS),
        ("filter.channel_namespaces", ", ".join(condition.get("channel_namespaces") or ())),
        ("headers", "\n".join(f"{name}: {_HIDDEN}" for name in shown.get("headers") or {})),
        ("request_timeout_ms", _text(shown.get("request_timeout_ms"))),
        ("retry.enabled", {True: "on", False: "off"}.get(retry.get("enabled"), "")),  # type: ignore[arg-type]
        *((name, _text(retry.get(name.partition(".")[2]))) for name, _, _ in NUMBERS if name.startswith("retry.")),
    ]
    return Form(fields)


def entry_of(sent: Form) -> dict[str, Any]:
    """The entry that was filled in; a header whose value is left hidden is null, which keeps it.

    Numbers that are none stay texts, for the reader of webhooks to refuse.
    """
    condition: dict[str, Any] = {name: sent.get(f"filter.{name}").strip() for name in _FILTERS}
    condition["channel_namespaces"] = _listed(sent.get("filter.channel_namespaces"))
    retry = {name.partition(".")[2]: _number(sent.get(name)) for name, _, _ in NUMBERS if name.startswith("retry.")}
    retry["enabled"] = {"on": True, "off": False}.get(sent.get("retry.enabled"))
    parts = {
        "filter": {name: value for name, value in condition.items() if value},
        "headers": _headers(sent.get("headers")),
        "retry": {name: value for name, value in retry.items() if value is not None},
        "request_timeout_ms": _number(sent.get("request_timeout_ms")),
    }
    return {
        "url": sent.get("url").strip() or None,
        "event_types": [*sent.all("event"), *_listed(sent.get("other_events"))],
        **{name: value for name, value in parts.items() if value not in (None, {})},
    }


def _headers(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if line.strip():
            found[name] = None if value == _HIDDEN else value
    return found


def _listed(text: str) -> list[str]:
    return [part for part in (piece.strip() for piece in text.split(",")) if part]


def _number(text: str) -> int | str | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else text or None


def _text(value: object) -> str:
    return "" if value is None else str(value)
