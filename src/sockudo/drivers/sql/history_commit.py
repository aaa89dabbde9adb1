"""Storing a batch of messages: one transaction, with a few statements however long the batch (spec: history § 1.2)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from sockudo.base.stream_records import Append, Committed, Position
from sockudo.drivers.history_rules import MOST_PER_COMMIT, Cut, retention_cut
from sockudo.drivers.sql.history_evict import Due, Taken, evict
from sockudo.drivers.sql.schema import key_hash
from sockudo.drivers.sql.statements import Statements
from sockudo.drivers.sql.stream_row import StreamRow
from sockudo.drivers.sql.streams import Place, opened_streams

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
    streams = opened_streams(
        connection,
        sql,
        {(each.app_id, each.channel): (each.published_at_ms, each.retention) for each in appends},
        {(each.app_id, each.channel): each.stream_id for each in appends if each.stream_id is not None},
    )
    known = _known_keys(connection, sql, appends)
    keys: dict[bytes, tuple[object, ...]] = {}
    entries: list[tuple[object, ...]] = []
    grown: dict[Place, _Grown] = {}
    outcomes = []
    taken: list[Taken] = []
    for append in appends:
        place = append.app_id, append.channel
        stream = streams[place]
        if append.key is not None:
            name = key_hash(append.app_id, append.channel, append.key)
            stored = known.get(name)
            if stored is not None and stored.expires_at_ms > append.published_at_ms:
                outcomes.append(_repeated(append, stream, stored))
                continue
        position, published_at_ms = stream.append(append)
        entries.append(_entry(append, stream, position.serial, published_at_ms))
        if append.key is not None:
            expires_at_ms = append.published_at_ms + append.key_ttl_ms
            known[name] = _Key(append.fingerprint, stream.entries_id, position.serial, expires_at_ms)
            keys[name] = name, *known[name]
        growth = grown.get(place)
        if growth is None:
            growth = grown[place] = _Grown(stream)
        growth.added += 1
        growth.latest_ms = max(growth.latest_ms, append.published_at_ms)
        outcomes.append(Committed(position))
    if entries:
        sql.insert_entries.run(connection, entries)
        if keys:
            sql.save_keys.run(connection, list(keys.values()))
        taken = _retain(connection, sql, grown.values())
        sql.save_streams.run(connection, [growth.stream.saved() for growth in grown.values()])
    return outcomes, taken


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


def _entry(append: Append, stream: StreamRow, serial: int, published_at_ms: int) -> tuple[object, ...]:
    """The values of `statements.ENTRY`."""
    return (
        append.app_id,
        append.channel,
        stream.entries_id,
        serial,
        published_at_ms,
        append.message_id,
        append.event_name,
        append.operation_kind,
        append.message,
        len(append.message),
    )


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
