"""Pages of push lists: how many rows, and where the next page begins (spec: push § 1)."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from sockudo import errors

__all__ = ["Page", "PageRequest", "as_page", "page_request"]

Row = TypeVar("Row")

_DEFAULT: Final = 100
_MOST: Final = 1000
_LARGEST_CURSOR: Final = 2048
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}")


class _Cursor(msgspec.Struct, rename="camel"):
    app_id: str
    kind: str
    position: str
    issued_at_ms: int


_decoder: Final = msgspec.json.Decoder(_Cursor)


class PageRequest(NamedTuple):
    """Which page of a list is wanted: at most ``limit`` rows strictly behind the position ``after``."""

    app_id: str
    kind: str
    after: str
    limit: int

    @property
    def ask(self) -> int:
        """How many rows to read: one more than wanted tells whether there are more."""
        return self.limit + 1


class Page(NamedTuple):
    """A page as it is answered."""

    items: list[Any]
    next_cursor: str | None
    has_more: bool


def page_request(app_id: str, kind: str, limit: str | None, cursor: str | None) -> PageRequest:
    """Reads the parameters of a list; ``kind`` names it, filters included, so that its cursors fit no other.

    Raises errors.PUSH_LIMIT and errors.PUSH_CURSOR.
    """
    return PageRequest(app_id, kind, "" if cursor is None else _position(app_id, kind, cursor), _limit(limit))


def as_page(
    request: PageRequest,
    rows: Sequence[Row],
    position: Callable[[Row], str],
    shown: Callable[[Row], Any],
    now_ms: int,
) -> Page:
    """The page of up to ``request.ask`` rows that were read."""
    kept = rows[: request.limit]
    more = len(rows) > request.limit
    cursor = _cursor(request, position(kept[-1]), now_ms) if more else None
    return Page([shown(row) for row in kept], cursor, more)


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT
    plain = text.isascii() and text.isdecimal() and len(text) <= 9
    limit = int(text) if plain else 0
    if not 1 <= limit <= _MOST:
        raise errors.PUSH_LIMIT(f"limit must be between 1 and {_MOST}")
    return limit


def _cursor(request: PageRequest, position: str, now_ms: int) -> str:
    text = msgspec.json.encode(_Cursor(request.app_id, request.kind, position, now_ms))
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def _position(app_id: str, kind: str, cursor: str) -> str:
    # Four letters stand for three bytes.
    if len(cursor) > _LARGEST_CURSOR * 4 // 3 + 4 or not _BASE64URL.fullmatch(cursor):
        raise errors.PUSH_CURSOR("cursor decode failed")
    try:
        text = urlsafe_b64decode(cursor.rstrip("=") + "=" * (-len(cursor.rstrip("=")) % 4))
        found = _decoder.decode(text)
    except (ValueError, msgspec.MsgspecError):
        raise errors.PUSH_CURSOR("cursor decode failed") from None
    if len(text) > _LARGEST_CURSOR:
        raise errors.PUSH_CURSOR(f"cursor exceeds {_LARGEST_CURSOR} bytes")
    if found.app_id != app_id:
        raise errors.PUSH_CURSOR("cursor belongs to another app")
    if found.kind != kind:
        raise errors.PUSH_CURSOR("cursor belongs to another list")
    return found.position
