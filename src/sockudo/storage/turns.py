"""Turns of the processes that write to one SQLite file: each waits asleep until it may, and none waits for ever.

SQLite lets one writer in at a time, and the others ask again and again, ever more rarely: the one that has just
written gets in first, and another one may lose for seconds. Workers of one server write all the time, so they wait
for a lock of the system before they ask SQLite. Two bytes of a file beside the database are locked: who has the first
one is next, and waits there for the second one. So who has just written comes behind who waits.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["order_writers", "share_files"]

_NEXT, _WRITING = 0, 1
# The kernel's `struct flock`; what is set belongs to the descriptor, and ends with its process.
_FLOCK: Final = struct.Struct("hhqqi4x")

_shared = False


def share_files() -> None:
    """From now on this process orders its writers with those of others that do; it is a worker."""
    global _shared  # noqa: PLW0603 - a matter of the whole process
    _shared = True


def order_writers(engine: Engine, path: Path) -> None:
    """Has transactions of the engine that write to the file wait for their turn, where processes share files.

    The engine has one connection, and calls this after everything else that is to be done at the end of a transaction.
    """
    turn = _Turn(path.with_name(f"{path.name}-turn"))

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if _shared and not connection.get_execution_options().get("reading"):
            turn.take()

    @event.listens_for(engine, "checkin")
    def _checkin(_connection: object, _entry: ConnectionPoolEntry) -> None:
        turn.give()

    @event.listens_for(engine, "engine_disposed")
    def _disposed(_engine: Engine) -> None:
        turn.close()


class _Turn:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._taken = False

    def take(self) -> None:
        """Sleeps until the turn has come. A writer that hangs is killed by its supervisor, which ends its turn."""
        if self._taken:
            return
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock(_NEXT)
        try:
            self._lock(_WRITING)
        finally:
            self._set(fcntl.F_UNLCK, _NEXT)
        self._taken = True

    def give(self) -> None:
        if self._taken:
            self._taken = False
            self._set(fcntl.F_UNLCK, _WRITING)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        self._taken = False
        if descriptor is not None:
            os.close(descriptor)

    def _lock(self, byte: int) -> None:
        while True:
            try:
                self._set(fcntl.F_WRLCK, byte)
            except OSError as problem:
                # The kernel looks for circles among locks of processes; there is none here.
                if problem.errno != errno.EDEADLK:
                    raise
                time.sleep(0.001)
            else:
                return

    def _set(self, kind: int, byte: int) -> None:
        if self._descriptor is not None:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLKW, _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0))
