"""Nodes joined by NATS: core subjects, without JetStream.

One connection, over which a node hears its own payloads, too: their absence shows that it is deaf. A server confirms a
subscription before the routes to the other servers of its cluster know of it, so across servers a payload that is
published in that moment may be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Iterable
from itertools import islice
from typing import Final

import structlog

from sockudo import errors
from sockudo.cluster.carrier import CarrierObserver
from sockudo.config import Settings
from sockudo.config.sections.nats import AdapterNats
from sockudo.drivers.carriers.confirmations import Confirmations
from sockudo.drivers.carriers.links import KeptLink
from sockudo.drivers.carriers.nats_connection import NatsConnection
from sockudo.drivers.carriers.nats_login import NatsLogin, NatsServer
from sockudo.drivers.carriers.nats_wire import publish_line, subject_of
from sockudo.drivers.carriers.outbox import Outbox
from sockudo.drivers.carriers.parts import OVERHEAD, Joiner, Splitter

__all__ = ["NatsCarrier", "nats_carrier"]

_MAX_PAYLOAD: Final = 8 * 1024 * 1024
# What is made into lines at a time, in bytes.
_SLICE: Final = 256 * 1024
# Of topics, except that of all nodes, which would hear the attempt.
_KINDS: Final = ("c", "u", "w", "n")
_MAX_SERVERS: Final = 100
_CLOSE_SECONDS: Final = 1.0

_log = structlog.get_logger("sockudo.cluster")


def nats_carrier(settings: Settings) -> NatsCarrier:
    """The carrier of ``adapter.driver = "nats"``, not opened yet."""
    return NatsCarrier(settings.adapter.nats)


class NatsCarrier:
    """A `Carrier` on the servers of ``adapter.nats``."""

    def __init__(self, settings: AdapterNats) -> None:
        self._settings = settings
        self._servers = [NatsServer.of(address, tls=settings.tls.enabled) for address in settings.servers]
        self._configured = frozenset(self._servers)
        # So that not all nodes are with the first one.
        random.shuffle(self._servers)
        self._observer: CarrierObserver | None = None
        self._link = KeptLink(self.name, self._connect)
        self._outbox = Outbox(self._lost)
        self._splitter = Splitter()
        self._joiner = Joiner()
        self._last_sid = 0
        self._sids: dict[str, bytes] = {}
        self._topics: dict[bytes, str] = {}
        self._subjects: dict[str, bytes] = {}
        self._confirmations = Confirmations()
        self._turn: asyncio.Handle | None = None

    max_payload = _MAX_PAYLOAD
    interested = None

    @property
    def name(self) -> str:
        return f"nats at {', '.join(server.place for server in sorted(self._configured))}"

    @property
    def dropped(self) -> int:
        return self._outbox.dropped

    async def open(self, observer: CarrierObserver) -> None:
        self._observer = observer
        await self._link.open(observer)

    async def close(self) -> None:
        link = self._link.current
        if link is not None:
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    while len(self._outbox):
                        self._send(link)
                        await link.flush()
                    await link.flush()
        self._observer = None
        await self._link.close()

    def publish(self, topic: str, payload: bytes) -> None:
        if self._link.current is not None and self._observer is not None:
            self._outbox.add(topic, payload)
            self._schedule()

    def subscribe(self, topic: str) -> Awaitable[None]:
        if topic not in self._sids:
            self._last_sid += 1
            sid = b"%d" % self._last_sid
            self._sids[topic] = sid
            self._topics[sid] = topic
            self._subjects[topic] = subject_of(self._settings.prefix, topic)
            self._schedule()
        return self._confirmations.ask(topic, connected=self._link.current is not None)

    def unsubscribe(self, topic: str) -> None:
        sid = self._sids.pop(topic, None)
        if sid is None:
            return
        del self._topics[sid], self._subjects[topic]
        if self._confirmations.forget(topic) and self._link.current is not None:
            self._link.current.write(b"UNSUB %b\r\n" % sid)

    def reconnect(self) -> None:
        self._link.reconnect()

    # ---- sending ----

    def _schedule(self) -> None:
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._send_turn)

    def _send_turn(self) -> None:
        self._turn = None
        link = self._link.current
        if link is None:
            # The next one subscribes to everything.
            self._outbox.clear()
            return
        if names := self._confirmations.take_unasked():
            self._subscribe(link, names).add_done_callback(lambda done: self._subscribed(link, names, done))
        self._send(link)

    def _send(self, link: NatsConnection) -> None:
        while len(self._outbox) and link.has_room:
            lines: list[bytes] = []
            for topic, payload in self._outbox.take(_SLICE):
                subject = self._subjects.get(topic) or subject_of(self._settings.prefix, topic)
                lines += [publish_line(subject, part) for part in self._splitter.split(payload, link.max_payload)]
            link.write(b"".join(lines))

    def _subscribe(self, link: NatsConnection, names: Iterable[str]) -> asyncio.Future[None]:
        link.write(b"".join(b"SUB %b %b\r\n" % (self._subjects[name], self._sids[name]) for name in names))
        return link.flush()

    def _subscribed(self, link: NatsConnection, names: list[str], done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is None and link is self._link.current:
            self._take_confirmed(names)

    def _take_confirmed(self, names: Iterable[str]) -> None:
        self._confirmations.confirm(name for name in names if name in self._sids)

    # ---- the connection ----

    async def _connect(self) -> NatsConnection:
        """The first server that lets this node in, with everything subscribed to and confirmed."""
        # Read anew each time: credentials are replaced while a node runs.
        login = NatsLogin(self._settings)
        problem = errors.SERVICE_UNAVAILABLE("NATS has no servers")
        for _ in range(len(self._servers)):
            # The next attempt begins with the next one.
            server = self._servers.pop(0)
            self._servers.append(server)
            try:
                return await self._log_in(server, login)
            except errors.SockudoError as error:
                problem = error
        raise problem

    async def _log_in(self, server: NatsServer, login: NatsLogin) -> NatsConnection:
        timeout_ms, silence_ms = self._settings.connection_timeout_ms, self._settings.request_timeout_ms
        link = await NatsConnection.make(server, self, login, timeout_ms=timeout_ms, silence_ms=silence_ms)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                unused = os.urandom(16).hex()
                await link.probe(subject_of(self._settings.prefix, f"{kind}:{unused}") for kind in _KINDS)
                if link.refused:
                    raise errors.SERVICE_UNAVAILABLE(
                        f"NATS at {server.place} does not let this user publish and subscribe to "
                        f"'{self._settings.prefix.rstrip('.')}.>': allow it there, or correct adapter.nats.prefix"
                    )
                if link.max_payload <= 2 * OVERHEAD:
                    raise errors.SERVICE_UNAVAILABLE(
                        f"NATS at {server.place} takes payloads of {link.max_payload} bytes only: raise its max_payload"
                    )
                self._joiner = Joiner()
                self._confirmations.begin(self._sids)
                while names := self._confirmations.take_unasked():
                    await self._subscribe(link, names)
                    self._take_confirmed(names)
        except (TimeoutError, ConnectionError) as error:
            await link.close()
            raise errors.SERVICE_UNAVAILABLE(f"NATS at {server.place} was lost while nodes subscribed") from error
        except BaseException:
            await link.close()
            raise
        return link

    def on_servers(self, sender: NatsServer, addresses: Iterable[str]) -> None:
        """Takes the servers of the cluster, to connect to another one when this one is lost."""
        listed: dict[NatsServer, None] = {}
        for address in islice(addresses, _MAX_SERVERS):
            with contextlib.suppress(ValueError):
                listed[NatsServer.of(address, tls=sender.tls, name=sender.name)] = None
        known = [server for server in self._servers if server in self._configured or server in listed]
        self._servers = [*known, *(server for server in listed if server not in known)]

    def on_room(self) -> None:
        """Goes on sending."""
        self._schedule()

    def on_message(self, sid: bytes, payload: bytes) -> None:
        """Takes what a server sends."""
        topic, observer = self._topics.get(sid), self._observer
        if topic is None or observer is None:
            return
        joined = self._joiner.join(topic, payload)
        if joined.lost:
            observer.lost(joined.lost)
        if joined.payload is not None:
            observer.arrived(topic, joined.payload)

    def _lost(self, topics: Iterable[str] | None) -> None:
        if self._observer is not None:
            self._observer.lost(None if topics is None else tuple(topics))
