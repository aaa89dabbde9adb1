"""A connection to PostgreSQL for the event loop: statements that end in time, and notifications as they come.

For work that would cost more in a thread than it takes. Every failure ends the connection: its owner makes another.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg.pq.abc import PGconn
from psycopg.pq.misc import PGnotify
from sqlalchemy.exc import DBAPIError

from sockudo.config.sections.databases import SqlDatabase
from sockudo.storage.engine import GRACE_SECONDS, postgres_options
from sockudo.storage.failures import Subject, capital, reason_of

__all__ = ["Notified", "PostgresConnection"]

Notified = Callable[[bytes, bytes], None]
"""Takes the channel and the text of a notification. Called on the event loop, also while a statement runs."""


class PostgresConnection:
    """One connection, on which one statement runs at a time, each a transaction of its own.

    ``ended`` is done when it cannot be used any more; the result is why, for people. Failures are refused in the name
    of the subject.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], timeout_ms: int, of: Subject) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self._connection = connection
        self._seconds = timeout_ms / 1000 + GRACE_SECONDS
        self._of = of
        self._pgconn: PGconn = connection.pgconn
        self._descriptor = connection.fileno()
        # Of its own, so that it is this connection that is cut even when it was closed meanwhile.
        self._socket = socket.socket(fileno=os.dup(self._descriptor))
        self._notified: Notified | None = None
        self._watching = False
        self._why: str | None = None

    @classmethod
    async def make(cls, server: SqlDatabase, timeout_ms: int, of: Subject) -> PostgresConnection:
        """Connects."""
        try:
            connection = await psycopg.AsyncConnection.connect(**postgres_options(server, timeout_ms))
        except psycopg.Error as error:
            raise of.spec(f"{capital(of.store)} does not answer: {_reason(error)}") from error
        return cls(connection, timeout_ms, of)

    async def execute(
        self, statement: bytes, values: Sequence[object] = (), *, prepare: bool | None = None
    ) -> list[tuple[Any, ...]]:
        """Runs a statement, or several without values; returns the rows of the last one. ``prepare`` as psycopg's."""
        late = self._loop.call_later(self._seconds, self.cut, "the server did not answer in time")
        # psycopg waits for the same descriptor.
        self._unwatch()
        try:
            cursor = await self._connection.execute(statement, values or None, prepare=prepare, binary=bool(values))
            return await cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            reason = self._why or _reason(error)
            self._end(reason)
            raise self._of.spec(f"{capital(self._of.store)} does not answer: {reason}") from error
        finally:
            late.cancel()
            self._watch()

    def listen(self, notified: Notified) -> None:
        """Has ``notified`` hear of notifications, which ``LISTEN`` asks for, and of nothing else the loss at once."""
        self._notified = notified
        self._pgconn.notify_handler = self._take
        self._watch()

    def deaf(self) -> None:
        """Undoes `listen`."""
        self._unwatch()
        self._notified = None

    def cut(self, reason: str) -> None:
        """Drops the connection, also from another thread, and while a statement runs."""
        self._why = self._why or reason
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def end(self, reason: str) -> None:
        """Drops the connection, on the loop."""
        self.cut(reason)
        self._end(reason)

    async def close(self) -> None:
        """Gives the connection back; no statement may run."""
        self.end("it was closed")
        self._notified = None
        await self._connection.close()
        self._socket.close()

    def _watch(self) -> None:
        if self._notified is not None and not self.ended.done():
            self._loop.add_reader(self._descriptor, self._read)
            self._watching = True

    def _unwatch(self) -> None:
        # Also where libpq has closed the descriptor: the next connection may have the same.
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._descriptor)

    def _read(self) -> None:
        try:
            self._pgconn.consume_input()
            while (notification := self._pgconn.notifies()) is not None:
                self._take(notification)
        except psycopg.Error:
            self._end(self._why or "the connection was lost")

    def _take(self, notification: PGnotify) -> None:
        if self._notified is not None:
            self._notified(notification.relname, notification.extra)

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self._unwatch()
            self.ended.set_result(reason)


def _reason(error: psycopg.Error) -> str:
    return reason_of(DBAPIError("", None, error))
