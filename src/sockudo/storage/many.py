"""Statements for many rows at once, each in the way that its driver and database take best.

SQLite's driver repeats a statement at no cost, and MySQL's makes one of the rows of an INSERT. PostgreSQL gets each
column of all rows as one array: rows that come one by one take both sides longer to read than to store, and such a
statement is the same for any number of rows, so it is prepared once. Parameters are for the driver: having them
checked one by one takes longer than storing them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, Dialect, Table

__all__ = ["Insert", "Listed", "Range", "Ranges", "ranges_of"]

T = TypeVar("T")

Range = tuple[str, str, str, int, int]
"""App, channel, stream id, first and last serial."""

_NO_ROWS: Final[Range] = ("", "", "", 1, 0)

# Ranges that are read or deleted together at most, where each adds to the statement.
_RANGES_AT_ONCE: Final = 64


class Insert:
    """Inserts rows; of one that exists already, only the ``changing`` columns are replaced. None: there is none."""

    def __init__(self, table: Table, dialect: Dialect, columns: Sequence[str], changing: Sequence[str] | None) -> None:
        into = f"INSERT INTO {_name(table, dialect)} ({', '.join(columns)})"
        end = _on_conflict(table, dialect, changing)
        self._each = f"{into} VALUES ({', '.join([_place(dialect)] * len(columns))}){end}"
        self._all: str | None = None
        if _has_arrays(dialect):
            self._all = f"{into} SELECT * FROM {_arrays(table, dialect, columns)}{end}"  # noqa: S608 - names of ours

    def run(self, connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Inserts the rows, of which there has to be one."""
        if len(rows) == 1:
            connection.exec_driver_sql(self._each, rows[0])
        elif self._all is None:
            connection.exec_driver_sql(self._each, list(rows))
        else:
            connection.exec_driver_sql(self._all, _columns(rows))


class Listed:
    """A statement about the rows whose ``column`` has one of the values listed."""

    def __init__(self, table: Table, dialect: Dialect, what: str, column: str, end: str = "") -> None:
        """``what`` is all that stands before FROM; in ``end``, which follows the list, ``{}`` is a parameter."""
        self._start = f"{what} FROM {_name(table, dialect)} WHERE {column} "
        self._end = f" {end}".format(*[_place(dialect)] * end.count("{}"))
        self._place = _place(dialect)
        self._has_arrays = _has_arrays(dialect)

    def run(
        self, connection: Connection, values: Sequence[bytes] | Sequence[str], *others: object
    ) -> Sequence[Sequence[Any]]:
        """The rows, if it is a SELECT; there has to be a value, and ``others`` are the parameters of the end."""
        if self._has_arrays:
            result = connection.exec_driver_sql(f"{self._start}= ANY (%b){self._end}", (list(values), *others))
        else:
            padded = _padded(values, values[-1])
            places = ", ".join([self._place] * len(padded))
            result = connection.exec_driver_sql(f"{self._start}IN ({places}){self._end}", (*padded, *others))
        return result.all() if result.returns_rows else ()


class Ranges(Protocol):
    """Entries by ranges of their serials, found by their key regardless of the statistics of the database."""

    def read(self, connection: Connection, ranges: Sequence[Range]) -> list[list[tuple[int, int, int]]]:
        """Serial, time and size of the rows in each range, in order."""
        ...

    def delete(self, connection: Connection, ranges: Sequence[Range]) -> None:
        """Deletes the rows in each range, of which there has to be one."""


def ranges_of(entries: Table, dialect: Dialect) -> Ranges:
    """The way of this dialect."""
    return _ArrayRanges(entries, dialect) if _has_arrays(dialect) else _PlainRanges(entries, dialect)


class _PlainRanges:
    def __init__(self, entries: Table, dialect: Dialect) -> None:
        name, within = _name(entries, dialect), _within(_place(dialect))
        self._read = f"serial, published_at_ms, payload_size_bytes FROM {name} WHERE {within}"
        self._delete = f"DELETE FROM {name} WHERE {within}"  # noqa: S608 - names of ours
        # Of the drivers, MySQL's sends such statements one by one.
        self._delete_some = (
            f"{self._delete}{f' OR {within}' * (_RANGES_AT_ONCE - 1)}" if dialect.name == "mysql" else None
        )

    def read(self, connection: Connection, ranges: Sequence[Range]) -> list[list[tuple[int, int, int]]]:
        found: list[list[tuple[int, int, int]]] = [[] for _ in ranges]
        for start in range(0, len(ranges), _RANGES_AT_ONCE):
            some = _padded(ranges[start : start + _RANGES_AT_ONCE], _NO_ROWS)
            parts = (f"SELECT {number}, {self._read}" for number in range(len(some)))
            rows = connection.exec_driver_sql(" UNION ALL ".join(parts), tuple(chain.from_iterable(some)))
            for number, serial, published_at_ms, size in rows.all():
                found[start + number].append((serial, published_at_ms, size))
        for each in found:
            each.sort()
        return found

    def delete(self, connection: Connection, ranges: Sequence[Range]) -> None:
        if self._delete_some is None or len(ranges) == 1:
            connection.exec_driver_sql(self._delete, list(ranges))
            return
        for start in range(0, len(ranges), _RANGES_AT_ONCE):
            some = ranges[start : start + _RANGES_AT_ONCE]
            filled = chain.from_iterable([*some, *[_NO_ROWS] * (_RANGES_AT_ONCE - len(some))])
            connection.exec_driver_sql(self._delete_some, tuple(filled))


class _ArrayRanges:
    def __init__(self, entries: Table, dialect: Dialect) -> None:
        name = _name(entries, dialect)
        arrays = _arrays(entries, dialect, ("serial", "app_id", "channel", "stream_id", "serial", "serial"))
        ranges = f"{arrays} AS of (number, app_id, channel, stream_id, first, last)"
        # The OFFSET keeps the planner from making a join of it, for which it may read a whole stream.
        within = (
            f"FROM {name} WHERE app_id = of.app_id AND channel = of.channel AND stream_id = of.stream_id"
            " AND serial BETWEEN of.first AND of.last OFFSET 0"
        )
        self._read = (
            f"SELECT of.number, each.serial, each.published_at_ms, each.payload_size_bytes FROM {ranges}"  # noqa: S608
            f" CROSS JOIN LATERAL (SELECT serial, published_at_ms, payload_size_bytes {within}) AS each"
        )
        rows = f"SELECT each.ctid FROM {ranges} CROSS JOIN LATERAL (SELECT ctid {within}) AS each"  # noqa: S608
        self._delete = f"DELETE FROM {name} WHERE {_within('%s')}"  # noqa: S608 - names of ours
        self._delete_some = f"DELETE FROM {name} WHERE ctid = ANY (ARRAY({rows}))"  # noqa: S608

    def read(self, connection: Connection, ranges: Sequence[Range]) -> list[list[tuple[int, int, int]]]:
        found: list[list[tuple[int, int, int]]] = [[] for _ in ranges]
        for number, serial, published_at_ms, size in connection.exec_driver_sql(self._read, _numbered(ranges)).all():
            found[number].append((serial, published_at_ms, size))
        for each in found:
            each.sort()
        return found

    def delete(self, connection: Connection, ranges: Sequence[Range]) -> None:
        if len(ranges) == 1:
            connection.exec_driver_sql(self._delete, ranges[0])
        else:
            connection.exec_driver_sql(self._delete_some, _numbered(ranges))


def _within(place: str) -> str:
    return f"app_id = {place} AND channel = {place} AND stream_id = {place} AND serial BETWEEN {place} AND {place}"


def _numbered(ranges: Sequence[Range]) -> tuple[list[object], ...]:
    return list(range(len(ranges))), *_columns(ranges)


def _columns(rows: Sequence[tuple[object, ...]]) -> tuple[list[object], ...]:
    return tuple(map(list, zip(*rows, strict=True)))


def _padded(values: Sequence[T], filler: T) -> list[T]:
    """As many values as the next power of two: a few different statements are prepared sooner than many."""
    size = 1 << (len(values) - 1).bit_length()
    return [*values, *[filler] * (size - len(values))]


def _has_arrays(dialect: Dialect) -> bool:
    return dialect.name == "postgresql"


def _place(dialect: Dialect) -> str:
    return "?" if dialect.name == "sqlite" else "%s"


def _name(table: Table, dialect: Dialect) -> str:
    return dialect.identifier_preparer.quote(table.name)


def _arrays(table: Table, dialect: Dialect, columns: Sequence[str]) -> str:
    types = (table.c[column].type.compile(dialect) for column in columns)
    return f"unnest({', '.join(f'%b::{kind}[]' for kind in types)})"


def _on_conflict(table: Table, dialect: Dialect, changing: Sequence[str] | None) -> str:
    if changing is None:
        return ""
    keys = [column.name for column in table.primary_key]
    if dialect.name == "mysql":
        changes = [f"{name} = VALUES({name})" for name in changing] or [f"{keys[0]} = {keys[0]}"]
        return f" ON DUPLICATE KEY UPDATE {', '.join(changes)}"
    if not changing:
        return " ON CONFLICT DO NOTHING"
    changes = [f"{name} = excluded.{name}" for name in changing]
    return f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(changes)}"
