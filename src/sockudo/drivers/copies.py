"""Whole copies of SQLite files, also of such that a server writes to: as they were at one moment."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from sockudo.storage.sqlite_files import make_private_file

__all__ = ["CopyError", "Progress", "copy_database", "copy_file", "damage_of", "renew_stream_ids"]

CopyError = sqlite3.Error
"""What SQLite says when a file cannot be read or written."""

Progress = Callable[[int, int], None]
"""Takes the progress: bytes done, and bytes in all."""

_PAGES_AT_ONCE: Final = 2048
_BUSY_SECONDS: Final = 30.0


def copy_database(source: Path, target: Path, progress: Progress) -> None:
    """Copies an SQLite file with what its write-ahead log holds; ``target`` is new, and for its owner alone.

    Raises `CopyError` and `OSError`.
    """
    make_private_file(target)
    # A read-only connection could not make the companion files that it needs; this one removes those it made.
    with closing(_connect(source)) as reading, closing(_connect(target)) as writing:
        # One snapshot for all steps: without it each change by the server would begin the copy anew.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reading.backup(writing, pages=_PAGES_AT_ONCE, progress=lambda _, left, all_: progress(all_ - left, all_))
        # The file is complete without companions.
        writing.execute("PRAGMA journal_mode = DELETE")
    _sync(target)


def copy_file(source: Path, target: Path, progress: Progress) -> None:
    """Copies a small file; ``target`` is for its owner alone. Raises `OSError`."""
    make_private_file(target)
    target.write_bytes(source.read_bytes())
    _sync(target)
    progress(1, 1)


def damage_of(path: Path) -> str | None:
    """What is wrong with an SQLite file, None when nothing is."""
    try:
        with closing(_connect(path)) as connection:
            verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)
    return None if verdict == "ok" else verdict


def renew_stream_ids(path: Path, prefix: str) -> int:
    """Gives every stream of a history another id, and says how many there are: clients of before get a reset.

    Raises `CopyError`.
    """
    with closing(_connect(path)) as connection:
        table = f'"{prefix}_streams"'
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (f"{prefix}_streams",)).fetchone() is None:
            return 0
        renew = f"UPDATE {table} SET stream_id = lower(hex(randomblob(16)))"  # noqa: S608 - a checked prefix
        return connection.execute(renew).rowcount


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
