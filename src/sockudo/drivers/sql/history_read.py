"""Reading a stream: each function is one transaction, so what it returns fits together."""

from __future__ import annotations

from sqlalchemy import Connection

from sockudo.base.message_records import Latest, log_of
from sockudo.base.stream_records import CREATE, Bounds, Direction, Page, Row, StreamInfo
from sockudo.drivers.history_rules import span
from sockudo.drivers.sql.history_messages import latest_messages
from sockudo.drivers.sql.schema import message_hash
from sockudo.drivers.sql.statements import BEFORE_ALL, BEHIND_ALL, Statements
from sockudo.drivers.sql.stream_row import StreamRow
from sockudo.drivers.sql.streams import found_stream, serial_at
from sockudo.hub.streams.totals import Group, Total
from sockudo.hub.streams.versions import serial_of_message

__all__ = ["read_info", "read_message", "read_page", "read_totals", "read_versions"]


def read_info(connection: Connection, sql: Statements, app_id: str, channel: str) -> StreamInfo | None:
    stream = found_stream(connection, sql, app_id, channel)
    return None if stream is None else stream.info


def read_totals(connection: Connection, sql: Statements) -> dict[Group, Total]:
    rows = connection.execute(sql.totals)
    return {Group(app_id, kind == 1, kind == 2): Total(*map(int, sums)) for app_id, kind, *sums in rows}


def read_page(
    connection: Connection,
    sql: Statements,
    app_id: str,
    channel: str,
    bounds: Bounds,
    direction: Direction,
    limit: int,
    after: int | None,
    latest: bool,
) -> Page:
    stream = found_stream(connection, sql, app_id, channel)
    if stream is None:
        return Page(None)
    info = stream.info
    first, last, has_more = span(info.retained, _serials(connection, sql, stream, bounds), direction, limit, after)
    if first > last:
        return Page(info)
    statements = sql.of(channel)
    statement = statements.oldest_first if direction == "oldest_first" else statements.newest_first
    rows = [Row(info.stream_id, *row) for row in connection.execute(statement, stream.entries(first, last))]
    if latest:
        rows = _with_latest(connection, sql, app_id, channel, rows)
    return Page(info, tuple(rows), has_more)


def _with_latest(connection: Connection, sql: Statements, app_id: str, channel: str, rows: list[Row]) -> list[Row]:
    serials = [serial_of_message(row.message) if row.operation_kind == CREATE else None for row in rows]
    log = log_of(channel)
    names = [None if serial is None else message_hash(app_id, log, serial) for serial in serials]
    found = latest_messages(connection, sql, [name for name in names if name is not None])
    stream = found_stream(connection, sql, app_id, log) if found else None
    return [
        row._replace(latest=found[name]._replace(stream_id=stream.stream_id)) if stream and name in found else row
        for row, name in zip(rows, names, strict=True)
    ]


def read_message(connection: Connection, sql: Statements, app_id: str, log: str, message_serial: str) -> Latest | None:
    name = message_hash(app_id, log, message_serial)
    return latest_messages(connection, sql, [name]).get(name)


def read_versions(
    connection: Connection,
    sql: Statements,
    app_id: str,
    log: str,
    message_serial: str,
    direction: Direction,
    limit: int,
    after: str | None,
) -> Page:
    stream = found_stream(connection, sql, app_id, log)
    if stream is None:
        return Page(None)
    forwards = direction == "oldest_first"
    where = {
        "message_hash": message_hash(app_id, log, message_serial),
        "after": after if after is not None else BEFORE_ALL if forwards else BEHIND_ALL,
        "most": limit + 1,
    }
    rows = connection.execute(sql.versions_forwards if forwards else sql.versions_backwards, where).all()
    return Page(stream.info, tuple([Row(stream.stream_id, *row) for row in rows[:limit]]), len(rows) > limit)


def _serials(connection: Connection, sql: Statements, stream: StreamRow, bounds: Bounds) -> Bounds:
    """The same part of the stream, as bounds of serials."""
    start, end = bounds.start_serial, bounds.end_serial
    if bounds.start_time_ms is not None:
        start = max(start or 0, serial_at(connection, sql, stream, bounds.start_time_ms))
    if bounds.end_time_ms is not None:
        last = serial_at(connection, sql, stream, bounds.end_time_ms + 1) - 1
        end = last if end is None else min(end, last)
    return Bounds(start, end)
