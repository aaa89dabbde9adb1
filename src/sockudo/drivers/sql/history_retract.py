"""Taking back what a commit of unknown outcome has stored, and was not delivered (spec: history § 1.8)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from sockudo.base.message_records import Version, channel_of_log
from sockudo.base.stream_records import RETRACTED, Append, StreamInfo
from sockudo.drivers.sql.history_rows import delete_ranges, read_ranges
from sockudo.drivers.sql.history_undo import undo
from sockudo.drivers.sql.schema import key_hash
from sockudo.drivers.sql.statements import Statements
from sockudo.drivers.sql.stream_row import StreamRow
from sockudo.drivers.sql.streams import locked_streams, serial_at, time_of
from sockudo.hub.streams.versions import decode_version, made_by

__all__ = ["retract"]

_PAGE = 200


def retract(
    connection: Connection, sql: Statements, appends: Sequence[Append], after: int, now_ms: int
) -> StreamInfo | None:
    """The whole of the transaction but its end."""
    app_id, channel = appends[0].app_id, appends[0].channel
    history = channel_of_log(channel)
    places = [(app_id, channel)] if history is None else [(app_id, channel), (app_id, history)]
    streams = locked_streams(connection, sql, places)
    stream = streams.get((app_id, channel))
    if stream is None:
        return None
    if history is None:
        sizes = _stored(connection, sql, stream, appends, after)
    else:
        rows = _stored_versions(connection, sql, stream, appends, after)
        sizes = {serial: size for serial, (size, _) in rows.items()}
        created = undo(connection, sql, stream, {serial: version for serial, (_, version) in rows.items()})
        if created and (app_id, history) in streams:
            in_history = _sizes(connection, sql, streams[app_id, history], created)
            _take_back(connection, sql, streams[app_id, history], in_history, now_ms)
    if sizes:
        _forget_keys(connection, sql, stream, appends, sizes)
        _take_back(connection, sql, stream, sizes, now_ms)
    return stream.info


def _take_back(connection: Connection, sql: Statements, stream: StreamRow, sizes: dict[int, int], now_ms: int) -> None:
    _take_newest(connection, sql, stream, sizes)
    _empty_others(connection, sql, stream, sizes)
    stream.updated_at_ms = now_ms
    sql.save_streams.run(connection, [stream.saved()])


def _sizes(connection: Connection, sql: Statements, stream: StreamRow, serials: Sequence[int]) -> dict[int, int]:
    ranges = [stream.range(serial, serial) for serial in serials]
    return {serial: size for rows in read_ranges(connection, sql, ranges) for serial, _, size in rows}


def _stored_versions(
    connection: Connection, sql: Statements, stream: StreamRow, appends: Sequence[Append], after: int
) -> dict[int, tuple[int, Version]]:
    """Serial → size and version of the rows that these appends have made."""
    wanted = [each.change for each in appends if each.change is not None]
    found = {}
    for start in range(max(after + 1, stream.oldest_serial), stream.next_serial, _PAGE):
        page = stream.entries(start, min(start + _PAGE, stream.next_serial) - 1)
        for serial, _, _, _, kind, message in connection.execute(sql.versions.oldest_first, page):
            if kind == RETRACTED:
                continue
            version = decode_version(message)
            if any(made_by(version, change) for change in wanted):
                found[serial] = len(message), version
    return found


def _stored(
    connection: Connection, sql: Statements, stream: StreamRow, appends: Sequence[Append], after: int
) -> dict[int, int]:
    """Serial → size of the rows that are these appends."""
    earliest: dict[tuple[str | None, bytes], int] = {}
    for append in appends:
        what = append.message_id, append.message
        earliest[what] = min(append.published_at_ms, earliest.get(what, append.published_at_ms))
    first = max(after + 1, serial_at(connection, sql, stream, min(earliest.values())))
    sizes = {}
    for start in range(first, stream.next_serial, _PAGE):
        page = stream.entries(start, min(start + _PAGE, stream.next_serial) - 1)
        rows = connection.execute(sql.of(stream.channel).oldest_first, page)
        for serial, published_at_ms, message_id, _, _, message in rows:
            since_ms = earliest.get((message_id, message))
            if since_ms is not None and published_at_ms >= since_ms:
                sizes[serial] = len(message)
    return sizes


def _forget_keys(
    connection: Connection, sql: Statements, stream: StreamRow, appends: Sequence[Append], sizes: dict[int, int]
) -> None:
    hashes = [key_hash(append.app_id, append.channel, append.key) for append in appends if append.key is not None]
    if not hashes:
        return
    rows = sql.keys.run(connection, hashes)
    gone = [name for name, _, stream_id, serial, _ in rows if stream_id == stream.entries_id and serial in sizes]
    if gone:
        sql.delete_keys.run(connection, gone)


def _take_newest(connection: Connection, sql: Statements, stream: StreamRow, sizes: dict[int, int]) -> None:
    """Rows with nothing behind them go; ``sizes`` keeps the others."""
    newest = last = stream.next_serial - 1
    size = 0
    while last in sizes:
        size += sizes.pop(last)
        last -= 1
    if last < newest:
        delete_ranges(connection, sql, [stream.range(last + 1, newest)])
        stream.drop_newest(newest - last, size, time_of(connection, sql, stream, last))


def _empty_others(connection: Connection, sql: Statements, stream: StreamRow, sizes: dict[int, int]) -> None:
    for serial, size in sizes.items():
        which = {"of_app": stream.app_id, "of_channel": stream.channel, "of_stream": stream.entries_id}
        empty = {"operation_kind": RETRACTED, "message_id": None, "event_name": None}
        nothing = {"payload_bytes": b"", "payload_size_bytes": 0}
        connection.execute(sql.of(stream.channel).update_entry, {**which, "of_serial": serial, **empty, **nothing})
        stream.size -= size
