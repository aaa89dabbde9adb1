"""Delivering in the order of serials what several nodes store: what comes early waits, for others or for the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from sockudo import errors
from sockudo.base.stream_records import Position
from sockudo.errors import SockudoError
from sockudo.history import Failed
from sockudo.history import sequencer as module
from support.durable import APP, Durable, Held, lose, refuse
from support.waiting import settle

Pair = tuple[Durable, Durable]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A node that publishes, and one over the same store with a subscriber."""
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(Durable(write_timeout=5.0))
        here = await stack.enter_async_context(Durable(other.store, other.time, write_timeout=5.0))
        await here.history.attach(APP, "news")
        yield other, here


def offer(here: Durable, position: Position, name: str, size: int = 10) -> None:
    """A message of the other node comes over the bus, and is delivered under a name that tells so."""
    message_id = f"m{position.serial}"
    here.history.offer(APP, "news", position, message_id, size, lambda place: here.delivered.append((name, place)))


def names(node: Durable) -> list[str]:
    return [name for name, _ in node.delivered]


async def test_a_message_that_comes_next_is_delivered_at_once(pair: Pair) -> None:
    other, here = pair
    for number, position in enumerate(await other.say(count=3)):
        offer(here, position, f"bus{number}")
    assert names(here) == ["bus0", "bus1", "bus2"]
    here.store.names()
    await here.time.elapse(10)
    assert "read" not in here.store.names()


async def test_one_that_comes_early_waits_and_the_store_is_not_asked_when_the_others_come(pair: Pair) -> None:
    other, here = pair
    first, second, third = await other.say(count=3)
    for position in (third, second, third):
        offer(here, position, f"bus{position.serial}")
    assert names(here) == []
    here.store.names()
    await here.time.elapse(0.2)
    offer(here, first, "bus1")
    assert names(here) == ["bus1", "bus2", "bus3"]
    await here.time.elapse(10)
    assert "read" not in here.store.names()


async def test_what_does_not_come_is_read_after_a_quarter_of_a_second(pair: Pair) -> None:
    other, here = pair
    offer(here, (await other.say(count=3))[2], "bus3")
    await here.time.elapse(0.24)
    assert names(here) == []
    await here.time.elapse(0.02)
    assert names(here) == ["m1", "m2", "bus3"]
    assert here.changes == []


async def test_what_was_delivered_is_dropped(pair: Pair) -> None:
    other, here = pair
    positions = await other.say(count=2)
    await here.history.catch_up(APP, "news", positions[1])
    for position in positions:
        offer(here, position, "again")
    await here.time.elapse(10)
    assert names(here) == ["m1", "m2"]


async def test_a_message_of_another_node_waits_for_the_commit_that_is_under_way(pair: Pair) -> None:
    """Also where nothing is known of the channel: the one that is being stored comes first."""
    other, here = pair
    here.history.forget(APP, "news")
    held = Held()
    here.store.plan("commit", None, held)
    [first] = await other.say()
    stored = here.submit(message_id="own")
    await settle()
    offer(here, first._replace(serial=3), "bus3")
    assert names(here) == []
    await held.release()
    assert (await stored).position.serial == 2
    assert names(here) == ["own", "bus3"]
    assert here.changes == []


async def test_the_publisher_is_answered_before_what_waits_is_delivered(pair: Pair) -> None:
    other, here = pair
    await other.say(count=2)
    assert (await here.submit(message_id="own")).position.serial == 3
    assert names(here) == []
    await here.time.elapse(0.25)
    assert names(here) == ["m1", "m2", "own"]


async def test_a_store_that_cannot_be_read_leaves_a_hole_that_is_announced_after_seconds(pair: Pair) -> None:
    other, here = pair
    await other.say(count=2)
    position = (await here.submit(message_id="own")).position
    here.store.plan("read", *[refuse()] * 20)
    for _ in range(4):
        await here.time.elapse(1)
    assert (names(here), here.changes) == ([], [])
    for _ in range(4):
        await here.time.elapse(1)
    assert names(here) == ["own"]
    assert here.changes == [("news", position._replace(serial=2))]
    here.store.obey()
    assert await here.say() == [position._replace(serial=4)]
    assert len(here.changes) == 1


async def test_a_store_that_answers_in_time_leaves_none(pair: Pair) -> None:
    other, here = pair
    await other.say(count=2)
    await here.submit(message_id="own")
    here.store.plan("read", refuse(), refuse())
    for _ in range(3):
        await here.time.elapse(1)
    assert names(here) == ["m1", "m2", "own"]
    assert here.changes == []


async def test_what_finds_no_place_to_wait_is_read_in_its_turn(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    other, here = pair
    positions = await other.say(count=4)
    monkeypatch.setattr(module, "_MAX_WAITING", 1)
    monkeypatch.setattr(module, "_MAX_WAITING_BYTES", 20)
    offer(here, positions[1], "large", size=21)
    for position in positions[2:]:
        offer(here, position, f"bus{position.serial}")
    await here.time.elapse(0.25)
    assert names(here) == ["m1", "m2", "bus3", "m4"]


async def test_a_message_that_others_stored_and_took_back_is_passed_over(pair: Pair) -> None:
    other, here = pair
    await other.say(count=3)
    here.store.inner._streams[APP, "news"].retract({2})
    await here.history.catch_up(APP, "news")
    assert names(here) == ["m1", "m3"]
    assert here.changes == []


async def test_a_delivery_that_fails_stops_no_other(pair: Pair) -> None:
    other, here = pair

    def broken(_: Position) -> None:
        raise RuntimeError("a defect")

    first, second = await other.say(count=2)
    here.history.offer(APP, "news", first, "m1", 10, broken)
    offer(here, second, "bus2")
    assert names(here) == ["bus2"]


async def test_a_channel_that_nobody_here_knows_begins_with_what_is_told(pair: Pair) -> None:
    other, here = pair
    positions = await other.say(count=5)
    here.history.forget(APP, "news")
    await here.history.catch_up(APP, "news", positions[3])
    assert names(here) == ["m4", "m5"]
    here.history.forget(APP, "news")
    await here.history.catch_up(APP, "news")
    assert names(here) == ["m4", "m5"]
    offer(here, (await other.say())[0], "bus6")
    assert names(here) == ["m4", "m5", "bus6"]


async def test_an_own_message_that_waits_goes_to_other_nodes_when_the_last_subscriber_here_has_gone(pair: Pair) -> None:
    other, here = pair
    await other.say()
    own = here.submit(message_id="own")
    assert (await own).position.serial == 2
    assert names(here) == []
    here.history.forget(APP, "news")
    assert here.delivered == [("own", own.result().position)]
    await here.time.elapse(10)
    assert names(here).count("own") == 1


async def test_a_degraded_stream_is_not_read_on(pair: Pair) -> None:
    other, here = pair
    await other.say()
    here.store.plan("commit", lose(done=True))
    here.store.plan("info", *[refuse()] * 3)
    with pytest.raises(SockudoError):
        await here.submit(message_id="own")
    with pytest.raises(SockudoError) as refused:
        await here.history.catch_up(APP, "news")
    assert refused.value.spec is errors.HISTORY_DEGRADED
    assert names(here) == []
    for _ in range(3):
        await here.time.elapse(5)
    await here.history.catch_up(APP, "news")
    assert names(here) == ["m1"]


async def test_catching_up_at_once_reads_once(pair: Pair) -> None:
    other, here = pair
    positions = await other.say(count=5)
    here.store.names()
    await asyncio.gather(*(here.history.catch_up(APP, "news", position) for position in positions))
    assert here.store.names() == ["read"]
    assert names(here) == ["m1", "m2", "m3", "m4", "m5"]


async def test_a_recovery_whose_messages_cannot_be_delivered_here_fails(pair: Pair) -> None:
    """Else they came a second time, live."""
    other, here = pair
    [first, _] = await other.say(count=2)
    here.store.plan("read", None, refuse())
    outcome = await here.history.replay(APP, "news", stream_id=first.stream_id, serial=1, max_size=10)
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.reason) == ("persistence_unavailable", "durable_history_read_failed")


async def test_closing_gives_up_what_waits(pair: Pair) -> None:
    other, here = pair
    await other.say(count=2)
    await here.submit(message_id="own")
    await here.__aexit__()
    await here.time.elapse(10)
    assert names(here) == []
