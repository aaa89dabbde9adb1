"""Times and data from outside as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from markupsafe import Markup, escape

__all__ = ["duration", "moment", "pretty", "prose"]

_MAX_SHOWN: Final = 20_000


def moment(at_ms: float) -> str:
    """A time in Unix milliseconds, in UTC to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """How long something lasted, in its two largest units."""
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def prose(text: object) -> Markup:
    """Words of the server's own as markup: what stands between two backticks is code. Everything is escaped."""
    if isinstance(text, Markup):
        return text
    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    # Every second part stood between two of them.
    shown = (Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(parts))
    return Markup("").join(shown)


def pretty(data: Any) -> str:
    """Data as text, with line breaks where it is JSON; a string is taken for what it holds. Long ones are cut."""
    text = (
        data if isinstance(data, str) else bytes(data).decode("utf-8", "replace") if _is_raw(data) else _encoded(data)
    )
    if len(text) > _MAX_SHOWN:
        return f"{text[:_MAX_SHOWN]}… ({len(text):,} characters in all)"
    try:
        return msgspec.json.format(text, indent=2)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _is_raw(data: object) -> bool:
    return isinstance(data, (bytes, bytearray, memoryview, msgspec.Raw))


def _encoded(data: object) -> str:
    return msgspec.json.encode(data).decode()
