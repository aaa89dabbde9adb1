"""Streams in dictionaries: for development and tests, and the definition of `HistoryStore`."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import islice

from sockudo.base.ids import unique_id
from sockudo.base.stream_records import (
    KEEP_ALL,
    RETRACTED,
    SEED_PLACE,
    WHOLE_STREAM,
    Append,
    Bounds,
    Committed,
    Direction,
    DurableState,
    Page,
    Position,
    Purged,
    Retained,
    Retention,
    Row,
    StreamInfo,
)
from sockudo.drivers.history_rules import MOST_PER_COMMIT, Cut, prefix, purge_cut, retention_cut, span
from sockudo.hub.streams.totals import Evicted, Group, Total, group_of

__all__ = ["MemoryHistoryStore"]

# Streams in one turn of the loop.
_SLICE = 5000


class _Stream:
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
        if not self.rows:
            return Retained()
        oldest, newest = self.rows[0], self.rows[-1]
        return Retained(
            len(self.rows), self.size, oldest.serial, newest.serial, oldest.published_at_ms, newest.published_at_ms
        )

    @property
    def info(self) -> StreamInfo:
        return StreamInfo(
            self.stream_id, self.next_serial, self.retained, self.state, self.reason, self.node_id, self.changed_at_ms
        )

    def append(self, append: Append) -> Position:
        at_ms = append.published_at_ms
        if self.rows:
            at_ms = max(at_ms, self.rows[-1].published_at_ms)
        position = Position(self.stream_id, self.next_serial)
        self.rows.append(
            Row(*position, at_ms, append.message_id, append.event_name, append.operation_kind, append.message)
        )
        self.next_serial += 1
        self.size += len(append.message)
        self.retention = append.retention
        self.updated_at_ms = append.published_at_ms
        return position

    def trim(self, cut: Cut, limit: int | None = None) -> tuple[int, int]:
        oldest = ((row.serial, row.published_at_ms, len(row.message)) for row in islice(self.rows, limit))
        messages, size = prefix(oldest, self.retained, cut)
        del self.rows[:messages]
        self.size -= size
        return messages, size

    def retract(self, serials: set[int]) -> None:
        while self.rows and self.rows[-1].serial in serials:
            self.size -= len(self.rows.pop().message)
            self.next_serial -= 1
        for place, row in enumerate(self.rows):
            if row.serial in serials:
                self.size -= len(row.message)
                self.rows[place] = row._replace(message_id=None, event_name=None, operation_kind=RETRACTED, message=b"")

    def rotate(self, now_ms: int) -> None:
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


def _stored(append: Append, row: Row) -> bool:
    return (
        row.message_id == append.message_id
        and row.message == append.message
        and row.published_at_ms >= append.published_at_ms
    )


class MemoryHistoryStore:
    """Keeps streams as long as the process lives. Nothing in it waits, so no two calls ever overlap."""

    def __init__(self) -> None:
        self.evicted = Evicted()
        self._streams: dict[tuple[str, str], _Stream] = {}
        # App, channel and key → fingerprint, position and the time until which it counts.
        self._keys: dict[tuple[str, str, str], tuple[bytes, Position, int]] = {}

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def commit(self, appends: Sequence[Append]) -> list[Committed]:
        latest: dict[tuple[str, str], int] = {}
        outcomes = []
        for append in appends:
            outcome = self._commit(append)
            outcomes.append(outcome)
            if not outcome.repeated:
                place = append.app_id, append.channel
                latest[place] = max(append.published_at_ms, latest.get(place, 0))
        for place, now_ms in latest.items():
            stream = self._streams[place]
            taken = stream.trim(retention_cut(stream.retention, now_ms), MOST_PER_COMMIT)
            self.evicted.note(group_of(*place), *taken)
        return outcomes

    def _commit(self, append: Append) -> Committed:
        place = append.app_id, append.channel
        if append.key is not None:
            known = self._keys.get((*place, append.key))
            if known is not None and known[2] > append.published_at_ms:
                fingerprint, position, _ = known
                return Committed(position, repeated=True, conflict=fingerprint != append.fingerprint)
        position = self._made(place, append.published_at_ms, append.retention, append.stream_id).append(append)
        if append.key is not None:
            expires_at_ms = append.published_at_ms + append.key_ttl_ms
            self._keys[*place, append.key] = append.fingerprint, position, expires_at_ms
        return Committed(position)

    def _made(self, place: tuple[str, str], now_ms: int, retention: Retention, stream_id: str | None = None) -> _Stream:
        stream = self._streams.get(place)
        if stream is None:
            stream = self._streams[place] = _Stream(now_ms, retention, stream_id)
        return stream

    async def retract(self, appends: Sequence[Append], after: int, now_ms: int) -> StreamInfo | None:
        place = appends[0].app_id, appends[0].channel
        stream = self._streams.get(place)
        if stream is None:
            return None
        serials = {
            row.serial for row in stream.rows if row.serial > after and any(_stored(append, row) for append in appends)
        }
        stream.retract(serials)
        for append in appends:
            known = None if append.key is None else self._keys.get((*place, append.key))
            if append.key is not None and known is not None and known[1].serial in serials:
                del self._keys[*place, append.key]
        return stream.info

    async def rotate(self, app_id: str, channel: str, now_ms: int) -> StreamInfo:
        stream = self._made((app_id, channel), now_ms, KEEP_ALL)
        stream.rotate(now_ms)
        for key, (fingerprint, position, expires_at_ms) in list(self._keys.items()):
            if key[:2] == (app_id, channel):
                self._keys[key] = fingerprint, position._replace(stream_id=stream.stream_id), expires_at_ms
        return stream.info

    async def ensure(self, app_id: str, channel: str, now_ms: int, retention: Retention = KEEP_ALL) -> StreamInfo:
        stream = self._made((app_id, channel), now_ms, retention)
        if stream.next_serial == 1:
            stream.retention = retention
            stream.updated_at_ms = now_ms
        return stream.info

    async def info(self, app_id: str, channel: str) -> StreamInfo | None:
        stream = self._streams.get((app_id, channel))
        return None if stream is None else stream.info

    async def read(
        self,
        app_id: str,
        channel: str,
        *,
        bounds: Bounds = WHOLE_STREAM,
        direction: Direction = "newest_first",
        limit: int,
        after: int | None = None,
    ) -> Page:
        stream = self._streams.get((app_id, channel))
        if stream is None:
            return Page(None)
        first, last, has_more = span(stream.retained, stream.within(bounds), direction, limit, after)
        oldest = stream.next_serial - len(stream.rows)
        rows = stream.rows[first - oldest : last - oldest + 1] if first <= last else []
        return Page(stream.info, tuple(rows if direction == "oldest_first" else reversed(rows)), has_more)

    async def reset(self, app_id: str, channel: str, now_ms: int) -> Purged:
        old = self._streams.get((app_id, channel))
        retention = KEEP_ALL if old is None else old.retention
        new = self._streams[app_id, channel] = _Stream(now_ms, retention)
        new.kept = True
        if old is None:
            return Purged(0, 0, new.info)
        return Purged(len(old.rows), old.size, new.info, old.stream_id)

    async def purge(
        self,
        app_id: str,
        channel: str,
        now_ms: int,
        *,
        before_serial: int | None = None,
        before_time_ms: int | None = None,
    ) -> Purged:
        stream = self._streams.get((app_id, channel))
        if stream is None:
            return Purged(0, 0, None)
        messages, size = stream.trim(purge_cut(stream.next_serial, before_serial, before_time_ms))
        stream.updated_at_ms = now_ms
        return Purged(messages, size, stream.info)

    async def mark(
        self, app_id: str, channel: str, state: DurableState, reason: str | None, node_id: str | None, now_ms: int
    ) -> None:
        stream = self._streams.get((app_id, channel))
        if stream is not None:
            stream.state, stream.reason, stream.node_id, stream.changed_at_ms = state, reason, node_id, now_ms

    async def expire(self, now_ms: int, limit: int) -> tuple[int, bool]:
        left = limit
        for place, stream in list(self._streams.items()):
            window_ms = stream.retention.window_ms
            if window_ms is None:
                continue
            cut = Cut(before_time_ms=now_ms - window_ms)
            if stream.next_serial > 1:
                taken = stream.trim(cut, left)
                self.evicted.note(group_of(*place), *taken)
                left -= taken[0]
                if stream.rows and stream.rows[0].published_at_ms < cut.before_time_ms:
                    return limit, True
            elif not stream.kept and stream.updated_at_ms < cut.before_time_ms:
                if not left:
                    return limit, True
                del self._streams[place]
                left -= 1
        past = [place for place, (_, _, expires_at_ms) in self._keys.items() if expires_at_ms <= now_ms]
        for key in past[:left]:
            del self._keys[key]
        return limit - left + len(past[:left]), len(past) > left

    async def delete_app(self, app_id: str) -> None:
        gone = (app_id, SEED_PLACE[0])
        self._streams = {place: stream for place, stream in self._streams.items() if place[0] not in gone}
        self._keys = {place: stored for place, stored in self._keys.items() if place[0] != app_id}

    async def totals(self) -> dict[Group, Total]:
        found: dict[Group, Total] = {}
        for number, (place, stream) in enumerate(list(self._streams.items()), 1):
            group = group_of(*place)
            messages, size, lost = found.get(group, Total())
            lost += stream.state == "reset_required"
            found[group] = Total(messages + len(stream.rows), size + stream.size, lost)
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        return found

    async def check(self) -> bool:
        return True

    async def probe(self) -> None:
        pass
