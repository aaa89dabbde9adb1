"""Carriers for the contract suites: where each comes from, and how its connection is cut."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import tempfile
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from sockudo.cluster.carrier import Carrier, CarrierObserver
from sockudo.config.sections.databases import AdapterPostgres
from sockudo.drivers.carriers.mesh import MeshCarrier, mesh_carrier
from sockudo.drivers.carriers.nats import NatsCarrier
from sockudo.drivers.carriers.postgres import PostgresCarrier
from support.databases import DatabaseServer
from support.nats import nats_server

__all__ = ["CARRIERS", "Broker", "Heard", "MemoryBroker", "MemoryCarrier", "MeshBroker", "broker_of", "cut_connection"]


class Heard:
    """A `CarrierObserver` that writes down what it is told."""

    def __init__(self) -> None:
        self.payloads: list[tuple[str, bytes]] = []
        self.links: list[str] = []
        self.losses: list[Sequence[str] | None] = []
        self.ended: list[Sequence[str]] = []
        self._changed = asyncio.Event()

    def arrived(self, topic: str, payload: bytes) -> None:
        self.payloads.append((topic, payload))
        self._changed.set()

    def connected(self) -> None:
        self.links.append("up")
        self._changed.set()

    def disconnected(self, reason: str) -> None:
        assert reason
        self.links.append("down")
        self._changed.set()

    def lost(self, topics: Sequence[str] | None) -> None:
        self.losses.append(topics)
        self._changed.set()

    def gone(self, topics: Collection[str]) -> None:
        self.ended.append(sorted(topics))
        self._changed.set()

    async def until(self, condition: Callable[[Heard], bool], seconds: float = 10) -> None:
        """Waits until the condition holds; `TimeoutError` says what was heard instead."""
        try:
            async with asyncio.timeout(seconds):
                while not condition(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            last = [(topic, payload[:80]) for topic, payload in self.payloads[-5:]]
            raise TimeoutError(f"heard {last}, links {self.links}, losses {self.losses}") from None


class Broker(Protocol):
    """What the carriers of one test have in common."""

    def carrier(self) -> Carrier:
        """A new carrier, not opened yet."""
        ...

    async def cut(self, carrier: Carrier) -> None:
        """Ends the connection of an open carrier from outside; it can be made again at once."""
        ...

    async def close(self) -> None: ...


class MemoryBroker:
    """A broker inside the process: every payload arrives a turn of the loop after it was published.

    Its carriers know what others want when it is ``knowing``.
    """

    def __init__(self, *, knowing: bool = True) -> None:
        self.knowing = knowing
        self.subscribers: defaultdict[str, list[MemoryCarrier]] = defaultdict(list)

    def carrier(self) -> MemoryCarrier:
        return MemoryCarrier(self)

    async def cut(self, carrier: Carrier) -> None:
        assert isinstance(carrier, MemoryCarrier)
        carrier.reconnect()

    async def close(self) -> None:
        """Nothing is left behind."""


class MemoryCarrier:
    """A carrier on a `MemoryBroker`. ``published`` are the topics of what it was given, in their order."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.name = "a broker inside the process"
        self.max_payload = 8 * 1024 * 1024
        self.dropped = 0
        # What it publishes reaches nobody, itself included.
        self.mute = False
        # What it publishes reaches itself alone.
        self.apart = False
        self.published: list[str] = []
        self._broker = broker
        self._topics: set[str] = set()
        self._observer: CarrierObserver | None = None
        self._inbox: deque[tuple[str, bytes]] = deque()
        self._handle: asyncio.Handle | None = None

    async def open(self, observer: CarrierObserver) -> None:
        self._observer = observer
        observer.connected()

    async def close(self) -> None:
        for topic in tuple(self._topics):
            self.unsubscribe(topic)
        self._observer = None

    def publish(self, topic: str, payload: bytes) -> None:
        self.published.append(topic)
        if self._observer is not None and not self.mute:
            for carrier in tuple(self._broker.subscribers.get(topic, ())):
                if carrier is self or not self.apart:
                    carrier.put(topic, payload)

    def put(self, topic: str, payload: bytes) -> None:
        """Takes what the broker hands over."""
        self._inbox.append((topic, payload))
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._handle = None
        waiting, self._inbox = self._inbox, deque()
        for topic, payload in waiting:
            if self._observer is not None and topic in self._topics:
                self._observer.arrived(topic, payload)

    async def _confirmed(self) -> None:
        await asyncio.sleep(0)

    def subscribe(self, topic: str) -> Awaitable[None]:
        if topic not in self._topics:
            self._topics.add(topic)
            self._broker.subscribers[topic].append(self)
        return self._confirmed()

    def unsubscribe(self, topic: str) -> None:
        if topic in self._topics:
            self._topics.discard(topic)
            self._broker.subscribers[topic].remove(self)

    @property
    def interested(self) -> Callable[[str], bool] | None:
        return self._knows if self._broker.knowing else None

    def _knows(self, topic: str) -> bool:
        return any(carrier is not self for carrier in self._broker.subscribers.get(topic, ()))

    def reconnect(self) -> None:
        self._inbox.clear()
        if self._observer is not None:
            self._observer.disconnected("it was cut")
            self._observer.connected()


class NatsBroker:
    """A NATS server of its own."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.server = self._stack.enter_context(nats_server())

    def carrier(self) -> NatsCarrier:
        return NatsCarrier(self.server.settings)

    async def cut(self, carrier: Carrier) -> None:
        assert isinstance(carrier, NatsCarrier)
        cut_connection(carrier)

    async def close(self) -> None:
        self._stack.close()


def cut_connection(carrier: NatsCarrier) -> None:
    """Ends what the carrier has with its server, as a network does."""
    connection = carrier._link.current
    assert connection is not None
    assert connection._transport is not None
    descriptor = connection._transport.get_extra_info("socket").fileno()
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        copy.shutdown(socket.SHUT_RDWR)


class PostgresBroker:
    """Tables and channels of their own in the database server of the run."""

    def __init__(self, request: pytest.FixtureRequest, *, mode: str) -> None:
        self.server: DatabaseServer = request.getfixturevalue("postgres")
        self.settings = AdapterPostgres(f"test_{secrets.token_hex(4)}", mode)

    def carrier(self) -> PostgresCarrier:
        return PostgresCarrier(self.server.postgres, self.settings)

    async def cut(self, carrier: Carrier) -> None:
        assert isinstance(carrier, PostgresCarrier)
        link = carrier._link.current
        assert link is not None
        pid = link.listening._connection.info.backend_pid
        self.server.execute(f"SELECT pg_terminate_backend({pid})")

    async def close(self) -> None:
        self.server.execute(*(f"DROP TABLE {self.settings.prefix}_{name}" for name in ("items", "migrations")))


class MeshBroker:
    """A run directory; what is cut are the sockets of one worker's links."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mesh-")

    def carrier(self) -> Carrier:
        return mesh_carrier(Path(self._folder.name))

    async def cut(self, carrier: Carrier) -> None:
        assert isinstance(carrier, MeshCarrier)
        for link in tuple(carrier._links.values()):
            link.abort()

    async def close(self) -> None:
        assert not list(Path(self._folder.name).iterdir()), "sockets are left"
        self._folder.cleanup()


CARRIERS: dict[str, Callable[[pytest.FixtureRequest], Broker]] = {
    "memory": lambda _: MemoryBroker(),
    "mesh": lambda _: MeshBroker(),
    "nats": lambda _: NatsBroker(),
    "postgres": partial(PostgresBroker, mode="notify"),
    "postgres-polled": partial(PostgresBroker, mode="poll"),
}
"""What makes a broker for one test, by the name of the driver."""


def broker_of(kind: str, request: pytest.FixtureRequest) -> Broker:
    """A broker of one of `CARRIERS`."""
    return CARRIERS[kind](request)
