"""Lists of push (spec: push § 1): where a record stands, by which they are sorted, and pages, whose cursors hold such a
position.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from sockudo import errors
from sockudo.push.records import DeadLetter, DeliveryEvent, PublishIntent, PublishStatus, Subscription

__all__ = [
    "Page",
    "PageRequest",
    "PairPosition",
    "TimePosition",
    "as_page",
    "dead_letter_position",
    "event_position",
    "intent_position",
    "page_request",
    "pair_after",
    "status_position",
    "subscription_position",
    "time_after",
    "time_position",
]

_DIGITS = 20

Row = TypeVar("Row")

_ROWS: Final = 100
_MOST_ROWS: Final = 1000
_LARGEST_CURSOR: Final = 2048
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}")


class PairPosition(NamedTuple):
    """A subscription among all of an app: ``text`` is ``channel:deviceId``, which two may have in common."""

    text: str
    channel: str


class TimePosition(NamedTuple):
    """A record in a list sorted by time."""

    at_ms: int
    id: str


def subscription_position(
    subscription: Subscription, *, channel: str | None = None, device_id: str | None = None
) -> str:
    """In the list of the channel, of the device, or of all: whichever was asked for."""
    if channel is not None:
        return subscription.device_id
    if device_id is not None:
        return subscription.channel
    return f"{subscription.channel}:{subscription.device_id}\0{subscription.channel}"


def pair_after(position: str) -> PairPosition:
    """Reads the position of a subscription among all."""
    text, _, channel = position.partition("\0")
    return PairPosition(text, channel)


def time_position(at_ms: int, record_id: str) -> str:
    """The time in 20 digits, a colon and the id."""
    return f"{at_ms:0{_DIGITS}d}:{record_id}"


def time_after(position: str) -> TimePosition:
    """Reads the position of a record in a list sorted by time. Raises errors.INVALID_INPUT for anything else."""
    digits, colon, record_id = position[:_DIGITS], position[_DIGITS : _DIGITS + 1], position[_DIGITS + 1 :]
    if len(digits) != _DIGITS or colon != ":" or not (digits.isascii() and digits.isdigit()):
        raise errors.INVALID_INPUT("cursor is not one of this list")
    # No database has room for a larger one, and no record can be behind it.
    return TimePosition(min(int(digits), 2**63 - 1), record_id)


def status_position(status: PublishStatus) -> str:
    return time_position(status.created_at_ms, status.publish_id)


def intent_position(intent: PublishIntent) -> str:
    return time_position(intent.accepted_at_ms, intent.publish_id)


def event_position(event: DeliveryEvent) -> str:
    return time_position(event.occurred_at_ms, event.event_id)


def dead_letter_position(letter: DeadLetter) -> str:
    return time_position(letter.occurred_at_ms, letter.dead_letter_id)


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
        """How many rows to read: one more than wanted shows whether there are more."""
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
    request: PageRequest, rows: Sequence[Row], position: Callable[[Row], str], shown: Callable[[Row], Any], now_ms: int
) -> Page:
    """The page of up to ``request.ask`` rows that were read."""
    kept = rows[: request.limit]
    more = len(rows) > request.limit
    cursor = _cursor(request, position(kept[-1]), now_ms) if more else None
    return Page([shown(row) for row in kept], cursor, more)


def _limit(text: str | None) -> int:
    if text is None:
        return _ROWS
    plain = text.isascii() and text.isdecimal() and len(text) <= 9
    limit = int(text) if plain else 0
    if not 1 <= limit <= _MOST_ROWS:
        raise errors.PUSH_LIMIT(f"limit must be between 1 and {_MOST_ROWS}")
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
