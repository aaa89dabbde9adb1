"""What the two binary formats have in common: ``data`` and ``extras`` where they are not JSON (spec: websocket § 16).

Inbound, every kind of ``data`` becomes the JSON text that a JSON connection would have sent. Outbound, ``extras`` keep
the keys that a binary format has a place for.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import msgspec

from sockudo import errors
from sockudo.protocol.inbound import InboundFrame, checked_data

__all__ = [
    "KnownExtras",
    "binary_data",
    "inbound_frame",
    "kind_and_text",
    "known_extras",
    "string_data",
    "structured_data",
]

_encode = msgspec.json.Encoder().encode
_decode_string = msgspec.json.Decoder(str).decode


class KnownExtras(msgspec.Struct, frozen=True, gc=False):
    """What binary formats transport of ``extras``; an empty part is absent."""

    headers: dict[str, str | bool | float]
    ephemeral: bool | None
    idempotency_key: str | None
    echo: bool | None
    transport: dict[str, str]
    codec: dict[str, str]


def kind_and_text(data: str | msgspec.Raw) -> tuple[Literal["string", "json"], str]:
    """Outbound ``data`` as its kind and the text of that kind."""
    if isinstance(data, str):
        return "string", data
    text = bytes(data)
    if text.lstrip().startswith(b'"'):
        return "string", _decode_string(text)
    return "json", text.decode()


def known_extras(extras: dict[str, Any]) -> KnownExtras | None:
    """``extras`` without unknown keys, ``push`` and values of the wrong type; None when nothing is left."""
    key = extras.get("idempotencyKey", extras.get("idempotency_key"))
    ephemeral, echo, ai = extras.get("ephemeral"), extras.get("echo"), extras.get("ai")
    known = KnownExtras(
        _headers(extras.get("headers")),
        ephemeral if isinstance(ephemeral, bool) else None,
        key if isinstance(key, str) else None,
        echo if isinstance(echo, bool) else None,
        _strings(ai.get("transport")) if isinstance(ai, dict) else {},
        _strings(ai.get("codec")) if isinstance(ai, dict) else {},
    )
    return known if known != _NOTHING else None


_NOTHING = KnownExtras({}, None, None, None, {}, {})


def _headers(value: Any) -> dict[str, str | bool | float]:
    headers: dict[str, str | bool | float] = {}
    for name, header in value.items() if isinstance(value, dict) else ():
        if isinstance(header, str | bool | float):
            headers[name] = header
        elif isinstance(header, int):
            # JSON has integers beyond every double.
            with suppress(OverflowError):
                headers[name] = float(header)
    return headers


def _strings(value: Any) -> dict[str, str]:
    return {name: text for name, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}


def inbound_frame(event: str | None, channel: str | None, data: bytes | None) -> InboundFrame:
    """A frame whose parts are sound; raises errors.EVENT_NAME_INVALID when it has no event."""
    if event is None:
        raise errors.EVENT_NAME_INVALID("Invalid event name: Event name is required")
    return InboundFrame(event, channel, data)


def string_data(text: str) -> bytes:
    """``data`` of the kind "string". That of the kind "json" is `checked_data`'s to read."""
    return _encode(text)


def binary_data(value: bytes) -> bytes:
    """``data`` of the kind "binary": an array of byte values."""
    return _encode(list(value))


def structured_data(named: dict[str, str | None], extra: dict[str, str]) -> bytes | None:
    """``data`` of the kind "structured": an object of the ``named`` strings that are there and of ``extra``.

    The values of ``extra`` are JSON texts. Raises errors.MALFORMED_FRAME when one of them is not, or nested too deep.
    """
    members = {name: msgspec.Raw(checked_data(text) or b"null") for name, text in extra.items()}
    members |= {name: msgspec.Raw(_encode(text)) for name, text in named.items() if text is not None}
    return checked_data(_encode(members).decode())
