"""Revocations in an SQLite file: what a restart must not forget.

The file is read once, at the start, and made and written when a backend revokes something, so every call has a
connection of its own, in a thread: a slow disk never stops the event loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sockudo import errors
from sockudo.auth.revocations import Revocation
from sockudo.storage.sqlite_files import make_private_file

__all__ = ["FILE_NAME", "SqliteRevocationStore"]

FILE_NAME: Final = "revocations.sqlite3"

# How long a writer waits for another process.
_BUSY_SECONDS: Final = 5.0
_VERSION: Final = 1
_SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS revocations (
      app_id TEXT NOT NULL,
      kind TEXT NOT NULL CHECK (kind IN ('jti', 'client_id')),
      value TEXT NOT NULL CHECK (value <> ''),
      until REAL NOT NULL,
      PRIMARY KEY (app_id, kind, value)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS revocations_until ON revocations (until)",
    f"PRAGMA user_version = {_VERSION}",
)
_RECORD: Final = """
INSERT INTO revocations (app_id, kind, value, until) VALUES (?, ?, ?, ?)
ON CONFLICT (app_id, kind, value) DO UPDATE SET until = max(until, excluded.until)
"""


class SqliteRevocationStore:
    """Keeps revocations in ``revocations.sqlite3`` in the data directory, both made readable by their owner alone."""

    def __init__(self, data_dir: Path | str) -> None:
        self._path = Path(data_dir) / FILE_NAME

    @property
    def path(self) -> Path:
        """Where the revocations are kept."""
        return self._path

    async def in_force(self, now: float) -> Sequence[Revocation]:
        return await asyncio.to_thread(self._in_force, now)

    async def record(self, revocations: Sequence[Revocation], now: float) -> None:
        await asyncio.to_thread(self._record, revocations, now)

    # ---- what follows runs in a thread ----

    def _in_force(self, now: float) -> Sequence[Revocation]:
        with _foreign_errors():
            if not self._path.exists() and not self._path.parent.is_file():
                return []
        with self._changing() as connection:
            rows = connection.execute("SELECT app_id, kind, value, until FROM revocations WHERE until > ?", (now,))
            return [Revocation(*row) for row in rows]

    def _record(self, revocations: Sequence[Revocation], now: float) -> None:
        rows = [(revocation.app_id, revocation.kind, revocation.value, revocation.until) for revocation in revocations]
        with self._changing() as connection:
            connection.execute("DELETE FROM revocations WHERE until <= ?", (now,))
            connection.executemany(_RECORD, rows)

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; the file and its table are made where there are none."""
        with _foreign_errors():
            make_private_file(self._path)
            with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                _check_version(connection)
                yield connection
                connection.execute("COMMIT")


def _check_version(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise errors.SERVICE_UNAVAILABLE(
            f"The revocation store was written by a newer version of sockudo: its schema is {version}, this version "
            f"knows {_VERSION}. Run the newer version."
        )
    if version < _VERSION:
        for statement in _SCHEMA:
            connection.execute(statement)


@contextmanager
def _foreign_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "unknown reason")
        raise errors.SERVICE_UNAVAILABLE(f"The revocation store does not answer ({name})") from error
    except OSError as error:
        reason = (error.strerror or "it failed").lower()
        raise errors.SERVICE_UNAVAILABLE(f"The revocation store's file cannot be used: {reason}") from error
