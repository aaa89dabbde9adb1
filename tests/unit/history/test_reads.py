"""Channels before their first message: told their place, found there again, and nothing of them is stored."""

from __future__ import annotations

import asyncio

from sockudo.base.stream_records import SEED_PLACE, Position
from sockudo.history import Failed, Replayed, Reset
from support.durable import APP, Durable, Held, UnrulyStore, refuse
from support.waiting import settle

RESET = Reset("news", "reset", "bad import", "ops@pier")
A_YEAR = 365 * 86_400


async def place(durable: Durable, channel: str = "news") -> Position:
    return (await durable.history.attach(APP, channel)).head


async def ask(durable: Durable, position: Position, channel: str = "news") -> Replayed | Failed:
    stream_id, serial = position
    return await durable.history.replay(APP, channel, stream_id=stream_id, serial=serial, max_size=100)


async def test_who_subscribes_makes_the_store_keep_nothing(durable: Durable) -> None:
    durable.store.names()
    places = [await place(durable, f"c{number}") for number in range(50)]
    assert [await place(durable, f"c{number}") for number in range(50)] == places
    assert {serial for _, serial in places} == {0}
    assert len({stream_id for stream_id, _ in places}) == 50
    assert set(durable.store.names()) == {"info"}
    assert list(durable.store.inner._streams) == [SEED_PLACE]
    assert durable.history._heads.get((APP, "c0")) == places[0]
    durable.history.closed(APP, "c0")
    assert durable.history._heads.get((APP, "c0")) is None


async def test_the_first_message_comes_behind_the_place_that_was_told(durable: Durable) -> None:
    start = await place(durable)
    assert await ask(durable, start) == Replayed([], start)
    assert await durable.say() == [Position(start.stream_id, 1)]
    outcome = await ask(durable, start)
    assert isinstance(outcome, Replayed)
    assert [frame.serial for frame in outcome.frames] == [1]
    assert outcome.head == Position(start.stream_id, 1)
    assert durable.changes == []


async def test_a_publish_while_another_client_subscribes_begins_the_stream_that_was_told(durable: Durable) -> None:
    """The seed was unknown for as long as it was looked up: the stream had a random id, and clients a false gap."""
    start = await place(durable)
    held = Held()
    # The first answer is for the channel, the second for the seed.
    durable.store.plan("info", None, held)
    other = asyncio.ensure_future(place(durable, "other"))
    await settle()
    published = durable.submit()
    await held.release()
    await other
    await published
    assert await place(durable) == Position(start.stream_id, 1)


async def test_the_place_outlives_a_restart_and_is_the_same_on_every_node() -> None:
    store = UnrulyStore()
    async with Durable(store) as one:
        start = await place(one)
    async with Durable(store) as two:
        # Before this process has heard of the channel at all.
        assert await two.say() == [Position(start.stream_id, 1)]
        assert isinstance(await ask(two, start), Replayed)


async def test_a_store_that_was_wiped_has_other_streams() -> None:
    store = UnrulyStore()
    async with Durable(store) as one:
        start, (last,) = await place(one, "quiet"), await one.say()
    store.inner._streams.clear()
    async with Durable(store) as two:
        assert (await place(two)).stream_id != last.stream_id
        await two.say(count=2)
        for position, channel in ((last, "news"), (start, "quiet")):
            outcome = await ask(two, position, channel)
            assert isinstance(outcome, Failed)
            assert outcome.code == "stream_reset"


async def test_a_store_that_is_wiped_while_it_is_in_use(durable: Durable) -> None:
    start, (last,) = await place(durable, "quiet"), await durable.say()
    durable.store.inner._streams.clear()
    [after] = await durable.say()
    assert after.stream_id != last.stream_id
    assert (await place(durable, "quiet")).stream_id != start.stream_id
    assert isinstance(await ask(durable, last), Failed)


async def test_the_id_of_a_stream_that_was_reset_does_not_come_back(durable: Durable) -> None:
    start = await place(durable)
    await durable.say(count=3)
    await durable.history.reset(APP, "news", RESET)
    afresh = await place(durable)
    assert afresh.stream_id != start.stream_id
    await durable.store.inner.expire(int(durable.time.time() + A_YEAR) * 1000, 1000)
    assert await place(durable) == afresh
    assert await durable.say() == [Position(afresh.stream_id, 1)]


async def test_a_reset_of_another_channel_changes_nothing_for_this_one(durable: Durable) -> None:
    start = await place(durable, "quiet")
    await durable.say()
    await durable.history.reset(APP, "news", RESET)
    assert await durable.say("quiet") == [Position(start.stream_id, 1)]


async def test_a_deleted_app_has_other_streams_when_there_is_one_of_its_id_again() -> None:
    store = UnrulyStore()
    async with Durable(store) as one:
        [last] = await one.say()
        await store.inner.delete_app(APP)
    async with Durable(store) as two:
        [again] = await two.say()
        assert again.stream_id != last.stream_id


async def test_a_seed_that_cannot_be_read_after_a_reset_costs_no_reset(durable: Durable) -> None:
    await durable.say()
    durable.store.plan("info", refuse())
    await durable.history.reset(APP, "news", RESET)
    assert (await durable.say("quiet"))[0].serial == 1
    assert (await place(durable, "quieter")).serial == 0


async def test_the_seed_is_no_stream_that_is_counted(durable: Durable) -> None:
    await durable.say()
    await durable.history.refresh_totals()
    assert {group.app_id for group in durable.history.totals} == {APP}
