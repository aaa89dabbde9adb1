"""The conflation key of a message: which of a channel's series it belongs to (spec: filters-deltas § 2.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from sockudo.protocol.frames import Frame

__all__ = ["MAX_KEY", "key_reader"]

MAX_KEY: Final = 256
"""Bytes of a key; a longer one is none."""

_FIELDS: Final = frozenset(Frame.__struct_fields__)

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def key_reader(path: str | None) -> Callable[[Frame], str | None]:
    """A function that finds the key of a frame at ``path``, names with dots between them; None when it has no key.

    The path starts at the frame and leads through objects. ``data`` is entered as well when it is a string that holds a
    JSON object, and a path of one name that the frame does not have is looked up there. A key that the publisher gave
    in ``extras.delta.conflation_key`` comes first, with or without a path.
    """
    parts = path.split(".") if path else []

    def read(frame: Frame) -> str | None:
        if frame.extras is not None:
            given = _walk(frame.extras, ["delta", "conflation_key"])
            if isinstance(given, str) and given:
                return _text(given)
        return _text(_find(frame, parts)) if parts else None

    return read


def _find(frame: Frame, parts: list[str]) -> Any:
    first, *rest = parts
    value = getattr(frame, first) if first in _FIELDS else None
    if not rest:
        return _walk_json(frame.data, parts) if value is None else value
    return _walk_json(value, rest) if first == "data" else _walk(value, rest)


def _walk(value: Any, parts: list[str]) -> Any:
    for part in parts:
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _walk_json(text: str | msgspec.Raw | None, parts: list[str]) -> Any:
    """The same in JSON text; of a text that is none, or cannot be read, nothing is found."""
    try:
        for part in parts:
            if text is None:
                return None
            text = _decode_members(text).get(part)
        return None if text is None else _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _text(value: Any) -> str | None:
    """A string as it is, a number or a boolean as JSON writes it; nothing else can be a key."""
    if isinstance(value, msgspec.Raw):
        return None
    if isinstance(value, bool | float):
        value = _encode(value).decode()
    elif isinstance(value, int):
        value = str(value)
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= MAX_KEY:
        return None
    return value
