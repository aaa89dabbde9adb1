"""One stream in memory: its rows, and what every operation of a store does to them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import islice

from sockudo.base.ids import unique_id
from sockudo.base.stream_records import (
    RETRACTED,
    Append,
    Bounds,
    DurableState,
    Position,
    Retained,
    Retention,
    Row,
    StreamInfo,
)
from sockudo.drivers.history_rules import Cut, prefix

__all__ = ["MemoryStream"]


class MemoryStream:
    """One stream; ``rows`` are its retained messages, oldest first."""

    __slots__ = (
        "changed_at_ms",
        "kept",
        "next_serial",
        "node_id",
        "reason",
        "retention",
        "rows",
        "size",
        "state",
        "stream_id",
        "updated_at_ms",
    )

    def __init__(self, now_ms: int, retention: Retention, stream_id: str | None = None) -> None:
        self.stream_id = stream_id or unique_id()
        # Whether it stays though it was never written to.
        self.kept = False
        self.next_serial = 1
        self.rows: list[Row] = []
        self.size = 0
        self.retention = retention
        self.updated_at_ms = now_ms
        self.state: DurableState = "healthy"
        self.reason: str | None = None
        self.node_id: str | None = None
        self.changed_at_ms: int | None = None

    @property
    def retained(self) -> Retained:
        """What it still holds."""
        if not self.rows:
            return Retained()
        oldest, newest = self.rows[0], self.rows[-1]
        return Retained(
            len(self.rows), self.size, oldest.serial, newest.serial, oldest.published_at_ms, newest.published_at_ms
        )

    @property
    def info(self) -> StreamInfo:
        """What is known about it."""
        return StreamInfo(
            self.stream_id, self.next_serial, self.retained, self.state, self.reason, self.node_id, self.changed_at_ms
        )

    def append(self, append: Append, kind: str, message: bytes, message_id: str | None, event: str | None) -> Position:
        """Adds a row; its place."""
        at_ms = append.published_at_ms
        if self.rows:
            at_ms = max(at_ms, self.rows[-1].published_at_ms)
        position = Position(self.stream_id, self.next_serial)
        self.rows.append(Row(*position, at_ms, message_id, event, kind, message))
        self.next_serial += 1
        self.size += len(message)
        self.updated_at_ms = append.published_at_ms
        return position

    def trim(self, cut: Cut, limit: int | None = None) -> tuple[int, int]:
        """Deletes the oldest rows that a cut takes, at most so many; rows and bytes."""
        oldest = ((row.serial, row.published_at_ms, len(row.message)) for row in islice(self.rows, limit))
        messages, size = prefix(oldest, self.retained, cut)
        del self.rows[:messages]
        self.size -= size
        return messages, size

    def retract(self, serials: set[int]) -> None:
        """Takes rows back: the newest ones go, of others the serials stay."""
        while self.rows and self.rows[-1].serial in serials:
            self.size -= len(self.rows.pop().message)
            self.next_serial -= 1
        for place, row in enumerate(self.rows):
            if row.serial in serials:
                self.size -= len(row.message)
                self.rows[place] = row._replace(message_id=None, event_name=None, operation_kind=RETRACTED, message=b"")

    def rotate(self, now_ms: int) -> None:
        """Gives the stream another id."""
        self.stream_id = unique_id()
        self.kept = True
        self.rows = [row._replace(stream_id=self.stream_id) for row in self.rows]
        self.updated_at_ms = now_ms

    def within(self, bounds: Bounds) -> Bounds:
        """The same part of the stream, as bounds of serials."""
        start, end = bounds.start_serial or 0, bounds.end_serial
        first = self.next_serial - len(self.rows)
        if bounds.start_time_ms is not None:
            start = max(start, first + bisect_left(self.rows, bounds.start_time_ms, key=_time))
        if bounds.end_time_ms is not None:
            last = first + bisect_right(self.rows, bounds.end_time_ms, key=_time) - 1
            end = last if end is None else min(end, last)
        return Bounds(start, end)


def _time(row: Row) -> int:
    return row.published_at_ms
