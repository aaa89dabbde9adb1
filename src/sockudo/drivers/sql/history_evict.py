"""What retention takes away: the oldest rows of many streams, with a few statements however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from sockudo.drivers.history_rules import Cut, prefix
from sockudo.drivers.sql.history_rows import delete_ranges, read_ranges
from sockudo.drivers.sql.statements import Statements
from sockudo.drivers.sql.stream_row import StreamRow
from sockudo.hub.streams.totals import Group, group_of

__all__ = ["Due", "Taken", "evict"]

Taken = tuple[Group, int, int]
"""Messages and bytes that retention took away from streams of a group."""


class Due(NamedTuple):
    """A stream of which something has to go. ``expected`` rows are looked at first, and at most ``most`` go."""

    stream: StreamRow
    cut: Cut
    expected: int
    most: int


def evict(connection: Connection, sql: Statements, due: Sequence[Due]) -> list[Taken]:
    """Deletes the rows; the streams themselves are not written yet."""
    gone, taken = [], []
    while due:
        again = []
        # And the first one that stays.
        ranges = [each.stream.range(each.stream.oldest_serial, _end(each)) for each in due]
        for each, rows in zip(due, read_ranges(connection, sql, ranges), strict=True):
            stream = each.stream
            messages, size, oldest_at_ms = _old(each, rows)
            if messages == each.expected < min(stream.messages, each.most):
                again.append(each._replace(expected=each.most))
            elif messages:
                gone.append(stream.range(stream.oldest_serial, stream.oldest_serial + messages - 1))
                taken.append((group_of(stream.app_id, stream.channel), messages, size))
                stream.drop_oldest(messages, size, oldest_at_ms)
        due = again
    if gone:
        delete_ranges(connection, sql, gone)
    return taken


def _old(due: Due, rows: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Messages and bytes that go, and the time of the first row that stays.

    A row that is missing, deleted by hand, goes with those before it.
    """
    stream, end = due.stream, _end(due)
    before_end = rows[:-1] if rows and rows[-1][0] == end else rows
    messages, size = prefix(before_end, stream.retained, due.cut)
    stays = rows[messages] if messages < len(rows) else None
    first = end if stays is None else stays[0]
    return first - stream.oldest_serial, size, 0 if stays is None else stays[1]


def _end(due: Due) -> int:
    return min(due.stream.oldest_serial + due.expected, due.stream.next_serial)
