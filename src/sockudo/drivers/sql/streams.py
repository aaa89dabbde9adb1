"""The rows of the streams, which everything else is ordered by.

A transaction locks those of its channels, always in the same order, so that nodes wait for each other in turn, and the
serials that one of them gives are invisible before it ends. SQLite has one lock for all, taken at the start of a
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from sqlalchemy import Connection

from sockudo.base.ids import unique_id
from sockudo.base.stream_records import Retention
from sockudo.drivers.sql.schema import place_hash
from sockudo.drivers.sql.statements import Statements
from sockudo.drivers.sql.stream_row import StreamRow, new_stream

__all__ = [
    "Place",
    "found_stream",
    "locked_stream",
    "locked_streams",
    "opened_streams",
    "serial_at",
    "time_of",
]

Place = tuple[str, str]
"""App and channel."""


def found_stream(connection: Connection, sql: Statements, app_id: str, channel: str) -> StreamRow | None:
    """The stream of a channel as it is now, not locked."""
    row = connection.execute(sql.stream, {"app_id": app_id, "channel": channel}).first()
    return None if row is None else StreamRow(row)


def locked_streams(connection: Connection, sql: Statements, places: Iterable[Place]) -> dict[Place, StreamRow]:
    """Those of the streams that exist; no other transaction changes them before the transaction ends."""
    hashes = [place_hash(*place) for place in places]
    if not hashes:
        return {}
    streams = map(StreamRow, sql.lock_streams.run(connection, hashes))
    return {(stream.app_id, stream.channel): stream for stream in streams}


def locked_stream(connection: Connection, sql: Statements, app_id: str, channel: str) -> StreamRow | None:
    """The stream of one channel, None when it has none."""
    return locked_streams(connection, sql, [(app_id, channel)]).get((app_id, channel))


def opened_streams(
    connection: Connection,
    sql: Statements,
    places: Mapping[Place, tuple[int, Retention]],
    ids: Mapping[Place, str] = MappingProxyType({}),
) -> dict[Place, StreamRow]:
    """All of the streams, locked; the ones that are missing are made, with the time and the retention given.

    They get the ``ids`` given, others random ones.

    Call it first in a transaction: on a server, streams are made in one that ends at once. Nodes that make the same one
    wait for each other, and would wait for ever if they had locked others before.
    """
    alone = connection.dialect.name == "sqlite"
    while True:
        found = locked_streams(connection, sql, places)
        missing = [place for place in places if place not in found]
        if not missing:
            return found
        if not alone:
            connection.rollback()
        missing.sort(key=lambda place: place_hash(*place))
        made = [new_stream(*place, ids.get(place) or unique_id(), *places[place]) for place in missing]
        sql.make_streams.run(connection, made)
        if not alone:
            connection.commit()


def serial_at(connection: Connection, sql: Statements, stream: StreamRow, at_ms: int) -> int:
    """The first retained serial whose time is not before ``at_ms``; the next serial when there is none.

    Times never run backwards, so halving finds it: a million rows take twenty looks, all in one statement. A row that
    is missing, deleted by hand, counts as early.
    """
    if not stream.messages or stream.newest_at_ms < at_ms:
        return stream.next_serial
    if stream.oldest_at_ms >= at_ms:
        return stream.oldest_serial
    within = stream.entries(stream.oldest_serial + 1, stream.next_serial - 1)
    return int(connection.execute(sql.of(stream.channel).first_since, {**within, "at_ms": at_ms}).scalar_one())


def time_of(connection: Connection, sql: Statements, stream: StreamRow, serial: int) -> int:
    """The time of a row, 0 when there is none."""
    [rows] = sql.of(stream.channel).ranges.read(connection, [stream.range(serial, serial)])
    return rows[0][1] if rows else 0
