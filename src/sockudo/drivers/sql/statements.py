"""The statements of the history, made once for a set of tables and a dialect.

Each finds its rows by a key, regardless of the statistics of the database: lists are of digests. Parameters are
called as the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Select,
    Table,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
    update,
)

from sockudo.base.message_records import VERSIONS_PREFIX, is_log
from sockudo.base.stream_records import RETRACTED
from sockudo.drivers.sql.schema import Tables
from sockudo.hub.streams.totals import PRESENCE_PREFIX
from sockudo.storage.many import Insert, Listed, ranges_of

__all__ = ["BEFORE_ALL", "BEHIND_ALL", "ENTRY", "KEY", "NEW_STREAM", "STREAM", "Entries", "Statements"]

ENTRY: Final = (
    "app_id",
    "channel",
    "stream_id",
    "serial",
    "published_at_ms",
    "message_id",
    "event_name",
    "operation_kind",
    "payload_bytes",
    "payload_size_bytes",
)
"""The columns of `Entries.insert`, in order."""

VERSION: Final = (*ENTRY, "message_hash", "version_serial")
"""Those of the rows of logs."""

MESSAGE: Final = ("message_hash", "serial", "parts", "latest")
"""The columns of `Statements.save_messages`, in order."""

PART: Final = ("message_hash", "number", "part")
"""The columns of `Statements.insert_parts`, in order."""

BEFORE_ALL: Final = ""
BEHIND_ALL: Final = "~"
"""Texts that sort before and behind every serial of a version."""

KEY: Final = ("key_hash", "fingerprint", "stream_id", "serial", "expires_at_ms")
"""The columns of `Statements.save_keys`, in order."""

NEW_STREAM: Final = (
    "app_id",
    "channel",
    "place_hash",
    "stream_id",
    "entries_stream_id",
    "next_serial",
    "updated_at_ms",
    "retention_window_ms",
    "max_messages",
    "max_bytes",
    "expires_at_ms",
)
"""The columns of `Statements.make_streams`, in order."""

STREAM: Final = (
    *NEW_STREAM,
    "retained_messages",
    "retained_bytes",
    "oldest_available_serial",
    "newest_available_serial",
    "oldest_available_published_at_ms",
    "newest_available_published_at_ms",
)
"""The columns of `Statements.save_streams`, in order. The ids of a stream that exists stay as they are."""


class Statements:
    """What the store says to its database."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._of_streams(tables.streams, dialect)
        self.entries = Entries(tables.entries, dialect, ENTRY)
        self.versions = Entries(tables.versions, dialect, VERSION)
        self._of_messages(tables, dialect)
        self._of_keys(tables.keys, dialect)

    def of(self, stream: str) -> Entries:
        """The statements about the rows of a stream: those of logs have a table of their own."""
        return self.versions if is_log(stream) else self.entries

    def _of_streams(self, streams: Table, dialect: Dialect) -> None:
        self.make_streams = Insert(streams, dialect, NEW_STREAM, ())
        self.save_streams = Insert(streams, dialect, STREAM, STREAM[5:])
        of_app = _is(streams, "app_id")
        self.stream = select(streams).where(*of_app, *_is(streams, "channel"))
        columns = ", ".join(column.name for column in streams.c)
        lock = "" if dialect.name == "sqlite" else " FOR UPDATE"
        self.lock_streams = Listed(streams, dialect, f"SELECT {columns}", "place_hash", f"ORDER BY place_hash{lock}")
        # The columns to be set are those of the parameters, whose names these must not have.
        self.update_stream = update(streams).where(
            streams.c.app_id == bindparam("of_app"), streams.c.channel == bindparam("of_channel")
        )
        self.delete_streams = Listed(streams, dialect, "DELETE", "place_hash")
        self.due_streams = (
            select(streams.c.app_id, streams.c.channel)
            .where(streams.c.expires_at_ms < bindparam("now_ms"))
            .order_by(streams.c.expires_at_ms)
            .limit(bindparam("most"))
        )
        kinds = [streams.c.channel.startswith(prefix, autoescape=True) for prefix in (PRESENCE_PREFIX, VERSIONS_PREFIX)]
        kind = case((kinds[0], 1), (kinds[1], 2), else_=0)
        lost = case((streams.c.durable_state == "reset_required", 1), else_=0)
        sums = (func.sum(streams.c.retained_messages), func.sum(streams.c.retained_bytes), func.sum(lost))
        self.totals = select(streams.c.app_id, kind.label("kind"), *sums).group_by(
            streams.c.app_id, literal_column("kind")
        )
        self.streams_of_app = (
            select(streams.c.channel).where(*of_app).order_by(streams.c.channel).limit(bindparam("most"))
        )

    def _of_messages(self, tables: Tables, dialect: Dialect) -> None:
        messages, parts, versions = tables.messages, tables.parts, tables.versions
        self.insert_messages = Insert(messages, dialect, MESSAGE, None)
        self.save_messages = Insert(messages, dialect, MESSAGE, MESSAGE[1:])
        self.messages = Listed(messages, dialect, f"SELECT {', '.join(MESSAGE)}", "message_hash")
        self.message_places = Listed(messages, dialect, "SELECT message_hash, serial", "message_hash")
        self.delete_messages = Listed(messages, dialect, "DELETE", "message_hash")
        self.insert_parts = Insert(parts, dialect, PART, PART[2:])
        in_order = "ORDER BY message_hash, number"
        self.parts = Listed(parts, dialect, f"SELECT {', '.join(PART)}", "message_hash", in_order)
        self.delete_parts = Listed(parts, dialect, "DELETE", "message_hash")
        version = select(
            versions.c.serial,
            versions.c.published_at_ms,
            versions.c.message_id,
            versions.c.event_name,
            versions.c.operation_kind,
            versions.c.payload_bytes,
        ).where(*_is(versions, "message_hash"), versions.c.operation_kind != RETRACTED)
        serial = versions.c.version_serial
        self.versions_forwards = version.where(serial > bindparam("after")).order_by(serial).limit(bindparam("most"))
        self.versions_backwards = (
            version.where(serial < bindparam("after")).order_by(serial.desc()).limit(bindparam("most"))
        )

    def _of_keys(self, keys: Table, dialect: Dialect) -> None:
        self.save_keys = Insert(keys, dialect, KEY, KEY[1:])
        self.keys = Listed(keys, dialect, f"SELECT {', '.join(KEY)}", "key_hash")
        self.delete_keys = Listed(keys, dialect, "DELETE", "key_hash")
        self.delete_due_keys = Listed(keys, dialect, "DELETE", "key_hash", "AND expires_at_ms <= {}")
        expiry = keys.c.expires_at_ms
        self.due_keys = (
            select(keys.c.key_hash).where(expiry <= bindparam("now_ms")).order_by(expiry).limit(bindparam("most"))
        )
        hashes = keys.c.key_hash.between(bindparam("first"), bindparam("last"))
        self.keys_between = select(keys.c.key_hash).where(hashes).limit(bindparam("most"))


class Entries:
    """The statements about the rows of streams, in one table."""

    def __init__(self, entries: Table, dialect: Dialect, columns: Sequence[str]) -> None:
        self.insert = Insert(entries, dialect, columns, None)
        self.ranges = ranges_of(entries, dialect)
        of_stream = _is(entries, "app_id", "channel", "stream_id")
        within = entries.c.serial.between(bindparam("first"), bindparam("last"))
        page = select(
            entries.c.serial,
            entries.c.published_at_ms,
            entries.c.message_id,
            entries.c.event_name,
            entries.c.operation_kind,
            entries.c.payload_bytes,
        ).where(*of_stream, within)
        self.oldest_first = page.order_by(entries.c.serial)
        self.newest_first = page.order_by(entries.c.serial.desc())
        self.first_since = _first_since(entries)
        self.size = select(func.sum(entries.c.payload_size_bytes)).where(*of_stream, within)
        self.update_entry = update(entries).where(
            entries.c.app_id == bindparam("of_app"),
            entries.c.channel == bindparam("of_channel"),
            entries.c.stream_id == bindparam("of_stream"),
            entries.c.serial == bindparam("of_serial"),
        )
        if "message_hash" in columns:
            self.messages_within = select(entries.c.message_hash).distinct().where(*of_stream, within)


def _first_since(entries: Table) -> Select[int]:
    """The first serial whose time is not before ``at_ms``, ``last`` when there is none before it.

    It is searched for by halving: before ``low`` all are early, from ``high`` on none is.
    """
    span = select(
        cast(bindparam("first"), BigInteger).label("low"), cast(bindparam("last"), BigInteger).label("high")
    ).cte("span", recursive=True)
    middle = (span.c.low + span.c.high).op(">>")(literal_column("1"))
    # As a value of its own, which no database can make a join of.
    time = (
        select(entries.c.published_at_ms)
        .where(*_is(entries, "app_id", "channel", "stream_id"), entries.c.serial == middle)
        .scalar_subquery()
    )
    late = time >= bindparam("at_ms")
    half = select(case((late, span.c.low), else_=middle + literal_column("1")), case((late, middle), else_=span.c.high))
    halved = span.union_all(half.where(span.c.low < span.c.high))
    return select(halved.c.low).where(halved.c.low >= halved.c.high)


def _is(table: Table, *columns: str) -> list[ColumnElement[bool]]:
    return [table.c[column] == bindparam(column) for column in columns]
