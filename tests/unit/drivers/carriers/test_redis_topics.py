"""What is subscribed to on one connection after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from sockudo.drivers.carriers.redis_topics import RedisTopics, RedisWaiters
from sockudo.storage.redis_slots import slot_of
from sockudo.storage.redis_wire import RedisWire, pack


class FakeWire:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.take: Callable[[Any], None] = print

    def write(self, data: bytes) -> None:
        self.writes.append(data)


class World:
    """Topics on a connection, and what they have told."""

    def __init__(self, *, sharded: bool = False) -> None:
        self.arrived: list[tuple[str, bytes]] = []
        self.confirmed: list[str] = []
        self.astray: list[str] = []
        self.failures: list[str] = []
        self.topics = RedisTopics(
            "p:",
            sharded=sharded,
            arrived=lambda topic, payload: self.arrived.append((topic, payload)),
            confirmed=self.confirmed.extend,
            astray=self.astray.extend,
            failed=self.failures.append,
        )
        self.wire = FakeWire()

    def begin(self) -> None:
        self.wire = FakeWire()
        self.topics.begin(cast("RedisWire", self.wire))

    def answer(self, word: str, *topics: str) -> None:
        for topic in topics:
            self.wire.take([word.encode(), f"p:{topic}".encode(), 1])

    def message(self, topic: str, payload: bytes, word: bytes = b"message") -> None:
        self.wire.take([word, f"p:{topic}".encode(), payload])


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_turn_subscribes_and_leaves_together() -> None:
    world = World()
    world.begin()
    assert [world.topics.add(topic) for topic in ("a", "ü", "a")] == [False] * 3
    await turn()
    assert world.wire.writes == [pack(("subscribe", "p:a", "p:ü"))]
    world.answer("subscribe", "a")
    await turn()
    assert world.confirmed == ["a"]
    assert world.topics.add("a")
    assert not world.topics.add("ü")
    world.topics.discard("a")
    world.topics.discard("never")
    world.topics.add("b")
    await turn()
    assert world.wire.writes[1:] == [pack(("unsubscribe", "p:a")) + pack(("subscribe", "p:b"))]
    assert sorted(world.topics) == ["b", "ü"]


async def test_many_are_asked_for_in_batches() -> None:
    world = World()
    for number in range(2_500):
        world.topics.add(str(number))
    world.begin()
    [written] = world.wire.writes
    assert [written.count(head) for head in (b"*1001\r\n", b"*501\r\n")] == [2, 1]


async def test_only_what_is_wanted_is_heard() -> None:
    world = World()
    world.topics.add("a")
    world.begin()
    world.message("a", b"1")
    world.topics.discard("a")
    world.message("a", b"2")
    world.message("other", b"3")
    assert world.arrived == [("a", b"1")]


async def test_a_topic_that_comes_back_is_confirmed_by_the_last_answer() -> None:
    world = World()
    world.begin()
    for _ in range(2):
        world.topics.add("a")
        await turn()
        world.topics.discard("a")
        await turn()
    world.topics.add("a")
    await turn()
    for _ in range(2):
        world.answer("subscribe", "a")
        world.answer("unsubscribe", "a")
        await turn()
        assert world.confirmed == []
    world.answer("subscribe", "a")
    await turn()
    assert world.confirmed == ["a"]
    assert world.astray == []


async def test_what_is_left_and_wanted_within_a_turn_stays() -> None:
    world = World()
    world.topics.add("a")
    world.begin()
    world.answer("subscribe", "a")
    await turn()
    world.topics.discard("a")
    assert not world.topics.add("a")
    await turn()
    assert len(world.wire.writes) == 1
    assert world.confirmed == ["a", "a"]


async def test_a_new_connection_begins_with_everything() -> None:
    world = World()
    world.topics.add("a")
    world.begin()
    world.answer("subscribe", "a")
    world.topics.end()
    world.topics.add("b")
    world.topics.add("c")
    world.topics.discard("c")
    await turn()
    world.begin()
    assert world.wire.writes == [pack(("subscribe", "p:a", "p:b"))]
    assert not world.topics.add("a")


async def test_an_error_makes_the_connection_useless() -> None:
    world = World()
    world.begin()
    world.wire.take(Exception("NOPERM no"))
    assert world.failures == ["NOPERM no"]


async def test_pings_with_and_without_subscriptions() -> None:
    world = World()
    world.begin()
    first = world.topics.ping()
    assert world.topics.ping() is first
    world.wire.take(b"PONG")
    assert first.done()
    second = world.topics.ping()
    world.wire.take([b"pong", b""])
    assert second.done()
    third = world.topics.ping()
    world.topics.end()
    assert third.cancelled()


# ---- sharded ----


async def test_a_call_has_one_slot() -> None:
    world = World(sharded=True)
    world.begin()
    for topic in ("{x}1", "{y}1", "{x}2"):
        world.topics.add(topic)
    await turn()
    assert world.wire.writes == [pack(("ssubscribe", "p:{x}1", "p:{x}2")) + pack(("ssubscribe", "p:{y}1"))]
    world.message("{x}1", b"1", b"smessage")
    assert world.arrived == [("{x}1", b"1")]


async def test_an_end_that_was_not_asked_for_is_a_slot_that_moved() -> None:
    world = World(sharded=True)
    world.begin()
    for topic in ("a", "b"):
        world.topics.add(topic)
    await turn()
    world.answer("ssubscribe", "a", "b")
    await turn()
    world.topics.discard("b")
    await turn()
    world.answer("sunsubscribe", "b", "a", "a")
    assert world.astray == ["a"]
    # It may be asked for again, there or elsewhere.
    assert not world.topics.add("a")
    await turn()
    assert world.wire.writes[-1] == pack(("ssubscribe", "p:a"))


@pytest.mark.parametrize("confirmed", [True, False])
async def test_a_slot_that_is_elsewhere_takes_all_its_topics_along(confirmed: bool) -> None:
    world = World(sharded=True)
    world.begin()
    for topic in ("{x}1", "{x}2", "{y}1"):
        world.topics.add(topic)
    await turn()
    if confirmed:
        world.answer("ssubscribe", "{x}1", "{x}2")
    world.wire.take(Exception(f"MOVED {slot_of(b'x')} 10.0.0.1:7000"))
    assert sorted(world.astray) == ["{x}1", "{x}2"]
    assert world.failures == []


# ---- who waits ----


async def test_waits_end_with_the_confirmation() -> None:
    waiters = RedisWaiters()
    await waiters.wait("known", confirmed=True)
    one, two = (asyncio.ensure_future(waiters.wait("a", confirmed=False)) for _ in range(2))
    await turn()
    one.cancel()
    await turn()
    waiters.confirmed(["a", "b"])
    await two
    never = asyncio.ensure_future(waiters.wait("c", confirmed=False))
    await turn()
    waiters.forget("c")
    waiters.confirmed(["c"])
    await turn()
    assert not never.done()
    never.cancel()
