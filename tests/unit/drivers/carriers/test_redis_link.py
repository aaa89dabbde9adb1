"""Two connections that live and end together, with a server that answers as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
import pytest

from sockudo.drivers.carriers.redis_link import RedisLink
from sockudo.storage.redis_wire import RedisWire, RedisWireError
from support.virtual_time import in_virtual_time


class FakeServer:
    """Answers at once, unless it stands still or is away."""

    def __init__(self) -> None:
        self.role = b"master"
        self.refuses: dict[str, str] = {}
        self.still = False
        self.away = False
        self.confirms = True
        self.attempts: list[float] = []
        self.transports: list[FakeTransport] = []

    async def dial(self) -> tuple[RedisWire, RedisWire]:
        self.attempts.append(asyncio.get_running_loop().time())
        if self.away:
            raise RedisWireError("connection refused")
        return self._wire(), self._wire()

    def _wire(self) -> RedisWire:
        wire = RedisWire()
        transport = FakeTransport(self, wire)
        self.transports.append(transport)
        wire.connection_made(cast("asyncio.Transport", transport))
        return wire

    def cut(self) -> None:
        for transport in self.transports[-2:]:
            transport.wire.connection_lost(None)


class FakeTransport:
    """One end of a connection; what is written is answered in the next turn."""

    def __init__(self, server: FakeServer, wire: RedisWire) -> None:
        self.server = server
        self.wire = wire
        self.aborted = False
        self.channels: set[bytes] = set()
        self._reader = hiredis.Reader()

    def write(self, data: bytes) -> None:
        self._reader.feed(data)
        while (command := self._reader.gets()) is not False:
            asyncio.get_running_loop().call_soon(self._answer, command)

    def abort(self) -> None:
        self.aborted = True

    def say(self, *parts: bytes) -> None:
        if not self.aborted and not self.server.still:
            self.wire.data_received(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts))

    def _answer(self, command: list[bytes]) -> None:
        word, server = command[0].decode().upper(), self.server
        if server.still or self.aborted:
            return
        if word in server.refuses:
            self.wire.data_received(f"-{server.refuses[word]}\r\n".encode())
        elif word == "ROLE":
            self.say(server.role)
        elif word == "PING":
            self.say(b"pong", b"")
        elif word == "PUBLISH":
            self.wire.data_received(b":1\r\n")
            for transport in server.transports:
                if command[1] in transport.channels:
                    transport.say(b"message", *command[1:])
        else:
            for channel in command[1:]:
                (self.channels.add if word == "SUBSCRIBE" else self.channels.discard)(channel)
                if server.confirms or b":probe" in channel:
                    self.say(word.lower().encode(), channel, b"1")


class World:
    """A link to a server, and what it has told."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self.told: list[str] = []
        self.payloads: list[tuple[str, bytes]] = []
        self.link = RedisLink(self.server.dial, self, name="a server", prefix="p:", probe=lambda text: f"{text}:probe")

    def arrived(self, topic: str, payload: bytes) -> None:
        self.payloads.append((topic, payload))

    def link_up(self, link: RedisLink) -> None:
        self.told.append("up")

    def link_down(self, link: RedisLink, reason: str, unanswered: set[str]) -> None:
        self.told.append(reason)

    def confirmed(self, topics: Sequence[str]) -> None:
        self.told += [f"+{topic}" for topic in topics]

    def astray(self, link: RedisLink, topics: Sequence[str]) -> None:
        self.told += [f"?{topic}" for topic in topics]

    def refused(self, link: RedisLink, error: str, topic: str, payload: bytes) -> None:
        self.told.append(error)

    def overflowed(self, topics: Sequence[str] | None) -> None:
        self.told.append("overflow")


@in_virtual_time
async def test_a_payload_makes_its_way() -> None:
    world = World()
    await world.link.open()
    world.link.add("a")
    await asyncio.sleep(0.1)
    assert world.link.outbox.publish("a", b"1")
    await asyncio.sleep(0.1)
    assert world.payloads == [("a", b"1")]
    assert world.told == ["up", "+a"]
    await world.link.close()
    assert all(transport.aborted for transport in world.server.transports)
    assert not world.link.outbox.publish("a", b"2")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda server: setattr(server, "role", b"slave"), "it is a replica, and what is published there reaches"),
        (lambda server: server.refuses.update(ROLE="NOPERM no"), "the user may not ask for its ROLE: NOPERM"),
        (lambda server: server.refuses.update(PUBLISH="NOPERM no"), "may not SUBSCRIBE and PUBLISH channels that"),
        (lambda server: server.refuses.update(SUBSCRIBE="ERR unknown command 'x'"), "it does not know SUBSCRIBE"),
        (lambda server: setattr(server, "still", True), "no answer within 5 s"),
        (lambda server: setattr(server, "away", True), "connection refused"),
    ],
)
def test_what_cannot_be_used(change: Callable[[FakeServer], Any], problem: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world = World()
        change(world.server)
        with pytest.raises(RedisWireError) as told:
            await world.link.open()
        assert problem in str(told.value)
        assert all(transport.aborted for transport in world.server.transports)
        assert world.told == []

    run()


@in_virtual_time
async def test_it_is_up_when_everything_is_confirmed() -> None:
    world = World()
    for topic in "abc":
        world.link.add(topic)
    world.server.confirms = False
    opening = asyncio.ensure_future(world.link.open())
    await asyncio.sleep(1)
    listener = world.server.transports[1]
    listener.say(b"subscribe", b"p:a", b"1")
    await asyncio.sleep(3)
    listener.say(b"subscribe", b"p:b", b"1")
    await asyncio.sleep(3)
    assert not opening.done()
    # What is not wanted any more is not waited for.
    world.link.discard("c")
    await opening
    assert world.told == ["+a", "+b", "up"]
    await world.link.close()


@in_virtual_time
async def test_it_is_not_up_when_nothing_more_is_heard() -> None:
    world = World()
    world.link.add("a")
    world.server.confirms = False
    with pytest.raises(RedisWireError, match="it sent nothing for 5 s"):
        await world.link.open()


@in_virtual_time
async def test_connections_that_stand_still_are_given_up() -> None:
    world = World()
    await world.link.open()
    await asyncio.sleep(60)
    assert world.told == ["up"]
    world.server.still = True
    await asyncio.sleep(11)
    assert world.told == ["up", "it sent nothing for 5 s"]
    world.server.still = False
    await asyncio.sleep(15)
    assert world.told[-1] == "up"
    await world.link.close()


@in_virtual_time
async def test_a_slow_listener_is_not_given_up_while_it_hears_something() -> None:
    world = World()
    world.link.add("a")
    await world.link.open()
    listener = world.server.transports[1]
    original = listener._answer
    listener._answer = lambda command: None if command == [b"PING"] else original(command)  # type: ignore[method-assign]
    for _ in range(10):
        await asyncio.sleep(3)
        listener.say(b"message", b"p:a", b"backlog")
    assert world.told == ["+a", "up"]
    listener.say(b"pong", b"")
    await asyncio.sleep(3)
    assert world.told == ["+a", "up"]
    await world.link.close()


@in_virtual_time
async def test_a_master_that_is_one_no_longer() -> None:
    world = World()
    await world.link.open()
    world.server.role = b"slave"
    await asyncio.sleep(6)
    assert world.told[1].startswith("it is a replica")
    world.server.role = b"master"
    await asyncio.sleep(15)
    assert world.told[-1] == "up"
    await world.link.close()


@in_virtual_time
async def test_attempts_are_spread_and_begin_at_once() -> None:
    world = World()
    await world.link.open()
    await asyncio.sleep(20)
    world.server.away = True
    world.server.attempts.clear()
    world.server.cut()
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(60)
    first, *later = (at - now for at in world.server.attempts)
    assert first < 0.01
    assert 0.3 < later[0] < 0.7
    assert 8 <= len(later) <= 12
    # What asks for it has not to wait.
    world.server.away = False
    world.link.reconnect("the Sentinels named another master")
    await asyncio.sleep(0.01)
    assert world.told[-1] == "up"
    await world.link.close()


@in_virtual_time
async def test_connections_that_end_again_and_again_are_not_made_at_once() -> None:
    world = World()
    await world.link.open()
    for _ in range(20):
        if world.link.up:
            world.server.cut()
        await asyncio.sleep(0.5)
    assert len(world.server.attempts) < 10
    await asyncio.sleep(30)
    world.server.cut()
    await asyncio.sleep(0.01)
    assert world.link.up
    await world.link.close()


@in_virtual_time
async def test_a_subscription_that_is_refused_ends_the_connections() -> None:
    world = World()
    await world.link.open()
    world.server.refuses["SUBSCRIBE"] = "NOPERM no"
    world.link.add("a")
    await asyncio.sleep(0.1)
    assert world.told == ["up", "it refused a subscription: NOPERM"]
    await world.link.close()
