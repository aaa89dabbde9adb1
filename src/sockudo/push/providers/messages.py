"""Requests to FCM and HMS: the payload with the recipient's token in its message (spec: push § 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sockudo.push.providers.base import encode

__all__ = ["Shape", "message_shape"]


class Shape(NamedTuple):
    """The body of a request around the recipient's token."""

    before: bytes
    after: bytes


def message_shape(
    payload: Mapping[str, Any],
    convert: Callable[[Any], Any],
    opening: bytes,
    closing: bytes,
) -> Shape:
    """``message`` with ``token`` as its last member; whatever else the payload has comes before it.

    ``data`` of the message goes through ``convert``; ``opening`` and ``closing`` stand around the token's text.
    """
    message = payload.get("message")
    inner = {key: value for key, value in message.items() if key != "token"} if isinstance(message, dict) else {}
    if "data" in inner:
        inner["data"] = convert(inner["data"])
    outer = {key: value for key, value in payload.items() if key != "message"}
    before = _open(outer) + b'"message":' + _open(inner) + b'"token":' + opening
    return Shape(before, closing)


def _open(members: Mapping[str, Any]) -> bytes:
    """An object without its end, ready for one more member."""
    return encode(members)[:-1] + (b"," if members else b"")
