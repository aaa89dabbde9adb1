"""``extras`` of a publish: checked where their shape is known, passed on otherwise
(spec: http-api § 5.5; websocket § 11.1)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["check_extras", "delivered", "is_ephemeral", "key_of"]


class _AiExtras(msgspec.Struct):
    transport: dict[str, str] | None = None
    codec: dict[str, str] | None = None


class _Extras(msgspec.Struct):
    headers: dict[str, str | float | bool] | None = None
    ephemeral: bool | None = None
    echo: bool | None = None
    idempotency_key: str | None = None
    idempotency_key_camel: str | None = msgspec.field(default=None, name="idempotencyKey")
    ai: _AiExtras | None = None


class _Holder(msgspec.Struct):
    extras: _Extras | None = None


# Nothing but the server's own business: never delivered.
_KEPT_BACK: Final = frozenset(("idempotencyKey", "idempotency_key", "push"))
_OWN_HEADERS: Final = "sockudo_"


def check_extras(extras: dict[str, Any]) -> None:
    """Raises msgspec.ValidationError, with the path from ``extras`` on, for a known member of the wrong type."""
    msgspec.convert({"extras": extras}, _Holder)


def key_of(extras: dict[str, Any] | None) -> str | None:
    """The idempotency key inside extras, in either spelling."""
    if extras is None:
        return None
    key = extras.get("idempotencyKey")
    return key if key is not None else extras.get("idempotency_key")


def is_ephemeral(extras: dict[str, Any] | None) -> bool:
    """Whether the message is for those who listen now and is kept nowhere."""
    return extras is not None and extras.get("ephemeral") is True


def delivered(extras: dict[str, Any], *, ephemeral: bool, echo: bool) -> dict[str, Any] | None:
    """What V2 subscribers get of it; None when nothing is left. The flags say which features are on."""
    found: dict[str, Any] = {}
    for name, value in extras.items():
        if name in _KEPT_BACK or value is None:
            continue
        if (name == "ephemeral" and not ephemeral) or (name == "echo" and not echo):
            continue
        found[name] = value
    headers = found.get("headers")
    if headers is not None:
        # Headers with this prefix are the server's to set.
        found["headers"] = {name: value for name, value in headers.items() if not name.startswith(_OWN_HEADERS)}
        if not found["headers"]:
            del found["headers"]
    return found or None
