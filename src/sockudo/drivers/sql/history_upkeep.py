"""What operators and time do to streams: each function is one transaction, of a bounded size."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from sockudo.base.ids import unique_id
from sockudo.base.stream_records import KEEP_ALL, SEED_PLACE, DurableState, Retention, StreamInfo
from sockudo.drivers.history_rules import retention_cut
from sockudo.drivers.sql.history_evict import Due, Taken, evict
from sockudo.drivers.sql.history_rows import delete_ranges
from sockudo.drivers.sql.schema import keys_of_app, place_hash
from sockudo.drivers.sql.statements import Statements
from sockudo.drivers.sql.stream_row import StreamRow
from sockudo.drivers.sql.streams import locked_stream, locked_streams, opened_streams, serial_at, time_of

__all__ = ["ROWS_AT_ONCE", "delete_some", "ensure", "expire", "mark", "purge_some", "reset_some", "rotate"]

ROWS_AT_ONCE: Final = 5000
"""Rows that a transaction deletes at most: it ends in time, and publishes wait for no longer than that."""

_STREAMS_AT_ONCE: Final = 200
_KEYS_AT_ONCE: Final = 1000


def ensure(
    connection: Connection, sql: Statements, app_id: str, channel: str, now_ms: int, retention: Retention
) -> StreamInfo:
    """A stream that nothing was written to has been asked for again, so its time begins anew."""
    stream = opened_streams(connection, sql, {(app_id, channel): (now_ms, retention)})[app_id, channel]
    if stream.next_serial == 1:
        stream.renew(retention, now_ms)
        sql.save_streams.run(connection, [stream.saved()])
    return stream.info


def mark(
    connection: Connection,
    sql: Statements,
    app_id: str,
    channel: str,
    state: DurableState,
    reason: str | None,
    node_id: str | None,
    now_ms: int,
) -> None:
    """Changes nothing else."""
    connection.execute(sql.update_stream, _place(app_id, channel) | _state(state, reason, node_id, now_ms))


def rotate(connection: Connection, sql: Statements, app_id: str, channel: str, now_ms: int) -> StreamInfo:
    """Only the stream itself changes: its entries and keys have an id of their own."""
    stream = opened_streams(connection, sql, {(app_id, channel): (now_ms, KEEP_ALL)})[app_id, channel]
    stream.stream_id, stream.updated_at_ms = unique_id(), now_ms
    stream.keep()
    changes = {"stream_id": stream.stream_id, "updated_at_ms": now_ms, "expires_at_ms": stream.expires_at_ms}
    connection.execute(sql.update_stream, _place(app_id, channel) | changes)
    return stream.info


def reset_some(
    connection: Connection, sql: Statements, app_id: str, channel: str, now_ms: int
) -> tuple[int, int, str | None, StreamInfo | None]:
    """Rows and bytes deleted, the id before, and the new stream: None while there are too many rows, call again."""
    stream = locked_stream(connection, sql, app_id, channel)
    if stream is None:
        place = app_id, channel
        return 0, 0, None, opened_streams(connection, sql, {place: (now_ms, KEEP_ALL)})[place].info
    previous, messages, size = stream.stream_id, stream.messages, stream.size
    if messages > ROWS_AT_ONCE:
        messages, size = _drop(connection, sql, stream, stream.next_serial, ROWS_AT_ONCE)
        sql.save_streams.run(connection, [stream.saved()])
        return messages, size, previous, None
    if messages:
        delete_ranges(connection, sql, [stream.range(stream.oldest_serial, stream.next_serial - 1)])
    stream.restart(unique_id(), now_ms)
    sql.save_streams.run(connection, [stream.saved()])
    ids = {"stream_id": stream.stream_id, "entries_stream_id": stream.entries_id}
    healthy = _state("healthy", None, None, None)
    connection.execute(sql.update_stream, _place(app_id, channel) | ids | healthy)
    return messages, size, previous, stream.info


def purge_some(
    connection: Connection,
    sql: Statements,
    app_id: str,
    channel: str,
    now_ms: int,
    before_serial: int | None,
    before_time_ms: int | None,
) -> tuple[int, int, int, StreamInfo | None]:
    """Rows and bytes deleted, the serial before which all have to go, and the stream; call again while rows go.

    Without a bound all have to go that have been written by now.
    """
    stream = locked_stream(connection, sql, app_id, channel)
    if stream is None:
        return 0, 0, 0, None
    bound = stream.next_serial if before_serial is None and before_time_ms is None else before_serial or 0
    if before_time_ms is not None:
        bound = max(bound, serial_at(connection, sql, stream, before_time_ms))
    messages, size = _drop(connection, sql, stream, bound, ROWS_AT_ONCE)
    stream.updated_at_ms = now_ms
    sql.save_streams.run(connection, [stream.saved()])
    return messages, size, bound, stream.info


def expire(connection: Connection, sql: Statements, now_ms: int, limit: int) -> tuple[int, bool, list[Taken]]:
    """How many rows, streams and keys were deleted, whether more are due, and which rows went."""
    wanted = {"now_ms": now_ms, "most": min(limit, _STREAMS_AT_ONCE)}
    places = connection.execute(sql.due_streams, wanted).all()
    streams = [each for each in locked_streams(connection, sql, places).values() if _is_due(each, now_ms)]
    unused = [each for each in streams if each.next_serial == 1]
    used = [each for each in streams if each.next_serial > 1]
    left = limit - len(unused)
    if unused:
        sql.delete_streams.run(connection, [each.place_hash for each in unused])
    taken: list[Taken] = []
    if used:
        due = []
        for number, each in enumerate(used):
            share = (left + number) // len(used)
            due.append(Due(each, retention_cut(Retention(each.retention.window_ms), now_ms), share, share))
        taken = evict(connection, sql, due)
        sql.save_streams.run(connection, [each.saved() for each in used])
        left -= sum(messages for _, messages, _ in taken)
    left -= _expire_keys(connection, sql, now_ms, left)
    one = {"now_ms": now_ms, "most": 1}
    more = any(connection.execute(statement, one).first() for statement in (sql.due_streams, sql.due_keys))
    return limit - left, more, taken


def delete_some(connection: Connection, sql: Statements, app_id: str) -> bool:
    """Deletes some of what is known about an app; whether there may be more: call again."""
    some = {"app_id": app_id, "most": _STREAMS_AT_ONCE}
    channels = connection.scalars(sql.streams_of_app, some).all()
    left = ROWS_AT_ONCE
    gone, ranges = [], []
    for stream in locked_streams(connection, sql, [(app_id, channel) for channel in channels]).values():
        if stream.messages > left:
            if left:
                _drop(connection, sql, stream, stream.next_serial, left)
                sql.save_streams.run(connection, [stream.saved()])
            break
        if stream.messages:
            ranges.append(stream.range(stream.oldest_serial, stream.next_serial - 1))
        left -= stream.messages
        gone.append(stream.place_hash)
    if ranges:
        delete_ranges(connection, sql, ranges)
    # What is derived from it must not come back with the next app of this id.
    sql.delete_streams.run(connection, [*gone, place_hash(*SEED_PLACE)])
    if channels:
        return True
    first, last = keys_of_app(app_id)
    keys = connection.scalars(sql.keys_between, {"first": first, "last": last, "most": _KEYS_AT_ONCE}).all()
    if keys:
        sql.delete_keys.run(connection, keys)
    return bool(keys)


def _is_due(stream: StreamRow, now_ms: int) -> bool:
    """Whether it still is: it was found before it was locked."""
    return stream.expires_at_ms is not None and stream.expires_at_ms < now_ms


def _drop(connection: Connection, sql: Statements, stream: StreamRow, bound: int, most: int) -> tuple[int, int]:
    """Deletes the oldest rows before ``bound``, at most so many; the stream itself is not written yet."""
    first = stream.oldest_serial
    last = min(bound, first + most, stream.next_serial) - 1
    if last < first:
        return 0, 0
    size = int(connection.scalar(sql.of(stream.channel).size, stream.entries(first, last)) or 0)
    delete_ranges(connection, sql, [stream.range(first, last)])
    messages = last - first + 1
    stream.drop_oldest(messages, size, time_of(connection, sql, stream, last + 1))
    return messages, size


def _expire_keys(connection: Connection, sql: Statements, now_ms: int, most: int) -> int:
    keys = connection.scalars(sql.due_keys, {"now_ms": now_ms, "most": most}).all() if most else []
    if keys:
        # Not one that a publish has stored anew since.
        sql.delete_due_keys.run(connection, keys, now_ms)
    return len(keys)


def _place(app_id: str, channel: str) -> dict[str, Any]:
    return {"of_app": app_id, "of_channel": channel}


def _state(state: DurableState, reason: str | None, node_id: str | None, at_ms: int | None) -> dict[str, Any]:
    return {
        "durable_state": state,
        "durable_state_reason": reason,
        "durable_state_node_id": node_id,
        "durable_state_changed_at_ms": at_ms,
    }
