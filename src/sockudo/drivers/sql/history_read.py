"""Reading a stream: each function is one transaction, so what it returns fits together."""

from __future__ import annotations

from sqlalchemy import Connection

from sockudo.base.stream_records import Bounds, Direction, Page, Row, StreamInfo
from sockudo.drivers.history_rules import span
from sockudo.drivers.sql.statements import Statements
from sockudo.drivers.sql.stream_row import StreamRow
from sockudo.drivers.sql.streams import found_stream, serial_at
from sockudo.hub.streams.totals import Group, Total

__all__ = ["read_info", "read_page", "read_totals"]


def read_info(connection: Connection, sql: Statements, app_id: str, channel: str) -> StreamInfo | None:
    stream = found_stream(connection, sql, app_id, channel)
    return None if stream is None else stream.info


def read_totals(connection: Connection, sql: Statements) -> dict[Group, Total]:
    rows = connection.execute(sql.totals)
    return {Group(app_id, bool(presence)): Total(*map(int, sums)) for app_id, presence, *sums in rows}


def read_page(
    connection: Connection,
    sql: Statements,
    app_id: str,
    channel: str,
    bounds: Bounds,
    direction: Direction,
    limit: int,
    after: int | None,
) -> Page:
    stream = found_stream(connection, sql, app_id, channel)
    if stream is None:
        return Page(None)
    info = stream.info
    first, last, has_more = span(info.retained, _serials(connection, sql, stream, bounds), direction, limit, after)
    if first > last:
        return Page(info)
    statement = sql.oldest_first if direction == "oldest_first" else sql.newest_first
    rows = connection.execute(statement, stream.entries(first, last)).all()
    return Page(info, tuple([Row(info.stream_id, *row) for row in rows]), has_more)


def _serials(connection: Connection, sql: Statements, stream: StreamRow, bounds: Bounds) -> Bounds:
    """The same part of the stream, as bounds of serials."""
    start, end = bounds.start_serial, bounds.end_serial
    if bounds.start_time_ms is not None:
        start = max(start or 0, serial_at(connection, sql, stream, bounds.start_time_ms))
    if bounds.end_time_ms is not None:
        last = serial_at(connection, sql, stream, bounds.end_time_ms + 1) - 1
        end = last if end is None else min(end, last)
    return Bounds(start, end)
