"""Placeholders in the texts of a notification: ``{{ data.parcel.no }}`` (spec: push § 4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sockudo import errors
from sockudo.errors import SockudoError

__all__ = ["MOST_BYTES", "substituted"]

MOST_BYTES: Final = 4096
"""UTF-8 bytes of a text once everything is put in."""

_KEY: Final = re.compile(r"data\.[A-Za-z0-9_.]+", re.ASCII)
_MOST_DOTS: Final = 4
# Of a key that somebody has made up, as much as a refusal repeats.
_SHOWN: Final = 64


def substituted(text: str, data: Mapping[str, Any] | None, field: str) -> str:
    """The text with every placeholder replaced by its value in ``data``.

    Raises errors.INVALID_INPUT, which names ``field`` and, where it is well formed, the key; never a value.
    """
    if "{{" in text:
        text = "".join(_pieces(text, data or {}, field))
    # A character has at most four bytes, so most texts need not be encoded to be measured.
    if len(text) * 4 > MOST_BYTES and len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise _refused(f"rendered output is too large (over {MOST_BYTES} bytes)", field)
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
        if size > MOST_BYTES:
            raise _refused(f"rendered output is too large (over {MOST_BYTES} bytes)", field)
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
