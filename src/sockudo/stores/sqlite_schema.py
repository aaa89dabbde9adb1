"""The tables of the embedded app store and the steps that lead to them.

A step is never changed once released; a new shape is a new step at the end. ``PRAGMA user_version`` counts the steps
that a file has been through. Columns follow contract 70 § 2.4, without the flat copies of what the policy holds.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from sockudo import errors

__all__ = ["STEPS", "migrate"]

# Revisions start at the time of creation, so that a file made anew never repeats those of the one it replaces. The
# triggers catch every writer, somebody with the sqlite3 shell included.
_FIRST: Final = (
    """
    CREATE TABLE applications (
      id TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
      "key" TEXT NOT NULL UNIQUE CHECK ("key" <> ''),
      secret TEXT NOT NULL CHECK (secret <> ''),
      enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
      policy TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(policy)),
      created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
      updated_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    )
    """,
    "CREATE TABLE revision (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), number INTEGER NOT NULL)",
    "INSERT INTO revision VALUES (1, CAST(strftime('%s', 'now') AS INTEGER) * 1000)",
    "CREATE TRIGGER app_added AFTER INSERT ON applications BEGIN UPDATE revision SET number = number + 1; END",
    "CREATE TRIGGER app_changed AFTER UPDATE ON applications BEGIN UPDATE revision SET number = number + 1; END",
    "CREATE TRIGGER app_removed AFTER DELETE ON applications BEGIN UPDATE revision SET number = number + 1; END",
)

# `sockudo.apps.ports.Origin`, null for rows of which it is not known.
_ORIGINS: Final = ("ALTER TABLE applications ADD COLUMN origin TEXT",)

_PREVIOUS_SECRETS: Final = ("ALTER TABLE applications ADD COLUMN previous_secret TEXT",)

STEPS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _ORIGINS, _PREVIOUS_SECRETS)


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the file to the current schema, in one transaction; several processes may do so at once.

    The connection must be in autocommit mode. Raises ``errors.SERVICE_UNAVAILABLE`` for a file of a newer version and
    `sqlite3.Error` when the file does not answer.
    """
    if _version(connection) == len(STEPS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version > len(STEPS):
            raise errors.SERVICE_UNAVAILABLE(
                f"The app store was written by a newer version of sockudo: its schema is {version}, this version knows "
                f"{len(STEPS)}. Run the newer version, or restore the file from before the upgrade."
            )
        for step in STEPS[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _version(connection: sqlite3.Connection) -> int:
    row: tuple[int] = connection.execute("PRAGMA user_version").fetchone()
    return row[0]
