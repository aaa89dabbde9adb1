"""Revocations in an SQLite file: what a restart must not forget.

The file is read once, at the start, and made and written when a backend revokes something: so each call has a
connection of its own, in a thread, and what works on databases is imported by the first one that needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sockudo import errors
from sockudo.auth.ports import Revocation
from sockudo.storage.sqlite_files import make_private_file

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["FILE_NAME", "RevocationFile"]

FILE_NAME: Final = "revocations.sqlite3"

T = TypeVar("T")

# How long a writer waits for another process.
_TIMEOUT_MS: Final = 5000

# A step is never changed once released; a new shape is a new step at the end.
_FIRST: Final = (
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
)
_RECORD: Final = """
INSERT INTO revocations (app_id, kind, value, until) VALUES (?, ?, ?, ?)
ON CONFLICT (app_id, kind, value) DO UPDATE SET until = max(until, excluded.until)
"""


class RevocationFile:
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
        try:
            self._path.stat()
        except FileNotFoundError:
            return []
        except OSError:
            # A hidden file must not pass for no revocations; opening it says what that is.
            pass

        def read(connection: Connection) -> Sequence[Revocation]:
            query = "SELECT app_id, kind, value, until FROM revocations WHERE until > ?"
            return [Revocation(*row) for row in connection.exec_driver_sql(query, (now,))]

        return self._transact(read)

    def _record(self, revocations: Sequence[Revocation], now: float) -> None:
        rows = [(revocation.app_id, revocation.kind, revocation.value, revocation.until) for revocation in revocations]

        def write(connection: Connection) -> None:
            connection.exec_driver_sql("DELETE FROM revocations WHERE until <= ?", (now,))
            if rows:
                connection.exec_driver_sql(_RECORD, rows)

        self._transact(write)

    def _transact(self, work: Callable[[Connection], T]) -> T:
        """One transaction; the file and its table are made where there are none."""
        from sqlalchemy.exc import DBAPIError

        from sockudo.storage.engine import sqlite_engine
        from sockudo.storage.failures import Subject, refuse
        from sockudo.storage.migrations import migrate_file

        of = Subject(
            errors.SERVICE_UNAVAILABLE,
            "sockudo.auth",
            "the revocation store",
            "the revocation store's file",
            "this revocation",
        )
        engine = sqlite_engine(self._path, pool_size=1, timeout_ms=_TIMEOUT_MS, writing=True)
        try:
            make_private_file(self._path)
            migrate_file(engine, (_FIRST,), of)
            with engine.begin() as connection:
                return work(connection)
        except (DBAPIError, OSError) as error:
            refuse(error, of)
        finally:
            engine.dispose()
