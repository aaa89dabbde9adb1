"""The rows of the streams, which everything else is ordered by.

A transaction locks those of its channels, always in the same order, so two nodes wait for each other instead of giving
up, and the serials that one of them gives are seen by nobody before it ends. SQLite has one lock for all, taken at the
start of a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection

from sockudo.ids import unique_id
from sockudo.stores.sql.statements import Statements, padded
from sockudo.stores.sql.stream_row import StreamRow, new_stream
from sockudo.streams.records import Retention

__all__ = ["Place", "found_stream", "locked_stream", "locked_streams", "opened_streams", "serial_at", "time_of"]

Place = tuple[str, str]
"""App and channel."""

# Serials whose times are looked at together: a million rows take four looks.
_PROBES = 64


def found_stream(connection: Connection, sql: Statements, app_id: str, channel: str) -> StreamRow | None:
    """The stream of a channel as it is now, not locked."""
    row = connection.execute(sql.stream, {"app_id": app_id, "channel": channel}).first()
    return None if row is None else StreamRow(row)


def locked_streams(connection: Connection, sql: Statements, places: Iterable[Place]) -> dict[Place, StreamRow]:
    """Those of the streams that exist; nobody else changes them before the transaction ends."""
    channels: dict[str, list[str]] = {}
    for app_id, channel in sorted(places):
        channels.setdefault(app_id, []).append(channel)
    found = {}
    for app_id, names in channels.items():
        rows = connection.execute(sql.lock_streams, {"app_id": app_id, "channels": padded(names, names[-1])})
        for row in rows:
            stream = StreamRow(row)
            found[app_id, stream.channel] = stream
    return found


def locked_stream(connection: Connection, sql: Statements, app_id: str, channel: str) -> StreamRow | None:
    """The stream of one channel, None when it has none."""
    return locked_streams(connection, sql, [(app_id, channel)]).get((app_id, channel))


def opened_streams(
    connection: Connection, sql: Statements, places: Mapping[Place, tuple[int, Retention]]
) -> dict[Place, StreamRow]:
    """All of the streams, locked; the ones that are missing are made, with the time and the retention given."""
    found = locked_streams(connection, sql, places)
    while missing := sorted(place for place in places if place not in found):
        # Of two nodes that make the same stream one waits for the other, and then finds it made.
        made = [new_stream(*place, unique_id(), *places[place]) for place in missing]
        connection.exec_driver_sql(sql.make_streams, made)
        found |= locked_streams(connection, sql, missing)
    return found


def serial_at(connection: Connection, sql: Statements, stream: StreamRow, at_ms: int) -> int:
    """The first retained serial whose time is not before ``at_ms``; the next serial when there is none.

    Times never run backwards, so the place is found by looking at fewer and fewer serials. A row that is missing, which
    somebody must have deleted by hand, counts as early.
    """
    if not stream.messages or stream.newest_at_ms < at_ms:
        return stream.next_serial
    if stream.oldest_at_ms >= at_ms:
        return stream.oldest_serial
    # Before `low` all are early, from `high` on none is.
    low, high = stream.oldest_serial + 1, stream.next_serial - 1
    while low < high:
        probes = range(low, high, max(1, -(-(high - low) // _PROBES)))
        place = {"app_id": stream.app_id, "channel": stream.channel, "stream_id": stream.entries_id}
        times = dict(connection.execute(sql.times, {**place, "serials": padded(probes, probes[-1])}).all())
        for serial in probes:
            if times.get(serial, 0) >= at_ms:
                high = serial
                break
            low = serial + 1
    return low


def time_of(connection: Connection, sql: Statements, stream: StreamRow, serial: int) -> int:
    """The time of a row, 0 when there is none."""
    if not stream.oldest_serial <= serial < stream.next_serial:
        return 0
    place = {"app_id": stream.app_id, "channel": stream.channel, "stream_id": stream.entries_id}
    row = connection.execute(sql.times, {**place, "serials": [serial]}).first()
    return 0 if row is None else int(row[1])
