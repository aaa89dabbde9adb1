"""Ranges of rows of many streams: those of channels and those of logs, which have tables of their own."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from sockudo.base.message_records import is_log
from sockudo.drivers.sql.history_messages import forget_messages
from sockudo.drivers.sql.statements import Statements
from sockudo.storage.many import Range

__all__ = ["delete_ranges", "read_ranges"]


def read_ranges(connection: Connection, sql: Statements, ranges: Sequence[Range]) -> list[list[tuple[int, int, int]]]:
    """Serial, time and size of the rows in each range, in order."""
    logs = [each for each in ranges if is_log(each[1])]
    if not logs:
        return sql.entries.ranges.read(connection, ranges)
    others = [each for each in ranges if not is_log(each[1])]
    of_logs = iter(sql.versions.ranges.read(connection, logs))
    of_others = iter(sql.entries.ranges.read(connection, others) if others else ())
    return [next(of_logs if is_log(each[1]) else of_others) for each in ranges]


def delete_ranges(connection: Connection, sql: Statements, ranges: Sequence[Range]) -> None:
    """Deletes the rows in each range, of which there has to be one.

    With the newest version of a message the message itself goes.
    """
    others = [each for each in ranges if not is_log(each[1])]
    if others:
        sql.entries.ranges.delete(connection, others)
    logs = [each for each in ranges if is_log(each[1])]
    for each in logs:
        _forget_within(connection, sql, each)
    if logs:
        sql.versions.ranges.delete(connection, logs)


def _forget_within(connection: Connection, sql: Statements, within: Range) -> None:
    app_id, channel, stream_id, first, last = within
    where = {"app_id": app_id, "channel": channel, "stream_id": stream_id, "first": first, "last": last}
    names = [bytes(name) for name in connection.scalars(sql.versions.messages_within, where)]
    if names:
        places = sql.message_places.run(connection, names)
        forget_messages(connection, sql, [bytes(name) for name, serial in places if first <= serial <= last])
