"""What is published on one connection after the other, in order and within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from sockudo.drivers.carriers.redis_outbox import RedisOutbox
from sockudo.storage.redis_wire import RedisWire, RedisWireError, pack


class FakeWire:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.take: Callable[[Any], None] = print

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    @property
    def sent(self) -> int:
        return b"".join(self.writes).count(b"PUBLISH")


class World:
    """An outbox on a connection, and what it has told."""

    def __init__(self, command: str = "PUBLISH") -> None:
        self.refused: list[tuple[str, str, bytes]] = []
        self.overflows: list[Sequence[str] | None] = []
        self.outbox = RedisOutbox(
            "p:", command, refused=lambda *told: self.refused.append(told), overflowed=self.overflows.append
        )
        self.wire = FakeWire()

    def begin(self) -> None:
        self.outbox.begin(cast("RedisWire", self.wire))

    def answer(self, *replies: Any) -> None:
        for reply in replies:
            self.wire.take(reply)


async def turn() -> None:
    await asyncio.sleep(0)


async def test_payloads_of_a_turn_are_one_write() -> None:
    world = World()
    world.begin()
    assert world.outbox.publish("a", b"1")
    assert world.outbox.publish("ü", b"\r\n")
    assert world.wire.writes == []
    await turn()
    assert world.wire.writes == [pack(("PUBLISH", "p:a", b"1")) + pack(("PUBLISH", "p:ü", b"\r\n"))]


async def test_without_a_connection_nothing_is_taken() -> None:
    world = World()
    assert not world.outbox.publish("a", b"1")
    with pytest.raises(RedisWireError):
        await world.outbox.ask("ROLE")
    world.begin()
    await turn()
    assert world.wire.writes == []


async def test_a_question_stands_among_the_payloads() -> None:
    world = World()
    world.begin()
    world.outbox.publish("a", b"1")
    await turn()
    role, failed, given_up = (world.outbox.ask("ROLE") for _ in range(3))
    world.outbox.publish("a", b"2")
    await turn()
    given_up.cancel()
    world.answer(3, [b"master"], Exception("NOPERM no"), [b"late"], Exception("READONLY no"))
    assert await role == [b"master"]
    with pytest.raises(RedisWireError, match="NOPERM"):
        await failed
    assert world.refused == [("READONLY no", "a", b"2")]
    # Nothing was asked: it is no answer to anything.
    world.answer(1)


async def test_only_a_window_is_on_the_way() -> None:
    world = World()
    world.begin()
    for number in range(30_000):
        world.outbox.publish("a", b"%d" % number)
    await turn()
    assert world.wire.sent == 20_000
    world.answer(*[1] * 5_000)
    await turn()
    # A little more, as it goes in chunks.
    assert 25_000 <= world.wire.sent < 30_000
    assert world.outbox.dropped == 0


async def test_past_the_bound_the_oldest_go() -> None:
    world = World()
    world.begin()
    for number in range(75_000):
        world.outbox.publish(f"c:{number % 2}", b"%d" % number)
    await turn()
    assert world.outbox.dropped == 5_000
    assert sorted(world.overflows[0] or ()) == ["c:0", "c:1"]
    while world.wire.sent < 70_000:
        world.answer(*[1] * 10_000)
        await turn()
    joined = b"".join(world.wire.writes)
    assert b"\r\n20000\r\n" not in joined
    assert b"\r\n24999\r\n" not in joined
    assert joined.endswith(b"\r\n74999\r\n")


async def test_a_long_payload_goes_alone() -> None:
    world = World()
    world.begin()
    world.outbox.publish("a", b"x" * 8_000_000)
    world.outbox.publish("a", b"y" * 8_000_000)
    await turn()
    assert world.wire.sent == 1
    world.answer(1)
    await turn()
    assert world.wire.sent == 2
    assert world.outbox.dropped == 0


async def test_the_end_names_what_has_no_answer() -> None:
    world = World()
    world.begin()
    for topic in ("answered", "sent"):
        world.outbox.publish(topic, b"1")
    await turn()
    role = world.outbox.ask("ROLE")
    world.answer(1)
    world.outbox.publish("waiting", b"1")
    assert world.outbox.end() == {"sent", "waiting"}
    with pytest.raises(RedisWireError, match="the connection was lost"):
        await role
    world.begin()
    await turn()
    assert world.wire.sent == 2


async def test_draining_waits_for_answers() -> None:
    world = World("SPUBLISH")
    world.begin()
    await world.outbox.drain(1)
    world.outbox.publish("a", b"1")
    draining = asyncio.ensure_future(world.outbox.drain(1))
    await turn()
    assert world.wire.sent == 1
    assert not draining.done()
    world.answer(1)
    await draining
    world.outbox.publish("a", b"1")
    # It takes no longer than it may.
    await world.outbox.drain(0.001)
