"""The table of apps in an SQLite file, the steps that lead to it, and how a change of it is noticed.

A step is never changed once released; a new shape is a new step at the end. The table has the columns of the one on a
server without the flat copies of what the policy holds.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Select, column, select, table

__all__ = ["COLUMNS", "REVISION", "STEPS", "TABLE"]

TABLE: Final = "applications"
COLUMNS: Final = ("id", "key", "secret", "enabled", "policy", "previous_secret", "origin", "created_at", "updated_at")

REVISION: Final[Select[Any]] = select(column("number")).select_from(table("revision"))
"""The query of the number that grows with every change."""

# Revisions start at the time of creation, so that a file made anew never repeats those of the one it replaces. The
# triggers catch every writer, the sqlite3 shell included.
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
