"""Nodes joined by their PostgreSQL database alone: NOTIFY and LISTEN, and a table for what is too long for them.

A commit that notifies takes a lock of the whole server until it ends, so payloads have short transactions of their own,
on a connection of their own, each with all that waits; and a node that does not listen fails the commits of all once
the queue of the server is full, so one whose loop stands still is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Iterable
from functools import partial
from typing import Final

import structlog

from sockudo import errors
from sockudo.cluster.carrier import CarrierObserver
from sockudo.config import Settings
from sockudo.config.sections.databases import AdapterPostgres, SqlDatabase
from sockudo.drivers.carriers.confirmations import Confirmations
from sockudo.drivers.carriers.links import KeptLink
from sockudo.drivers.carriers.outbox import Outbox
from sockudo.drivers.carriers.postgres_inbox import Inbox
from sockudo.drivers.carriers.postgres_link import Listener, PostgresLink, Sender
from sockudo.drivers.carriers.postgres_packets import Packer, channel_of
from sockudo.drivers.carriers.postgres_statements import STEPS, Statements
from sockudo.drivers.carriers.watchdog import STILL_SECONDS, Watchdog
from sockudo.storage.engine import postgres_engine
from sockudo.storage.failures import Subject
from sockudo.storage.migrations import TYPES, migrate
from sockudo.storage.postgres_connection import PostgresConnection
from sockudo.storage.worker import Worker

__all__ = ["PostgresCarrier", "postgres_carrier"]

_TIMEOUT_MS: Final = 5000
_MAX_PAYLOAD: Final = 8 * 1024 * 1024
_CLOSE_SECONDS: Final = 1.0
_PROBE_SECONDS: Final = 1.0
# For how long after a packet of one that polls the others write rows for it.
_POLLER_SECONDS: Final = 60.0

_SUBJECT: Final = Subject(
    errors.SERVICE_UNAVAILABLE,
    "sockudo.cluster",
    "the database between nodes",
    "the database between nodes",
    "this message",
    "Set another adapter.postgres.prefix.",
)

_log = structlog.get_logger("sockudo.cluster")


def postgres_carrier(settings: Settings) -> PostgresCarrier:
    """The carrier of ``adapter.driver = "postgres"``, not opened yet."""
    return PostgresCarrier(settings.database.postgres, settings.adapter.postgres)


class PostgresCarrier:
    """A `Carrier` on a PostgreSQL database."""

    max_payload = _MAX_PAYLOAD
    interested = None

    def __init__(
        self,
        server: SqlDatabase,
        settings: AdapterPostgres,
        *,
        timeout_ms: int = _TIMEOUT_MS,
        still_seconds: float = STILL_SECONDS,
    ) -> None:
        self._server = server
        self._prefix = settings.prefix
        self._mode = settings.mode
        self._timeout_ms = timeout_ms
        self._still_seconds = still_seconds
        self._id = os.urandom(16)
        self._polls: bool | None = {"poll": True}.get(settings.mode)
        self._pollers_until = 0.0
        self._link = KeptLink(self.name, self._connect)
        self._outbox = Outbox(self._lost)
        self._packer = Packer(self._prefix, self._id)
        self._topics: set[str] = set()
        self._inbox = Inbox(self._topics, self._heard_poller)
        self._first = True
        # Who waits for a channel, until it is confirmed.
        self._confirmations = Confirmations()
        self._turn: asyncio.Handle | None = None
        self._watchdog: Watchdog | None = None

    @property
    def name(self) -> str:
        place = self._server.host if self._server.host.startswith("/") else f"{self._server.host}:{self._server.port}"
        return f"postgresql at {place}{', polled' if self._polls else ''}"

    @property
    def dropped(self) -> int:
        return self._outbox.dropped

    async def open(self, observer: CarrierObserver) -> None:
        try:
            await self._make_table()
            self._inbox.observer = observer
            await self._link.open(observer)
        except errors.SockudoError as error:
            raise errors.SERVICE_UNAVAILABLE(
                f"{error.text}. Correct database.postgres, or join nodes by another adapter.driver"
            ) from error
        if not self._polls:
            # Who does not listen keeps what the server has for it, and in the end all others from sending.
            self._watchdog = Watchdog(self._stands_still, self._still_seconds)
            self._watchdog.start()

    async def close(self) -> None:
        link = self._link.current
        if link is not None and link.sender is not None:
            link.sender.wake()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(link.sender.sent.wait(), _CLOSE_SECONDS)
        self._inbox.observer = None
        if self._watchdog is not None:
            self._watchdog.close()
        await self._link.close()

    def publish(self, topic: str, payload: bytes) -> None:
        if self._link.current is not None and self._inbox.observer is not None:
            self._outbox.add(topic, payload)
            self._schedule()

    def subscribe(self, topic: str) -> Awaitable[None]:
        self._topics.add(topic)
        self._schedule()
        channel = channel_of(self._prefix, topic)
        return self._confirmations.ask(channel, connected=self._link.current is not None)

    def unsubscribe(self, topic: str) -> None:
        # It goes on listening to the channel: there are few, and they have other topics.
        self._topics.discard(topic)

    def reconnect(self) -> None:
        self._link.reconnect()

    # ---- between them and the link ----

    def _schedule(self) -> None:
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn = None
        link = self._link.current
        if link is None or link.sender is None or link.listener is None:
            # The next one hears of everything.
            self._outbox.clear()
            return
        if channels := self._confirmations.take_unasked():
            link.listener.ask(channels)
        if len(self._outbox):
            link.sender.wake()

    def _as_row(self) -> bool:
        return bool(self._polls) or asyncio.get_running_loop().time() < self._pollers_until

    def _heard_poller(self) -> None:
        self._pollers_until = asyncio.get_running_loop().time() + _POLLER_SECONDS

    def _lost(self, topics: Iterable[str] | None) -> None:
        if self._inbox.observer is not None:
            self._inbox.observer.lost(None if topics is None else tuple(topics))

    def _stands_still(self) -> None:
        link = self._link.current
        if link is not None:
            link.cut("the event loop of this node stood still")

    # ---- the connections ----

    async def _make_table(self) -> None:
        engine = postgres_engine(self._server, pool_size=1, timeout_ms=self._timeout_ms)
        worker = Worker(engine, "carrier-tables", 1, self._timeout_ms, _SUBJECT)
        worker.start()
        try:
            await worker.call(
                partial(
                    migrate,
                    prefix=self._prefix,
                    steps=STEPS,
                    types=TYPES["postgresql"],
                    timeout_ms=self._timeout_ms,
                    of=_SUBJECT,
                )
            )
        finally:
            await worker.close()

    async def _connect(self) -> PostgresLink:
        """Both connections, listening to every channel, and what was missed in the table handed over."""
        sending = await PostgresConnection.make(self._server, self._timeout_ms, _SUBJECT)
        try:
            listening = await PostgresConnection.make(self._server, self._timeout_ms, _SUBJECT)
        except BaseException:
            await sending.close()
            raise
        link = PostgresLink(sending, listening)
        try:
            if self._polls is None:
                self._polls = not await self._hears(sending, listening)
                self._packer.polls = self._polls
            await self._begin(link, polls=self._polls)
        except BaseException:
            await link.close()
            raise
        return link

    async def _begin(self, link: PostgresLink, *, polls: bool) -> None:
        self._packer.polls = polls
        if not polls:
            await _settle(link.sending, self._timeout_ms)
            await _settle(link.listening, self._timeout_ms)
        statements = Statements(self._prefix, prepare=not polls)
        listener = Listener(link.listening, statements, self._inbox, self._confirmations.confirm, polls=polls)
        self._confirmations.begin()
        channels = [channel_of(self._prefix, topic) for topic in self._topics]
        await listener.begin(channels, first=self._first)
        self._confirmations.confirm(channels)
        self._first = False
        sender = Sender(link.sending, statements, self._outbox, self._packer, self._id, self._as_row)
        link.start(sender, listener)
        listener.ask(self._confirmations.take_unasked())

    async def _hears(self, sending: PostgresConnection, listening: PostgresConnection) -> bool:
        """Whether notifications come: behind a pooler that changes connections they do not."""
        channel, arrived = f"{self._prefix}_p_{self._id.hex()}", asyncio.Event()
        listening.listen(lambda _channel, _text: arrived.set())
        await listening.execute(f'LISTEN "{channel}"'.encode())
        await sending.execute(b"SELECT pg_notify(%s, '')", (channel,))
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await arrived.wait()
        except TimeoutError:
            if self._mode == "notify":
                raise _SUBJECT.spec(
                    'adapter.postgres.mode = "notify", but a notification of PostgreSQL did not arrive within '
                    f'{_PROBE_SECONDS:g} s: connect to the server itself, not to a pooler, or set "poll"'
                ) from None
            listening.deaf()
            _log.warning(
                "notifications of PostgreSQL do not arrive, probably because of a pooler: nodes look into a table",
                remedy="connect database.postgres to the server itself, for a fifth of the delay",
            )
            return False
        return True


async def _settle(connection: PostgresConnection, timeout_ms: int) -> None:
    """What holds for a connection that is this node's alone."""
    settings = {
        "statement_timeout": timeout_ms,
        "lock_timeout": timeout_ms,
        # A payload that a crash of the database loses is one that no node has asked for since.
        "synchronous_commit": "off",
        # Each statement has an index that fits, also while the table was never analyzed.
        "enable_seqscan": "off",
        "jit": "off",
        # A node that is stopped is not to keep what the server has for it.
        "tcp_user_timeout": 6 * timeout_ms,
    }
    await connection.execute("; ".join(f"SET {name} = {value}" for name, value in settings.items()).encode())
