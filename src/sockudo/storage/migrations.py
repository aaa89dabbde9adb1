"""Brings the tables of a store to the shape that this version works with; several nodes may do so at once.

A step is a list of statements. Steps that a database has been through are numbered in ``<table_prefix>_migrations``,
those of a file that holds one store alone are counted in its ``user_version``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Engine, MetaData, Table, func, insert, inspect, select
from sqlalchemy.exc import DBAPIError

from sockudo.storage.failures import Subject, capital

__all__ = ["TYPES", "migrate", "migrate_file", "rewrite"]

_WORD: Final = re.compile(r"\{(\w+)\}")

TYPES: Final[dict[str, dict[str, str]]] = {
    "sqlite": {
        "name": "TEXT",
        "word": "TEXT",
        "text": "TEXT",
        "hash": "BLOB",
        "bytes": "BLOB",
        "end": "",
        "end_changing": "WITHOUT ROWID",
    },
    # Room on the pages lets a row that changes all the time stay on its own.
    "postgresql": {
        "name": 'TEXT COLLATE "C"',
        "word": "TEXT",
        "text": "TEXT",
        "hash": "BYTEA",
        "bytes": "BYTEA",
        "end": "",
        "end_changing": "WITH (fillfactor = 70)",
    },
    "mysql": {
        "name": "VARCHAR(255)",
        "word": "VARCHAR(64)",
        "text": "LONGTEXT",
        "hash": "VARBINARY(24)",
        "bytes": "LONGBLOB",
        "end": "ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "end_changing": "ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    },
}
"""What the types of steps are called, by dialect; a store may have more of its own."""

# MySQL ends a transaction before it changes a table, so a node that died half-way through a step leaves some of it:
# table, column or index exists already, or is gone already.
_DONE_BEFORE: Final = frozenset({1050, 1060, 1061, 1091})


def migrate(
    engine: Engine,
    prefix: str,
    steps: Sequence[Sequence[str]],
    types: Mapping[str, str],
    timeout_ms: int,
    of: Subject,
) -> None:
    """Takes the steps that are missing, under a lock that one node at a time can have.

    ``{words}`` of a statement are replaced by ``types``, or they are names of tables and indexes without the prefix.
    Refuses in the name of the subject when the tables are of a newer version, or belong to another program.
    """
    done = Table(f"{prefix}_migrations", MetaData(), Column("number", BigInteger, primary_key=True))
    quote = engine.dialect.identifier_preparer.quote_identifier

    def filled(statement: str) -> str:
        return _WORD.sub(lambda word: types[word[1]] if word[1] in types else quote(f"{prefix}_{word[1]}"), statement)

    with engine.connect() as connection, _locked(connection, prefix, timeout_ms, of):
        fresh = not inspect(connection).has_table(done.name)
        if fresh:
            words = {word for step in steps for each in step for word in _WORD.findall(each)}
            _check_unused(connection, prefix, words, of)
            connection.exec_driver_sql(filled("CREATE TABLE {migrations} (number BIGINT NOT NULL PRIMARY KEY) {end}"))
        version: int = connection.execute(select(func.coalesce(func.max(done.c.number), 0))).scalar_one()
        if version > len(steps):
            raise of.spec(
                f"The tables '{prefix}_…' were made by a newer version of sockudo: their schema is {version}, this "
                f"version knows {len(steps)}. Run the newer version, or restore the database from before the upgrade."
            )
        if version == 0 and not fresh and connection.dialect.name != "mysql":
            _check_complete(connection, prefix, steps[0], of)
        for number in range(version + 1, len(steps) + 1):
            for statement in steps[number - 1]:
                _take(connection, filled(statement))
            connection.execute(insert(done), {"number": number})
        connection.commit()


def migrate_file(engine: Engine, steps: Sequence[Sequence[str]], of: Subject) -> None:
    """Takes the steps that are missing in an SQLite file, in one transaction.

    A file that lacks none is only read. Refuses in the name of the subject when the file is of a newer version.
    """
    with engine.connect().execution_options(reading=True) as connection:
        version = _user_version(connection)
    if version == len(steps):
        return
    with engine.begin() as connection:
        version = _user_version(connection)
        if version > len(steps):
            raise of.spec(
                f"{capital(of.store)} was written by a newer version of sockudo: its schema is {version}, this version "
                f"knows {len(steps)}. Run the newer version, or restore the file from before the upgrade."
            )
        for step in steps[version:]:
            for statement in step:
                connection.exec_driver_sql(statement)
        connection.exec_driver_sql(f"PRAGMA user_version = {len(steps)}")


def _user_version(connection: Connection) -> int:
    version: int = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    return version


def rewrite(connection: Connection, prefix: str) -> None:
    """Writes a row as it is: what a database that takes no writes refuses, and one that does keeps."""
    name = connection.dialect.identifier_preparer.quote_identifier(f"{prefix}_migrations")
    connection.exec_driver_sql(f"UPDATE {name} SET number = number WHERE number = 1")  # noqa: S608 - a quoted name


def _check_unused(connection: Connection, prefix: str, words: Iterable[str], of: Subject) -> None:
    name = _first_there(connection, prefix, words)
    if name is not None:
        raise of.spec(f"The database has a table '{name}' that this server did not make. {of.elsewhere}")


def _check_complete(connection: Connection, prefix: str, first: Sequence[str], of: Subject) -> None:
    """Tables without their number were spoiled by other hands: here a step leaves nothing that ends half-way."""
    name = _first_there(connection, prefix, {word for each in first for word in _WORD.findall(each)})
    if name is not None:
        raise of.spec(
            f"The table '{name}' is there, but '{prefix}_migrations', which says how far the tables are, is empty: "
            "rows were removed from it. Restore a backup, or put the row back that the version which made the "
            "tables had; to begin anew, move the tables or the file away."
        )


def _first_there(connection: Connection, prefix: str, words: Iterable[str]) -> str | None:
    """The first of these tables that the database has; one question for all of them."""
    # MySQL may keep the names of tables in lower case, and finds them in any.
    spelt = str.lower if connection.dialect.name == "mysql" else str
    there = {spelt(name) for name in inspect(connection).get_table_names()}
    return next((name for word in sorted(words) if spelt(name := f"{prefix}_{word}") in there), None)


def _take(connection: Connection, statement: str) -> None:
    try:
        connection.exec_driver_sql(statement)
    except DBAPIError as error:
        code = error.orig.args[0] if error.orig and error.orig.args else None
        if connection.dialect.name != "mysql" or code not in _DONE_BEFORE:
            raise


@contextmanager
def _locked(connection: Connection, prefix: str, timeout_ms: int, of: Subject) -> Iterator[None]:
    """SQLite needs nothing more: its transactions take the write lock at once."""
    digest = hashlib.sha256(f"sockudo migrations of {prefix}".encode())
    match connection.dialect.name:
        case "postgresql":
            number = int.from_bytes(digest.digest()[:8], signed=True)
            connection.execute(select(func.pg_advisory_xact_lock(number)))
            yield
        case "mysql":
            # Locks belong to the server, not to a database of it.
            name = func.concat(digest.hexdigest()[:24], func.left(func.sha1(func.database()), 24))
            if connection.scalar(select(func.get_lock(name, timeout_ms / 1000))) != 1:
                raise of.spec("Another node has been working on the tables for too long. Try again.")
            try:
                yield
            finally:
                connection.execute(select(func.release_lock(name)))
        case _:
            yield
