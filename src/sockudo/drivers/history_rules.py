"""What every history store works out alike: what retention takes away, and which serials a page has.

What a stream retains is one unbroken range of serials whose times never run backwards: only a prefix is ever deleted,
and a message whose node has a clock behind is given the time of the one before it. So a page is a range of serials,
and a bound in time is the first or last serial of that time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from sockudo.base.stream_records import Bounds, Direction, Retained, Retention

__all__ = ["MOST_PER_COMMIT", "UNLIMITED", "Cut", "Span", "prefix", "purge_cut", "retention_cut", "span"]

UNLIMITED: Final = (1 << 63) - 1

MOST_PER_COMMIT: Final = 1000
"""Rows of one channel that a commit deletes at most; the next one goes on where more are past their time."""


class Cut(NamedTuple):
    """What goes from the old end of a stream; a row goes when any part says so. The bounds are exclusive."""

    before_serial: int = 0
    before_time_ms: int = 0
    max_messages: int = UNLIMITED
    max_bytes: int = UNLIMITED


def retention_cut(retention: Retention, now_ms: int) -> Cut:
    """What a channel no longer keeps at ``now_ms`` (spec: history § 7.3)."""
    return Cut(
        before_time_ms=0 if retention.window_ms is None else now_ms - retention.window_ms,
        max_messages=UNLIMITED if retention.max_messages is None else retention.max_messages,
        max_bytes=UNLIMITED if retention.max_bytes is None else retention.max_bytes,
    )


def purge_cut(next_serial: int, before_serial: int | None, before_time_ms: int | None) -> Cut:
    """What an operator's purge takes: all that has been written when no bound is given (spec: history § 7.2)."""
    if before_serial is None and before_time_ms is None:
        return Cut(before_serial=next_serial)
    return Cut(before_serial=before_serial or 0, before_time_ms=before_time_ms or 0)


def prefix(oldest: Iterable[tuple[int, int, int]], retained: Retained, cut: Cut) -> tuple[int, int]:
    """How many rows go, and their bytes. ``oldest`` are serial, time and size of the rows from the oldest on."""
    messages, size = retained.messages, retained.size
    for serial, published_at_ms, row_size in oldest:
        if not (
            serial < cut.before_serial
            or published_at_ms < cut.before_time_ms
            or messages > cut.max_messages
            or size > cut.max_bytes
        ):
            break
        messages -= 1
        size -= row_size
    return retained.messages - messages, retained.size - size


class Span(NamedTuple):
    """The serials of a page, both ends included; there are none when ``first`` is above ``last``."""

    first: int
    last: int
    has_more: bool


def span(retained: Retained, bounds: Bounds, direction: Direction, limit: int, after: int | None) -> Span:
    """The serials of the page of at most ``limit`` rows beyond ``after``. Only the serials of ``bounds`` count."""
    if retained.oldest_serial is None or retained.newest_serial is None:
        return Span(1, 0, False)
    first = max(retained.oldest_serial, bounds.start_serial or 0)
    last = min(retained.newest_serial, UNLIMITED if bounds.end_serial is None else bounds.end_serial)
    if direction == "oldest_first":
        if after is not None:
            first = max(first, after + 1)
        end = min(last, first + limit - 1)
        return Span(first, end, end < last)
    if after is not None:
        last = min(last, after - 1)
    start = max(first, last - limit + 1)
    return Span(start, last, start > first)
