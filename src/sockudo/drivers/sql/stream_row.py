"""A row of the streams table while a transaction works on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

from sockudo.base.stream_records import DurableState, Position, Retained, Retention, StreamInfo
from sockudo.drivers.sql.schema import place_hash

__all__ = ["StreamRow", "new_stream"]

_STATES: Final = frozenset(get_args(DurableState))


class StreamRow:
    """A stream retains the serials from ``oldest_serial`` up to ``next_serial``, which is not one of them.

    ``size`` is their bytes. ``oldest_at_ms`` and ``newest_at_ms`` mean nothing while there are none.
    """

    __slots__ = (
        "_unused_until_ms",
        "app_id",
        "changed_at_ms",
        "channel",
        "entries_id",
        "newest_at_ms",
        "next_serial",
        "node_id",
        "oldest_at_ms",
        "oldest_serial",
        "place_hash",
        "reason",
        "retention",
        "size",
        "state",
        "stream_id",
        "updated_at_ms",
    )

    app_id: str
    channel: str
    stream_id: str
    _unused_until_ms: int | None
    entries_id: str
    next_serial: int
    reason: str | None
    node_id: str | None
    changed_at_ms: int | None
    size: int
    updated_at_ms: int
    place_hash: bytes

    def __init__(self, columns: Sequence[Any]) -> None:
        """``columns`` are those of the table, in its order."""
        (
            self.app_id,
            self.channel,
            self.stream_id,
            self.entries_id,
            self.next_serial,
            state,
            self.reason,
            self.node_id,
            self.changed_at_ms,
            _messages,
            self.size,
            oldest_serial,
            _newest_serial,
            oldest_at_ms,
            newest_at_ms,
            self.updated_at_ms,
            window_ms,
            max_messages,
            max_bytes,
            self._unused_until_ms,
            self.place_hash,
        ) = columns
        # What another version wrote is no reason to trust the stream.
        self.state: DurableState = state if state in _STATES else "degraded"
        self.oldest_serial: int = oldest_serial or self.next_serial
        self.oldest_at_ms: int = oldest_at_ms or 0
        self.newest_at_ms: int = newest_at_ms or 0
        self.retention = Retention(window_ms, max_messages, max_bytes)

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
        if self.next_serial == 1:
            return self._unused_until_ms
        window_ms = self.retention.window_ms
        return self.oldest_at_ms + window_ms if self.messages and window_ms is not None else None

    def renew(self, retention: Retention, now_ms: int) -> None:
        """The time of a stream that was never written to begins anew."""
        self.retention, self.updated_at_ms = retention, now_ms
        self._unused_until_ms = None if retention.window_ms is None else now_ms + retention.window_ms

    def keep(self) -> None:
        """It stays, written to or not: its id tells what comes from what was before."""
        self._unused_until_ms = None

    def append(self, published_at_ms: int, size: int, retention: Retention) -> tuple[Position, int]:
        """The place and the time of a new row of ``size`` bytes."""
        self.updated_at_ms = published_at_ms
        if not self.messages:
            self.oldest_at_ms = published_at_ms
        elif self.newest_at_ms > published_at_ms:
            published_at_ms = self.newest_at_ms
        position = Position(self.stream_id, self.next_serial)
        self.next_serial += 1
        self.newest_at_ms = published_at_ms
        self.size += size
        self.retention = retention
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

    def restart(self, stream_id: str, now_ms: int) -> None:
        """Begins again under another id, with nothing in it."""
        self.stream_id = self.entries_id = stream_id
        self.next_serial = self.oldest_serial = 1
        self.size = 0
        self.updated_at_ms = now_ms
        self.keep()
        self.state = "healthy"
        self.reason = self.node_id = self.changed_at_ms = None

    def entries(self, first: int, last: int) -> dict[str, Any]:
        """The parameters that name rows of this stream."""
        app_id, channel, stream_id, *_ = self.range(first, last)
        return {"app_id": app_id, "channel": channel, "stream_id": stream_id, "first": first, "last": last}

    def range(self, first: int, last: int) -> tuple[str, str, str, int, int]:
        """The same, for one range of `Statements.ranges`."""
        return self.app_id, self.channel, self.entries_id, first, last

    def saved(self) -> tuple[object, ...]:
        """The values of `statements.STREAM`."""
        return (
            self.app_id,
            self.channel,
            self.place_hash,
            self.stream_id,
            self.entries_id,
            self.next_serial,
            self.updated_at_ms,
            *self.retention,
            self.expires_at_ms,
            *self.retained,
        )


def new_stream(app_id: str, channel: str, stream_id: str, now_ms: int, retention: Retention) -> tuple[object, ...]:
    """The values of `statements.NEW_STREAM`."""
    expires_at_ms = None if retention.window_ms is None else now_ms + retention.window_ms
    return app_id, channel, place_hash(app_id, channel), stream_id, stream_id, 1, now_ms, *retention, expires_at_ms
