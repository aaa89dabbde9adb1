"""The rows of the streams, which everything else is ordered by.

A transaction locks those of its channels, always in the same order, so that nodes wait for each other in turn, and the
serials that one of them gives are seen by nobody before it ends. SQLite has one lock for all, taken at the start of a
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from sqlalchemy import Connection

from sockudo.ids import unique_id
from sockudo.stores.sql.schema import place_hash
from sockudo.stores.sql.statements import RANGES, Statements, padded
from sockudo.stores.sql.stream_row import StreamRow, new_stream
from sockudo.streams.records import Retention

__all__ = [
    "Place",
    "delete_rows",
    "found_stream",
    "locked_stream",
    "locked_streams",
    "opened_streams",
    "rows_in",
    "serial_at",
    "time_of",
]

Place = tuple[str, str]
"""App and channel."""

_NO_ROWS: Final = ("", "", "", 1, 0)


def found_stream(connection: Connection, sql: Statements, app_id: str, channel: str) -> StreamRow | None:
    """The stream of a channel as it is now, not locked."""
    row = connection.execute(sql.stream, {"app_id": app_id, "channel": channel}).first()
    return None if row is None else StreamRow(row)


def locked_streams(connection: Connection, sql: Statements, places: Iterable[Place]) -> dict[Place, StreamRow]:
    """Those of the streams that exist; nobody else changes them before the transaction ends."""
    hashes = [place_hash(*place) for place in places]
    if not hashes:
        return {}
    rows = connection.execute(sql.lock_streams, {"place_hashs": padded(hashes, hashes[-1])})
    streams = map(StreamRow, rows)
    return {(stream.app_id, stream.channel): stream for stream in streams}


def locked_stream(connection: Connection, sql: Statements, app_id: str, channel: str) -> StreamRow | None:
    """The stream of one channel, None when it has none."""
    return locked_streams(connection, sql, [(app_id, channel)]).get((app_id, channel))


def opened_streams(
    connection: Connection, sql: Statements, places: Mapping[Place, tuple[int, Retention]]
) -> dict[Place, StreamRow]:
    """All of the streams, locked; the ones that are missing are made, with the time and the retention given.

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
        made = [new_stream(*place, unique_id(), *places[place]) for place in missing]
        connection.exec_driver_sql(sql.make_streams, made)
        if not alone:
            connection.commit()


def rows_in(
    connection: Connection, sql: Statements, ranges: Sequence[tuple[str, str, str, int, int]]
) -> list[list[tuple[int, int, int]]]:
    """Serial, time and size of the rows in each range of serials, in order."""
    found: list[list[tuple[int, int, int]]] = [[] for _ in ranges]
    for start in range(0, len(ranges), RANGES):
        some = padded(ranges[start : start + RANGES], _NO_ROWS)
        rows = connection.exec_driver_sql(sql.ranges(len(some)), tuple(chain.from_iterable(some)))
        for number, serial, published_at_ms, size in rows:
            found[start + number].append((serial, published_at_ms, size))
    for each in found:
        each.sort()
    return found


def delete_rows(connection: Connection, sql: Statements, ranges: Sequence[tuple[str, str, str, int, int]]) -> None:
    """Deletes the rows in each range of serials."""
    if sql.delete_ranges is None or len(ranges) == 1:
        connection.exec_driver_sql(sql.delete_range, list(ranges))
        return
    for start in range(0, len(ranges), RANGES):
        some = ranges[start : start + RANGES]
        parameters = chain.from_iterable([*some, *[_NO_ROWS] * (RANGES - len(some))])
        connection.exec_driver_sql(sql.delete_ranges, tuple(parameters))


def serial_at(connection: Connection, sql: Statements, stream: StreamRow, at_ms: int) -> int:
    """The first retained serial whose time is not before ``at_ms``; the next serial when there is none.

    Times never run backwards, so halving finds it: a million rows take twenty looks, all in one statement. A row that
    is missing, which somebody must have deleted by hand, counts as early.
    """
    if not stream.messages or stream.newest_at_ms < at_ms:
        return stream.next_serial
    if stream.oldest_at_ms >= at_ms:
        return stream.oldest_serial
    within = stream.entries(stream.oldest_serial + 1, stream.next_serial - 1)
    return int(connection.execute(sql.first_since, {**within, "at_ms": at_ms}).scalar_one())


def time_of(connection: Connection, sql: Statements, stream: StreamRow, serial: int) -> int:
    """The time of a row, 0 when there is none."""
    [rows] = rows_in(connection, sql, [stream.range(serial, serial)])
    return rows[0][1] if rows else 0
