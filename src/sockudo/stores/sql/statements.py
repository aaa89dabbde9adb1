"""The statements of the history, made once for a set of tables and a dialect.

Each finds its rows by a key, whatever the database believes about its tables: lists are of digests, and ranges of
serials are put together by UNION ALL. Parameters are called as the columns; lists end in ``s``. What a commit executes
for many rows at once is text for the driver, with a tuple of parameters for each row: preparing and checking them one
by one takes longer than storing them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Select,
    Table,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal_column,
    select,
    update,
)

from sockudo.stores.sql.schema import Tables

__all__ = ["ENTRY", "KEY", "NEW_STREAM", "RANGES", "STREAM", "Statements", "padded"]

T = TypeVar("T")

RANGES: Final = 64
"""Ranges that are read together at most."""

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
"""The columns of `Statements.insert_entries`, in order."""

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


def padded(values: Sequence[T], filler: T) -> list[T]:
    """As many values as the next power of two: a few different statements are prepared sooner than many."""
    size = 1 << max(0, len(values) - 1).bit_length()
    return [*values, *[filler] * (size - len(values))]


class Statements:
    """What the store says to its database."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._of_streams(tables.streams)
        self._of_entries(tables.entries)
        self._of_keys(tables.keys)
        self.make_streams = _insert(tables.streams, dialect, NEW_STREAM, ())
        self.save_streams = _insert(tables.streams, dialect, STREAM, STREAM[5:])
        self.insert_entries = _insert(tables.entries, dialect, ENTRY, None)
        self.save_keys = _insert(tables.keys, dialect, KEY, KEY[1:])
        name = dialect.identifier_preparer.quote(tables.entries.name)
        place = _parameter(dialect)
        within = (
            f"app_id = {place} AND channel = {place} AND stream_id = {place} AND serial BETWEEN {place} AND {place}"
        )
        self._range = f"serial, published_at_ms, payload_size_bytes FROM {name} WHERE {within}"
        self._ranges: dict[int, str] = {}
        self.delete_range = f"DELETE FROM {name} WHERE {within}"  # noqa: S608 - names of ours
        # Of the drivers, MySQL's alone sends such statements one by one.
        self.delete_ranges = f"{self.delete_range}{f' OR {within}' * (RANGES - 1)}" if dialect.name == "mysql" else None

    def _of_streams(self, streams: Table) -> None:
        of_app = _is(streams, "app_id")
        self.stream = select(streams).where(*of_app, *_is(streams, "channel"))
        self.lock_streams = (
            select(streams).where(_in(streams, "place_hash")).order_by(streams.c.place_hash).with_for_update()
        )
        # The columns to be set are those of the parameters, whose names these must not have.
        self.update_stream = update(streams).where(
            streams.c.app_id == bindparam("of_app"), streams.c.channel == bindparam("of_channel")
        )
        self.delete_streams = delete(streams).where(_in(streams, "place_hash"))
        self.due_streams = (
            select(streams.c.app_id, streams.c.channel)
            .where(streams.c.expires_at_ms < bindparam("now_ms"))
            .order_by(streams.c.expires_at_ms)
            .limit(bindparam("most"))
        )
        self.streams_of_app = (
            select(streams.c.channel).where(*of_app).order_by(streams.c.channel).limit(bindparam("most"))
        )

    def _of_entries(self, entries: Table) -> None:
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

    def _of_keys(self, keys: Table) -> None:
        expiry = keys.c.expires_at_ms
        self.keys = select(keys.c.key_hash, keys.c.fingerprint, keys.c.stream_id, keys.c.serial, expiry).where(
            _in(keys, "key_hash")
        )
        self.delete_keys = delete(keys).where(_in(keys, "key_hash"))
        self.delete_due_keys = self.delete_keys.where(expiry <= bindparam("now_ms"))
        self.due_keys = (
            select(keys.c.key_hash).where(expiry <= bindparam("now_ms")).order_by(expiry).limit(bindparam("most"))
        )
        hashes = keys.c.key_hash.between(bindparam("first"), bindparam("last"))
        self.keys_between = select(keys.c.key_hash).where(hashes).limit(bindparam("most"))

    def ranges(self, count: int) -> str:
        """Number of the range, serial, time and size of the rows in several ranges, in no order; text for the driver.

        The parameters of each range are app, channel, stream id, first and last serial.
        """
        if count not in self._ranges:
            self._ranges[count] = " UNION ALL ".join(f"SELECT {number}, {self._range}" for number in range(count))
        return self._ranges[count]


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


def _in(table: Table, column: str) -> ColumnElement[bool]:
    return table.c[column].in_(bindparam(f"{column}s", expanding=True))


def _parameter(dialect: Dialect) -> str:
    return "?" if dialect.name == "sqlite" else "%s"


def _insert(table: Table, dialect: Dialect, columns: Sequence[str], changing: Sequence[str] | None) -> str:
    """Inserts rows; of one that exists already, only the ``changing`` columns are replaced. None: there is none."""
    quote = dialect.identifier_preparer.quote
    keys = [column.name for column in table.primary_key]
    places = ", ".join([_parameter(dialect)] * len(columns))
    plain = f"INSERT INTO {quote(table.name)} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names of ours
    if changing is None:
        return plain
    if dialect.name == "mysql":
        changes = [f"{name} = VALUES({name})" for name in changing] or [f"{keys[0]} = {keys[0]}"]
        return f"{plain} ON DUPLICATE KEY UPDATE {', '.join(changes)}"
    if not changing:
        return f"{plain} ON CONFLICT DO NOTHING"
    changes = [f"{name} = excluded.{name}" for name in changing]
    return f"{plain} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(changes)}"
