"""What every embedded store does with its SQLite file before it is used."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from pathlib import Path

__all__ = ["make_private_file", "write_ahead"]

_PAUSE_SECONDS = 0.01


def make_private_file(path: Path) -> None:
    """Makes the file and its folder, readable by their owner alone, where there are none. Raises `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        # SQLite gives its companion files the mode of the main one, which it would create readable by everybody.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        # It is not opened: closing it would end the locks that SQLite has on it in this process.
        problem = errno.EISDIR if path.is_dir() else errno.EACCES if not os.access(path, os.R_OK | os.W_OK) else None
        if problem is not None:
            raise OSError(problem, os.strerror(problem), str(path)) from None


def write_ahead(connection: sqlite3.Connection, seconds: float) -> None:
    """Switches the file to write-ahead logging, trying for so long.

    Of two processes that open a new file at once one is refused without any waiting. Raises `sqlite3.Error`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return
