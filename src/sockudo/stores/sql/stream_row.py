"""A row of the streams table while a transaction works on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

from sockudo.streams.records import Append, DurableState, Position, Retained, Retention, StreamInfo

__all__ = ["CHANGING", "StreamRow", "new_stream"]

_STATES: Final = frozenset(get_args(DurableState))

CHANGING: Final = (
    "next_serial",
    "retained_messages",
    "retained_bytes",
    "oldest_available_serial",
    "newest_available_serial",
    "oldest_available_published_at_ms",
    "newest_available_published_at_ms",
    "updated_at_ms",
    "retention_window_ms",
    "max_messages",
    "max_bytes",
    "expires_at_ms",
)
"""The columns that messages change, as they come and go."""


class StreamRow:
    """A stream retains the serials from ``oldest_serial`` up to ``next_serial``, which is not one of them.

    ``size`` is their bytes. ``oldest_at_ms`` and ``newest_at_ms`` mean nothing while there are none.
    """

    __slots__ = (
        "app_id",
        "changed_at_ms",
        "channel",
        "entries_id",
        "newest_at_ms",
        "next_serial",
        "node_id",
        "oldest_at_ms",
        "oldest_serial",
        "reason",
        "retention",
        "size",
        "state",
        "stream_id",
        "updated_at_ms",
    )

    def __init__(self, row: Sequence[Any]) -> None:
        """``row`` has the columns in the order of the table."""
        self.app_id: str = row[0]
        self.channel: str = row[1]
        self.stream_id: str = row[2]
        self.entries_id: str = row[3]
        self.next_serial: int = row[4]
        # What another version wrote is no reason to trust the stream.
        self.state: DurableState = row[5] if row[5] in _STATES else "degraded"
        self.reason: str | None = row[6]
        self.node_id: str | None = row[7]
        self.changed_at_ms: int | None = row[8]
        self.size: int = row[10]
        self.oldest_serial: int = row[11] or self.next_serial
        self.oldest_at_ms: int = row[13] or 0
        self.newest_at_ms: int = row[14] or 0
        self.updated_at_ms: int = row[15]
        self.retention = Retention(row[16], row[17], row[18])

    @property
    def messages(self) -> int:
        return self.next_serial - self.oldest_serial

    @property
    def retained(self) -> Retained:
        if not self.messages:
            return Retained()
        return Retained(
            self.messages, self.size, self.oldest_serial, self.next_serial - 1, self.oldest_at_ms, self.newest_at_ms
        )

    @property
    def info(self) -> StreamInfo:
        return StreamInfo(
            self.stream_id, self.next_serial, self.retained, self.state, self.reason, self.node_id, self.changed_at_ms
        )

    @property
    def expires_at_ms(self) -> int | None:
        """When something of it has to go: its oldest row, or all of it when it was never written to."""
        window_ms = self.retention.window_ms
        if window_ms is None:
            return None
        if self.messages:
            return self.oldest_at_ms + window_ms
        return self.updated_at_ms + window_ms if self.next_serial == 1 else None

    def append(self, append: Append) -> tuple[Position, int]:
        """The place and the time of a new row."""
        published_at_ms = append.published_at_ms
        if not self.messages:
            self.oldest_at_ms = published_at_ms
        elif self.newest_at_ms > published_at_ms:
            published_at_ms = self.newest_at_ms
        position = Position(self.stream_id, self.next_serial)
        self.next_serial += 1
        self.newest_at_ms = published_at_ms
        self.size += len(append.message)
        self.retention = append.retention
        self.updated_at_ms = append.published_at_ms
        return position, published_at_ms

    def drop_oldest(self, messages: int, size: int, oldest_at_ms: int) -> None:
        """Takes rows away; ``oldest_at_ms`` is the time of the first one that stays."""
        self.oldest_serial += messages
        self.size -= size
        self.oldest_at_ms = oldest_at_ms

    def drop_newest(self, messages: int, size: int, newest_at_ms: int) -> None:
        """Takes rows back, whose serials are given again; ``newest_at_ms`` is the time of the last one that stays."""
        self.next_serial -= messages
        self.size -= size
        self.newest_at_ms = newest_at_ms

    def entries(self, first: int, last: int) -> dict[str, Any]:
        """The parameters that name rows of this stream."""
        return {
            "app_id": self.app_id,
            "channel": self.channel,
            "stream_id": self.entries_id,
            "first": first,
            "last": last,
        }

    def values(self) -> dict[str, Any]:
        """What an upsert writes."""
        retained = self.retained
        return {
            "app_id": self.app_id,
            "channel": self.channel,
            "stream_id": self.stream_id,
            "entries_stream_id": self.entries_id,
            "next_serial": self.next_serial,
            "retained_messages": retained.messages,
            "retained_bytes": retained.size,
            "oldest_available_serial": retained.oldest_serial,
            "newest_available_serial": retained.newest_serial,
            "oldest_available_published_at_ms": retained.oldest_at_ms,
            "newest_available_published_at_ms": retained.newest_at_ms,
            "updated_at_ms": self.updated_at_ms,
            "retention_window_ms": self.retention.window_ms,
            "max_messages": self.retention.max_messages,
            "max_bytes": self.retention.max_bytes,
            "expires_at_ms": self.expires_at_ms,
        }


def new_stream(app_id: str, channel: str, stream_id: str, now_ms: int, retention: Retention) -> dict[str, Any]:
    """The columns of a stream that nothing was written to."""
    window_ms, max_messages, max_bytes = retention
    return {
        "app_id": app_id,
        "channel": channel,
        "stream_id": stream_id,
        "entries_stream_id": stream_id,
        "next_serial": 1,
        "updated_at_ms": now_ms,
        "retention_window_ms": window_ms,
        "max_messages": max_messages,
        "max_bytes": max_bytes,
        "expires_at_ms": None if window_ms is None else now_ms + window_ms,
    }
