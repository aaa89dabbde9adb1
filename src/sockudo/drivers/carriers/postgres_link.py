"""The two connections of a node to PostgreSQL: one sends, one listens or, where notifications do not come, looks."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.drivers.carriers.outbox import Outbox
from sockudo.drivers.carriers.postgres_inbox import Inbox
from sockudo.drivers.carriers.postgres_packets import Packer
from sockudo.drivers.carriers.postgres_statements import KEPT_SECONDS, Statements
from sockudo.errors import SockudoError
from sockudo.storage.postgres_connection import PostgresConnection

__all__ = ["Listener", "PostgresLink", "Sender"]

# In bytes: what is sent, and what is read of the table, at a time.
_SENT_AT_ONCE: Final = 1024 * 1024
_READ_AT_ONCE: Final = 16 * 1024 * 1024
_DELETE_SECONDS: Final = 2.0
_SWEEP_SECONDS: Final = 60.0
_END_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.05
_POLL_AGAIN_SECONDS: Final = 0.005


class Sender:
    """Sends what is in the outbox: one transaction at a time, and what comes meanwhile together in the next one."""

    def __init__(
        self,
        connection: PostgresConnection,
        statements: Statements,
        outbox: Outbox,
        packer: Packer,
        sender: bytes,
        as_row: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._statements = statements
        self._outbox = outbox
        self._packer = packer
        self._sender = sender
        self._as_row = as_row
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._rows: deque[tuple[float, int]] = deque()
        self._delete_at = 0.0
        self._sweep_at = self._loop.time() + random.uniform(0.5, 1.5) * _SWEEP_SECONDS  # noqa: S311 - not a secret
        self.sent = asyncio.Event()
        connection.ended.add_done_callback(lambda _: self._wake.set())

    def wake(self) -> None:
        """There is something in the outbox."""
        self.sent.clear()
        self._wake.set()

    async def run(self) -> None:
        """Sends until the connection ends."""
        try:
            while not self._connection.ended.done():
                if len(self._outbox):
                    await self._send()
                else:
                    self.sent.set()
                    await self._wait()
                if not self._connection.ended.done():
                    await self._tidy()
        finally:
            self.sent.set()

    async def _wait(self) -> None:
        timer = self._loop.call_at(min(self._sweep_at, self._delete_next), self._wake.set)
        try:
            await self._wake.wait()
            self._wake.clear()
        finally:
            timer.cancel()

    async def _send(self) -> None:
        packed = self._packer.pack(self._outbox.take(_SENT_AT_ONCE), as_row=self._as_row())
        if packed.row is None:
            await self._statements.notify(self._connection, packed.channels, packed.texts)
            return
        await self._statements.put(self._connection, self._sender, packed.row, packed.channels, packed.texts)
        self._rows.append((self._loop.time(), packed.row.number))

    @property
    def _delete_next(self) -> float:
        return max(self._delete_at, self._rows[0][0] + KEPT_SECONDS) if self._rows else float("inf")

    async def _tidy(self) -> None:
        now = self._loop.time()
        if now >= self._delete_next:
            self._delete_at = now + _DELETE_SECONDS
            number = 0
            while self._rows and self._rows[0][0] + KEPT_SECONDS <= now:
                number = self._rows.popleft()[1]
            await self._statements.delete(self._connection, self._sender, number)
        if now >= self._sweep_at:
            self._sweep_at = now + random.uniform(0.5, 1.5) * _SWEEP_SECONDS  # noqa: S311 - not a secret
            await self._statements.sweep(self._connection)


class Listener:
    """Gets what others send into the inbox, and says which channels are confirmed.

    ``polls``: looks into the table every 50 ms, and after 5 ms when there was something, in place of notifications.
    """

    def __init__(
        self,
        connection: PostgresConnection,
        statements: Statements,
        inbox: Inbox,
        confirmed: Callable[[Iterable[str]], None],
        *,
        polls: bool,
    ) -> None:
        self._connection = connection
        self._statements = statements
        self._inbox = inbox
        self._confirmed = confirmed
        self._polls = polls
        self._wake = asyncio.Event()
        self.channels: set[str] = set()
        self._new: list[str] = []
        self._found = False
        connection.ended.add_done_callback(lambda _: self._wake.set())
        if not polls:
            connection.listen(self._heard)

    def ask(self, channels: Iterable[str]) -> None:
        """Listens to more channels."""
        self._new.extend(channels)
        self._wake.set()

    async def begin(self, channels: Iterable[str], *, first: bool) -> None:
        """Hears of the channels from now on, and, but for the ``first`` time, of the rows since the last one."""
        self._inbox.hold()
        await self._listen(channels)
        if first:
            self._inbox.skip(await self._statements.end(self._connection))
            self._inbox.release(())
        else:
            self._inbox.release(await self._statements.find(self._connection, self._inbox.last, list(self.channels)))
        while self._inbox.waits:
            await self._read()

    async def run(self) -> None:
        """Works until the connection ends."""
        while not self._connection.ended.done():
            if self._polls:
                await asyncio.sleep(_POLL_AGAIN_SECONDS if self._found else _POLL_SECONDS)
            else:
                await self._wake.wait()
                self._wake.clear()
            if self._connection.ended.done():
                break
            if self._new or self._polls:
                channels, self._new = self._new, []
                await self._listen(channels)
                if self._polls:
                    await self._look()
                self._confirmed(channels)
            while self._inbox.waits:
                await self._read()

    async def _listen(self, channels: Iterable[str]) -> None:
        new = [channel for channel in dict.fromkeys(channels) if channel not in self.channels]
        self.channels.update(new)
        if new and not self._polls:
            await self._connection.execute(";".join(f'LISTEN "{channel}"' for channel in new).encode())

    async def _look(self) -> None:
        found = await self._statements.find(self._connection, self._inbox.last, list(self.channels))
        self._found = bool(found)
        self._inbox.look(found)

    async def _read(self) -> None:
        needed = self._inbox.needed(_READ_AT_ONCE)
        bodies = await self._statements.get(self._connection, needed) if needed else {}
        self._inbox.fill(needed, bodies)

    def _heard(self, _channel: bytes, text: bytes) -> None:
        self._inbox.take(text)
        if self._inbox.waits:
            self._wake.set()


class PostgresLink:
    """A `Link`: both connections with what works on them. When one ends, so does the other."""

    def __init__(self, sending: PostgresConnection, listening: PostgresConnection) -> None:
        self.sending = sending
        self.listening = listening
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.sender: Sender | None = None
        self.listener: Listener | None = None
        self._tasks: list[asyncio.Task[None]] = []
        for connection in (sending, listening):
            connection.ended.add_done_callback(self._end)

    def start(self, sender: Sender, listener: Listener) -> None:
        """Has them work."""
        self.sender, self.listener = sender, listener
        self._tasks = start_tasks(_until_refused(sender.run()), _until_refused(listener.run()))

    def cut(self, reason: str) -> None:
        """Drops both connections, also from another thread."""
        self.sending.cut(reason)
        self.listening.cut(reason)

    def _end(self, ended: asyncio.Future[str]) -> None:
        if not self.ended.done():
            self.ended.set_result(ended.result())

    async def close(self) -> None:
        for connection in (self.sending, self.listening):
            connection.end("it was closed")
        # Statements fail now. They are not cancelled: psycopg would ask the server to, and wait for it.
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_SECONDS)
        await end_tasks(self._tasks)
        for connection in (self.sending, self.listening):
            await connection.close()


async def _until_refused(work: Coroutine[Any, Any, None]) -> None:
    """What fails has ended its connection, which says why."""
    with contextlib.suppress(SockudoError):
        await work
