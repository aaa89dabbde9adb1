"""Storing a batch of messages: one transaction, with a few statements however long the batch (spec: history § 1.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection

from sockudo.base.message_records import Mutation, Version
from sockudo.base.stream_records import CREATE, Append, Committed, Create, Position, Retention
from sockudo.drivers.history_rules import MOST_PER_COMMIT, Cut, retention_cut
from sockudo.drivers.sql.history_evict import Due, Taken, evict
from sockudo.drivers.sql.history_messages import Messages, opened_messages
from sockudo.drivers.sql.schema import key_hash, message_hash
from sockudo.drivers.sql.statements import Statements
from sockudo.drivers.sql.stream_row import StreamRow
from sockudo.drivers.sql.streams import Place, opened_streams
from sockudo.hub.streams.versions import encode_version

__all__ = ["commit"]

# Rows that retention looks at beyond those that it expects to go.
_SPARE = 8


class _Key(NamedTuple):
    """A key that counts; ``stream_id`` is that of the entry."""

    fingerprint: bytes
    stream_id: str
    serial: int
    expires_at_ms: int


class _Grown:
    """A stream that got messages. ``latest_ms`` is the time of the last one by its publisher's clock."""

    __slots__ = ("added", "latest_ms", "stream")

    def __init__(self, stream: StreamRow) -> None:
        self.stream = stream
        self.added = 0
        self.latest_ms = 0


def commit(connection: Connection, sql: Statements, appends: Sequence[Append]) -> tuple[list[Committed], list[Taken]]:
    """The whole of the transaction but its end; also what retention takes away in it."""
    streams = opened_streams(connection, sql, *_places(appends))
    known = _known_keys(connection, sql, appends)
    messages = opened_messages(connection, sql, appends)
    keys: dict[bytes, tuple[object, ...]] = {}
    rows = _Rows(streams)
    outcomes = []
    taken: list[Taken] = []
    for append in appends:
        stream = streams[append.app_id, append.channel]
        if append.key is not None:
            name = key_hash(append.app_id, append.channel, append.key)
            stored = known.get(name)
            if stored is not None and stored.expires_at_ms > append.published_at_ms:
                outcomes.append(_repeated(append, stream, stored))
                continue
        if append.change is None:
            outcome = Committed(rows.entry(append, append.channel, append.operation_kind, append.retention))
        else:
            outcome = _changed(rows, messages, append, append.change)
        outcomes.append(outcome)
        if append.key is not None and outcome.is_new:
            expires_at_ms = append.published_at_ms + append.key_ttl_ms
            known[name] = _Key(append.fingerprint, stream.entries_id, outcome.position.serial, expires_at_ms)
            keys[name] = name, *known[name]
    if rows.grown:
        rows.insert(connection, sql)
        if keys:
            sql.save_keys.run(connection, list(keys.values()))
        messages.save()
        taken = _retain(connection, sql, rows.grown.values())
        sql.save_streams.run(connection, [growth.stream.saved() for growth in rows.grown.values()])
    return outcomes, taken


def _places(appends: Sequence[Append]) -> tuple[dict[Place, tuple[int, Retention]], dict[Place, str]]:
    """The streams that are written to, and the ids of those that begin."""
    places: dict[Place, tuple[int, Retention]] = {}
    ids: dict[Place, str] = {}
    for each in appends:
        places[each.app_id, each.channel] = each.published_at_ms, each.retention
        if each.stream_id is not None:
            ids[each.app_id, each.channel] = each.stream_id
        if isinstance(each.change, Create):
            place = each.app_id, each.change.channel
            places[place] = each.published_at_ms, each.change.retention
            if each.change.history_stream_id is not None:
                ids[place] = each.change.history_stream_id
    return places, ids


class _Rows:
    """The rows that a commit adds, and the streams that grow by them."""

    def __init__(self, streams: Mapping[Place, StreamRow]) -> None:
        self.grown: dict[Place, _Grown] = {}
        self._streams = streams
        self._entries: list[tuple[object, ...]] = []
        self._versions: list[tuple[object, ...]] = []

    def entry(self, append: Append, channel: str, kind: str, retention: Retention) -> Position:
        """Adds the message of an append to a stream."""
        stream = self._grow(append, channel)
        position, at_ms = stream.append(append.published_at_ms, len(append.message), retention)
        what = append.message_id, append.event_name, kind, append.message, len(append.message)
        self._entries.append((append.app_id, channel, stream.entries_id, position.serial, at_ms, *what))
        return position

    def version(self, append: Append, name: bytes, logged: Version) -> Position:
        """Adds a version to its log; ``name`` is the hash of its message."""
        stream = self._grow(append, append.channel)
        row = encode_version(logged)
        position, at_ms = stream.append(append.published_at_ms, len(row), append.retention)
        message_id = logged.message_id if logged.action == "create" else logged.version_serial
        what = message_id, logged.name, logged.action, row, len(row), name, logged.version_serial
        self._versions.append((append.app_id, append.channel, stream.entries_id, position.serial, at_ms, *what))
        return position

    def head(self, append: Append) -> Position:
        """Where the stream of an append is."""
        return self._streams[append.app_id, append.channel].info.head

    def _grow(self, append: Append, channel: str) -> StreamRow:
        place = append.app_id, channel
        growth = self.grown.get(place)
        if growth is None:
            growth = self.grown[place] = _Grown(self._streams[place])
        growth.added += 1
        growth.latest_ms = max(growth.latest_ms, append.published_at_ms)
        return growth.stream

    def insert(self, connection: Connection, sql: Statements) -> None:
        """Writes the rows."""
        if self._entries:
            sql.entries.insert.run(connection, self._entries)
        if self._versions:
            sql.versions.insert.run(connection, self._versions)


def _changed(rows: _Rows, messages: Messages, append: Append, change: Create | Mutation) -> Committed:
    """Adds a version of a message, and the message's row of the history where it is the first one."""
    if isinstance(change, Create):
        place = rows.entry(append, change.channel, CREATE, change.retention)
        logged = replace(change.version, history_serial=place.serial)
        name = message_hash(append.app_id, append.channel, logged.message_serial)
        position = rows.version(append, name, logged)
        messages.create(name, position.serial, logged)
        return Committed(position, version=logged)
    name = message_hash(append.app_id, append.channel, change.message_serial)
    changed = messages.change(name, change)
    if isinstance(changed, str):
        return Committed(rows.head(append), refused=changed)
    position = rows.version(append, name, changed)
    messages.place(name, position.serial)
    return Committed(position, version=changed, whole=messages.whole(name) if change.whole else None)


def _known_keys(connection: Connection, sql: Statements, appends: Sequence[Append]) -> dict[bytes, _Key]:
    hashes = [key_hash(append.app_id, append.channel, append.key) for append in appends if append.key is not None]
    if not hashes:
        return {}
    rows = sql.keys.run(connection, hashes)
    return {name: _Key(*stored) for name, *stored in rows}


def _repeated(append: Append, stream: StreamRow, stored: _Key) -> Committed:
    # The entries of a stream keep the id that it was made with.
    stream_id = stream.stream_id if stored.stream_id == stream.entries_id else stored.stream_id
    position = Position(stream_id, stored.serial)
    return Committed(position, repeated=True, conflict=stored.fingerprint != append.fingerprint)


def _retain(connection: Connection, sql: Statements, grown: Collection[_Grown]) -> list[Taken]:
    """Deletes what the channels no longer keep: of each about as much as has come, or else its share of the most."""
    cuts = [(each, retention_cut(each.stream.retention, each.latest_ms)) for each in grown]
    over = [(each, cut) for each, cut in cuts if _is_over(each.stream, cut)]
    due = []
    for each, cut in over:
        excess = max(0, each.stream.messages - cut.max_messages)
        expected = min(MOST_PER_COMMIT, max(excess, 2 * each.added) + _SPARE)
        due.append(Due(each.stream, cut, expected, max(expected, MOST_PER_COMMIT // len(over))))
    return evict(connection, sql, due)


def _is_over(stream: StreamRow, cut: Cut) -> bool:
    return (
        stream.messages > cut.max_messages
        or stream.size > cut.max_bytes
        or (stream.messages > 0 and stream.oldest_at_ms < cut.before_time_ms)
    )
