"""The table of apps that other versions of the server and its dashboard use as well (spec: platform § 2.4).

A table made by another program is used as it is: only columns that it lacks are added, and what it has besides stays
alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sqlalchemy import (
    Engine,
    LargeBinary,
    Select,
    TableClause,
    Text,
    cast,
    column,
    false,
    func,
    inspect,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

from sockudo import errors

__all__ = ["DOCUMENTS", "FLAGS", "LONGEST", "NUMBERS", "READ", "app_table", "fingerprint", "prepare"]

LONGEST: Final = 255
"""Characters of an id, a key or a secret, at most."""

FLAGS: Final[Mapping[str, str]] = {
    "enabled": "{flag} NOT NULL DEFAULT TRUE",
    "enable_client_messages": "{flag} NOT NULL DEFAULT FALSE",
    "enable_user_authentication": "{flag}",
    "enable_watchlist_events": "{flag}",
}
NUMBERS: Final[Mapping[str, str]] = {
    "max_connections": "{number} NOT NULL DEFAULT 0",
    "max_client_events_per_second": "{number} NOT NULL DEFAULT 0",
    "max_backend_events_per_second": "{number}",
    "max_read_requests_per_second": "{number}",
    "max_presence_members_per_channel": "{number}",
    "max_presence_member_size_in_kb": "{number}",
    "max_channel_name_length": "{number}",
    "max_event_channels_at_once": "{number}",
    "max_event_name_length": "{number}",
    "max_event_payload_in_kb": "{number}",
    "max_event_batch_size": "{number}",
}
DOCUMENTS: Final = (
    "policy",
    "webhooks",
    "allowed_origins",
    "channel_delta_compression",
    "idempotency",
    "connection_recovery",
)
"""Columns of JSON."""

_CREDENTIALS: Final[Mapping[str, str]] = {
    "id": "{id} NOT NULL PRIMARY KEY",
    "key": "{key} NOT NULL UNIQUE",
    "secret": "{secret} NOT NULL",
}
_ADDED: Final[Mapping[str, str]] = {
    **NUMBERS,
    **FLAGS,
    **dict.fromkeys(DOCUMENTS, "{document}"),
    "origin": "{secret}",
    "previous_secret": "{document}",
    "created_at": "{time}",
    "updated_at": "{time}{touched}",
}
_TIME: Final = "TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP"
_TYPES: Final[Mapping[str, Mapping[str, str]]] = {
    "postgresql": {
        "id": "VARCHAR(255)",
        "key": "VARCHAR(255)",
        "secret": "VARCHAR(255)",
        "number": "INTEGER",
        "flag": "BOOLEAN",
        "document": "JSONB",
        "time": _TIME,
        "touched": "",
        "end": "",
    },
    # Ids and keys that differ by case or accent alone are different.
    "mysql": {
        "id": "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "key": "VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin",
        "secret": "VARCHAR(255)",
        "number": "INT UNSIGNED",
        "flag": "BOOLEAN",
        "document": "JSON",
        "time": _TIME,
        "touched": " ON UPDATE CURRENT_TIMESTAMP",
        "end": " ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    },
}

READ: Final = (*_CREDENTIALS, *NUMBERS, *FLAGS, *DOCUMENTS, "previous_secret")
"""The columns that make an app."""

# Nodes that start together get into each other's way; what another one made is found at the next look.
_LOOKS: Final = 3


def app_table(name: str, columns: Iterable[str] = (*_CREDENTIALS, *_ADDED)) -> TableClause:
    """The table as statements name it. Columns have no types: what stands in them is read as it comes."""
    return table(name, *map(column, columns))


def prepare(engine: Engine, name: str) -> None:
    """Makes the table, or adds the columns that it lacks; a complete one needs no right to do either.

    Raises ``errors.SERVICE_UNAVAILABLE`` when a table of this name belongs to another program, and `DBAPIError`.
    """
    for look in range(1, _LOOKS + 1):
        missing = _missing(engine, name)
        if missing is None:
            return
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(missing)
        except DBAPIError:
            if look == _LOOKS:
                raise


def _missing(engine: Engine, name: str) -> str | None:
    """The statement that completes the table."""
    quote = engine.dialect.identifier_preparer.quote_identifier
    types = _TYPES[engine.dialect.name]
    present = _present(engine, name)
    if not present:
        columns = ", ".join(_definitions(engine, {**_CREDENTIALS, **_ADDED}))
        return f"CREATE TABLE IF NOT EXISTS {quote(name)} ({columns}){types['end']}"
    lacking = sorted(_CREDENTIALS.keys() - present)
    if lacking:
        raise errors.SERVICE_UNAVAILABLE(
            f"The table '{name}' is no table of apps: it has no column {', '.join(lacking)}. Choose another table_name."
        )
    wanted = {column: definition for column, definition in _ADDED.items() if column not in present}
    if not wanted:
        return None
    return f"ALTER TABLE {quote(name)} " + ", ".join(f"ADD COLUMN {each}" for each in _definitions(engine, wanted))


def _present(engine: Engine, name: str) -> set[str]:
    with engine.connect() as connection:
        if not inspect(connection).has_table(name):
            return set()
        return set(connection.execute(select(literal_column("*")).select_from(table(name)).where(false())).keys())


def _definitions(engine: Engine, columns: Mapping[str, str]) -> Iterator[str]:
    quote = engine.dialect.identifier_preparer.quote_identifier
    types: Mapping[str, Any] = _TYPES[engine.dialect.name]
    for name, definition in columns.items():
        yield f"{quote(name)} {definition.format_map(types)}"


def fingerprint(table: TableClause, dialect: str) -> Select[Any, Any]:
    """The query whose one row is another one after every change of the table of apps by any program.

    There is no trigger, since the table is shared, and ``updated_at`` is not enough: PostgreSQL leaves it to the
    program that writes, and MySQL counts it in whole seconds.

    PostgreSQL marks each version of a row with the transaction that wrote it and the place where it lies: the values,
    which may be kept apart from the row, need not be read. In MySQL they are what tells versions apart.
    """
    if dialect == "postgresql":
        version = func.concat(cast(column("xmin"), Text), cast(column("ctid"), Text))
        return select(func.count(), func.sum(func.hashtextextended(version, 0))).select_from(table)
    # As bytes: columns of another program's table need not have one collation.
    content = func.concat_ws(",", *(cast(func.quote(table.c[name]), LargeBinary) for name in READ))
    digest = func.conv(func.left(func.sha2(content, 256), 15), 16, 10)
    return select(func.count(), func.sum(cast(digest, mysql.INTEGER(unsigned=True)))).select_from(table)
