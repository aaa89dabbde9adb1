"""Streams in dictionaries: for development and tests, and the definition of `HistoryStore`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from sockudo.base.message_records import Latest, Mutation, channel_of_log, is_log, log_of
from sockudo.base.stream_records import (
    CREATE,
    KEEP_ALL,
    SEED_PLACE,
    WHOLE_STREAM,
    Append,
    Bounds,
    Committed,
    Create,
    Direction,
    DurableState,
    Page,
    Position,
    Purged,
    Retention,
    Row,
    StreamInfo,
)
from sockudo.drivers.history_rules import MOST_PER_COMMIT, UNLIMITED, Cut, purge_cut, retention_cut, span
from sockudo.drivers.memory_messages import MemoryMessages
from sockudo.drivers.memory_streams import MemoryStream
from sockudo.hub.streams.totals import Evicted, Group, Total, group_of
from sockudo.hub.streams.versions import (
    applied,
    decode_version,
    encode_version,
    latest_without,
    made_by,
    serial_of_message,
)

__all__ = ["MemoryHistoryStore"]

# Streams in one turn of the loop.
_SLICE = 5000


def _is_beyond(serial: str, after: str, direction: Direction) -> bool:
    return serial > after if direction == "oldest_first" else serial < after


def _stored(append: Append, row: Row) -> bool:
    if append.change is not None:
        return bool(row.message) and made_by(decode_version(row.message), append.change)
    return (
        row.message_id == append.message_id
        and row.message == append.message
        and row.published_at_ms >= append.published_at_ms
    )


class MemoryHistoryStore:
    """Keeps streams as long as the process lives. Nothing in it waits, so no two calls ever overlap."""

    def __init__(self) -> None:
        self.evicted = Evicted()
        self._streams: dict[tuple[str, str], MemoryStream] = {}
        # App, channel and key → fingerprint, position and the time until which it counts.
        self._keys: dict[tuple[str, str, str], tuple[bytes, Position, int]] = {}
        self._messages = MemoryMessages()

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
            if outcome.is_new:
                channels = [append.channel]
                if isinstance(append.change, Create):
                    channels.append(append.change.channel)
                for channel in channels:
                    place = append.app_id, channel
                    latest[place] = max(append.published_at_ms, latest.get(place, 0))
        for place, now_ms in latest.items():
            cut = retention_cut(self._streams[place].retention, now_ms)
            self.evicted.note(group_of(*place), *self._trim(place, cut, MOST_PER_COMMIT))
        return outcomes

    def _trim(self, place: tuple[str, str], cut: Cut, limit: int | None = None) -> tuple[int, int]:
        stream = self._streams[place]
        taken = stream.trim(cut, limit)
        self._messages.trimmed(place, stream.next_serial - len(stream.rows))
        return taken

    def _commit(self, append: Append) -> Committed:
        place = append.app_id, append.channel
        if append.key is not None:
            known = self._keys.get((*place, append.key))
            if known is not None and known[2] > append.published_at_ms:
                fingerprint, position, _ = known
                return Committed(position, repeated=True, conflict=fingerprint != append.fingerprint)
        outcome = self._store(append)
        if append.key is not None and outcome.is_new:
            expires_at_ms = append.published_at_ms + append.key_ttl_ms
            self._keys[*place, append.key] = append.fingerprint, outcome.position, expires_at_ms
        return outcome

    def _store(self, append: Append) -> Committed:
        place, change = (append.app_id, append.channel), append.change
        stream = self._grown(append, append.channel, append.retention, append.stream_id)
        what = append.message, append.message_id, append.event_name
        if change is None:
            return Committed(stream.append(append, append.operation_kind, *what))
        if isinstance(change, Create):
            history = self._grown(append, change.channel, change.retention, change.history_stream_id)
            logged = replace(change.version, history_serial=history.append(append, CREATE, *what).serial)
            latest, message_id = logged, append.message_id
        else:
            message = self._messages.get(place, change.message_serial)
            changed = applied(None if message is None else message.version, change)
            if isinstance(changed, str):
                return Committed(stream.info.head, refused=changed)
            latest, logged, message_id = *changed, changed.logged.version_serial
        position = stream.append(append, logged.action, encode_version(logged), message_id, logged.name)
        self._messages.put(place, Latest(position.serial, latest))
        whole = latest.text if isinstance(change, Mutation) and change.whole else None
        return Committed(position, version=logged, whole=whole)

    def _grown(self, append: Append, channel: str, retention: Retention, stream_id: str | None) -> MemoryStream:
        stream = self._made((append.app_id, channel), append.published_at_ms, retention, stream_id)
        stream.retention = retention
        return stream

    def _made(
        self, place: tuple[str, str], now_ms: int, retention: Retention, stream_id: str | None = None
    ) -> MemoryStream:
        stream = self._streams.get(place)
        if stream is None:
            stream = self._streams[place] = MemoryStream(now_ms, retention, stream_id)
        return stream

    async def retract(self, appends: Sequence[Append], after: int, now_ms: int) -> StreamInfo | None:
        place = appends[0].app_id, appends[0].channel
        stream = self._streams.get(place)
        if stream is None:
            return None
        serials = {
            row.serial for row in stream.rows if row.serial > after and any(_stored(append, row) for append in appends)
        }
        if is_log(place[1]):
            self._undo(place, stream, serials)
        stream.retract(serials)
        for append in appends:
            known = None if append.key is None else self._keys.get((*place, append.key))
            if append.key is not None and known is not None and known[1].serial in serials:
                del self._keys[*place, append.key]
        return stream.info

    def _undo(self, place: tuple[str, str], stream: MemoryStream, serials: set[int]) -> None:
        """Brings the messages of a log to what they are without the versions at these serials."""
        versions = [Latest(row.serial, decode_version(row.message)) for row in stream.rows if row.message]
        gone = [each.version for each in versions if each.serial in serials]
        created = {each.message_serial: each.history_serial for each in gone if each.action == "create"}
        self._messages.forget(place, created)
        history = self._streams.get((place[0], channel_of_log(place[1]) or ""))
        if history is not None:
            history.retract(set(created.values()))
        for message_serial in {each.message_serial for each in gone} - created.keys():
            before = self._messages.get(place, message_serial)
            rows = [v for v in versions if v.version.message_serial == message_serial and v.serial not in serials]
            whole = max((n for n, row in enumerate(rows) if row.version.action != "append"), default=0)
            if before is not None:
                self._messages.take_back(place, latest_without(rows[whole:][::-1], before))

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
        latest: bool = False,
    ) -> Page:
        stream = self._streams.get((app_id, channel))
        if stream is None:
            return Page(None)
        first, last, has_more = span(stream.retained, stream.within(bounds), direction, limit, after)
        oldest = stream.next_serial - len(stream.rows)
        rows = stream.rows[first - oldest : last - oldest + 1] if first <= last else []
        if latest:
            rows = [self._with_latest((app_id, log_of(channel)), row) for row in rows]
        return Page(stream.info, tuple(rows if direction == "oldest_first" else reversed(rows)), has_more)

    def _with_latest(self, log: tuple[str, str], row: Row) -> Row:
        serial = serial_of_message(row.message) if row.operation_kind == CREATE else None
        latest = None if serial is None else self._messages.get(log, serial)
        stream_id = self._streams[log].stream_id if latest is not None else ""
        return row if latest is None else row._replace(latest=latest._replace(stream_id=stream_id))

    async def message(self, app_id: str, log: str, message_serial: str) -> Latest | None:
        return self._messages.get((app_id, log), message_serial)

    async def versions(
        self,
        app_id: str,
        log: str,
        message_serial: str,
        *,
        direction: Direction = "newest_first",
        limit: int,
        after: str | None = None,
    ) -> Page:
        stream = self._streams.get((app_id, log))
        if stream is None:
            return Page(None)
        oldest = stream.next_serial - len(stream.rows)
        serials = [serial for serial in self._messages.serials((app_id, log), message_serial) if serial >= oldest]
        found = [row for row in (stream.rows[serial - oldest] for serial in serials) if row.message]
        if direction == "newest_first":
            found.reverse()
        if after is not None:
            found = [row for row in found if _is_beyond(decode_version(row.message).version_serial, after, direction)]
        return Page(stream.info, tuple(found[:limit]), len(found) > limit)

    async def reset(self, app_id: str, channel: str, now_ms: int) -> Purged:
        old = self._streams.get((app_id, channel))
        retention = KEEP_ALL if old is None else old.retention
        new = self._streams[app_id, channel] = MemoryStream(now_ms, retention)
        self._messages.trimmed((app_id, channel), UNLIMITED)
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
        cut = purge_cut(stream.next_serial, before_serial, before_time_ms)
        messages, size = self._trim((app_id, channel), cut)
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
                taken = self._trim(place, cut, left)
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
        self._messages.delete_app(app_id)

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
