"""Subscribing to durable channels, operators' work on them, and what goes by itself."""

from __future__ import annotations

import asyncio

import pytest

from sockudo import errors
from sockudo.base.stream_records import SEED_PLACE, Position, Retention
from sockudo.errors import SockudoError
from sockudo.history import Purge, Reset, http_query
from sockudo.hub.streams.totals import Group
from support.durable import APP, NOW_MS, Durable, Held, UnrulyStore, failure, lose, refuse
from support.waiting import settle


def reset(channel: str = "news") -> Reset:
    return Reset(channel, "reset", "bad import", "ops@pier")


def purge(**bound: int) -> Purge:
    mode = next(iter(bound), "all")
    return Purge(
        confirm_channel="news",
        confirm_operation="purge",
        reason="retention",
        mode=mode,  # type: ignore[arg-type]  # one of the three
        **bound,
    )


# ---- attach ----


async def test_attaching_to_a_channel_that_was_never_used_makes_the_stream_that_the_first_message_goes_to(
    durable: Durable,
) -> None:
    info = await durable.history.attach(APP, "news")
    assert info.head.serial == 0
    assert await durable.say() == [Position(info.stream_id, 1)]
    assert durable.changes == []


async def test_attaching_tells_the_last_committed_serial_even_when_everything_was_purged(durable: Durable) -> None:
    [*_, last] = await durable.say(count=3)
    await durable.history.purge(APP, "news", purge())
    assert (await durable.history.attach(APP, "news")).head == last


async def test_everything_up_to_the_head_has_been_delivered_when_attach_returns(durable: Durable) -> None:
    """The store has the message already, but its commit has not returned."""

    async def slow_to_answer(work: object) -> object:
        result = await work()  # type: ignore[operator]
        await answered
        return result

    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    durable.store.plan("commit", slow_to_answer)
    future = durable.submit()
    await settle()
    attaching = asyncio.ensure_future(durable.history.attach(APP, "news"))
    await settle()
    assert not attaching.done()
    assert (await durable.history.attach(APP, "sport")).head.serial == 0

    answered.set_result(None)
    info = await attaching
    assert durable.delivered == [("m1", info.head)]
    await future


async def test_a_subscriber_begins_behind_the_first_message_that_comes_meanwhile(durable: Durable) -> None:
    """Of the one before it, which another node has stored, this node will not hear."""
    first, second = await durable.say(count=2)
    durable.history.forget(APP, "news")
    held = Held()

    async def as_of_the_first(work: object) -> object:
        info = await work()  # type: ignore[operator]
        await held(work)  # type: ignore[arg-type]
        return info._replace(next_serial=first.serial + 1)

    durable.store.plan("info", as_of_the_first)
    attaching = asyncio.ensure_future(durable.history.attach(APP, "news"))
    await settle()
    durable.history.offer(APP, "news", second, "m2", 10, lambda _: None)
    await held.release()
    assert (await attaching).head == second


async def test_nobody_attaches_behind_a_message_that_is_taken_back(durable: Durable) -> None:
    async def lost_later(work: object) -> object:
        await work()  # type: ignore[operator]
        return await held(work)  # type: ignore[arg-type]

    held = Held()
    durable.store.plan("commit", lost_later)
    future = durable.submit()
    await settle()
    attaching = asyncio.ensure_future(durable.history.attach(APP, "news"))
    await settle()
    await held.release(lose(done=False))
    await failure(future)
    with pytest.raises(SockudoError) as refused:
        await attaching
    assert refused.value.spec is errors.HISTORY_DEGRADED
    assert (await durable.history.attach(APP, "news")).head.serial == 0


async def test_a_store_that_does_not_answer_refuses_a_subscription_in_time(durable: Durable) -> None:
    durable.store.plan("info", Held())
    attaching = asyncio.ensure_future(durable.history.attach(APP, "news"))
    await durable.time.elapse(5)
    assert (await failure(attaching)).spec is errors.HISTORY_UNAVAILABLE
    assert (await durable.history.attach(APP, "news")).head.serial == 0


async def test_attaching_to_a_stream_that_fell_back_gives_it_another_id(durable: Durable) -> None:
    [first, *_] = await durable.say(count=3)
    durable.store.inner._streams[APP, "news"].retract({3})
    info = await durable.history.attach(APP, "news")
    assert info.stream_id != first.stream_id
    assert info.head.serial == 2
    assert durable.changes == [("news", info.head)]
    assert await durable.history.attach(APP, "news") == info
    assert await durable.say() == [Position(info.stream_id, 3)]
    assert len(durable.changes) == 1


async def test_attaching_to_a_wiped_store_announces_the_new_stream(durable: Durable) -> None:
    await durable.say(count=2)
    await durable.store.inner.delete_app(APP)
    info = await durable.history.attach(APP, "news")
    assert durable.changes == [("news", info.head)]
    assert info.head.serial == 0


async def test_a_stream_that_only_subscribers_know_is_noticed_to_have_fallen_back(durable: Durable) -> None:
    """Nothing was published in this process, so the position that subscribers got is all there is to go by."""
    await durable.store.inner.commit([durable.append() for _ in range(4)])
    info = await durable.history.attach(APP, "news")
    durable.store.inner._streams[APP, "news"].retract({3, 4})
    [position] = await durable.say()
    assert position.stream_id != info.stream_id
    assert durable.changes == [("news", Position(position.stream_id, 2))]


async def test_a_channel_that_was_forgotten_is_taken_as_it_is_found(durable: Durable) -> None:
    [first, *_] = await durable.say(count=3)
    durable.history.forget(APP, "news")
    durable.store.inner._streams[APP, "news"].retract({3})
    assert await durable.say() == [Position(first.stream_id, 3)]
    assert durable.changes == []


async def test_an_answer_that_a_reset_has_overtaken_is_asked_for_again(durable: Durable) -> None:
    await durable.say()

    async def overtaken(work: object) -> object:
        old = await work()  # type: ignore[operator]
        await durable.history.reset(APP, "news", reset())
        return old

    durable.store.plan("info", overtaken)
    info = await durable.history.attach(APP, "news")
    assert info.stream_id == durable.store.inner._streams[APP, "news"].stream_id
    assert [position for _, position in durable.changes] == [info.head]


# ---- operators ----


async def test_a_reset_drops_everything_and_the_channel_goes_on_as_a_new_stream(durable: Durable) -> None:
    [*_, last] = await durable.say(count=3)
    size = durable.store.inner._streams[APP, "news"].size
    reply = await durable.history.reset(APP, "news", reset())
    new = reply["new_stream_id"]
    assert reply == {
        "ok": True,
        "operation": "reset",
        "channel": "news",
        "reason": "bad import",
        "requested_by": "ops@pier",
        "previous_stream_id": last.stream_id,
        "new_stream_id": new,
        "purged_messages": 3,
        "purged_bytes": size,
        "stream": {
            "stream_id": new,
            "next_serial": 1,
            "retained": {
                "stream_id": new,
                "retained_messages": 0,
                "retained_bytes": 0,
                "oldest_available_serial": None,
                "newest_available_serial": None,
                "oldest_available_published_at_ms": None,
                "newest_available_published_at_ms": None,
            },
            "state": {
                "stream_id": new,
                "durable_state": "healthy",
                "recovery_allowed": True,
                "reset_required": False,
                "reason": None,
                "node_id": None,
                "last_transition_at_ms": None,
                "authoritative_source": "in_memory",
                "observed_source": "in_memory",
            },
        },
    }
    assert new != last.stream_id
    assert durable.changes == [("news", Position(new, 0))]
    assert await durable.say() == [Position(new, 1)]
    assert len(durable.changes) == 1


async def test_a_publish_that_races_a_reset_is_said_in_the_stream_it_was_stored_in(durable: Durable) -> None:
    """What was being committed is heard before the reset is announced; what waits goes to the new stream."""
    held = Held()
    durable.store.plan("commit", held)
    before = durable.submit()
    await settle()
    resetting = asyncio.ensure_future(durable.history.reset(APP, "news", reset()))
    await settle()
    after = durable.submit()
    await held.release()
    reply = await resetting
    assert (await before).position == Position(reply["previous_stream_id"], 1)
    assert (await after).position == Position(reply["new_stream_id"], 1)
    assert [position for _, position in durable.delivered] == [(await before).position, (await after).position]
    assert durable.changes == [("news", Position(reply["new_stream_id"], 0))]


async def test_a_reset_heals_a_degraded_stream(durable: Durable) -> None:
    durable.store.plan("commit", lose(done=True))
    durable.store.plan("retract", refuse(), refuse())
    await failure(durable.submit())
    await settle()
    await durable.history.reset(APP, "news", reset())
    assert (await durable.durable_state())["durable_state"] == "healthy"
    assert [position.serial for position in await durable.say()] == [1]
    assert durable.history.runtime_status()["degraded_channels"] == 0


async def test_a_reset_that_hangs_is_told_of_when_it_has_happened(durable: Durable) -> None:
    await durable.say()
    held = Held()
    durable.store.plan("reset", held)
    resetting = asyncio.ensure_future(durable.history.reset(APP, "news", reset()))
    await durable.time.elapse(5)
    assert (await failure(resetting)).spec is errors.HISTORY_UNAVAILABLE
    assert durable.changes == []
    await held.release()
    [(_, position)] = durable.changes
    assert position.serial == 0
    assert await durable.say() == [Position(position.stream_id, 1)]
    assert len(durable.changes) == 1


async def test_a_purge_drops_what_is_before_its_bound_and_tells_who_keeps_copies(durable: Durable) -> None:
    [*_, last] = await durable.say(count=5)
    reply = await durable.history.purge(APP, "news", purge(before_serial=3))
    assert {name: value for name, value in reply.items() if name != "stream"} == {
        "ok": True,
        "operation": "purge",
        "channel": "news",
        "reason": "retention",
        "requested_by": None,
        "mode": "before_serial",
        "before_serial": 3,
        "before_time_ms": None,
        "purged_messages": 2,
        "purged_bytes": 2 * len(durable.append().message),
    }
    assert reply["stream"]["next_serial"] == 6
    assert reply["stream"]["stream_id"] == last.stream_id
    assert reply["stream"]["retained"]["oldest_available_serial"] == 3
    assert durable.trims == [("news", 3)]
    assert durable.changes == []

    await durable.history.purge(APP, "news", purge())
    assert durable.trims[-1] == ("news", 6)
    assert await durable.say() == [Position(last.stream_id, 6)]


async def test_a_purge_by_time_keeps_the_bound_itself(durable: Durable) -> None:
    futures = [durable.submit(published_at_ms=NOW_MS + offset) for offset in (0, 10, 20)]
    await asyncio.gather(*futures)
    await durable.history.purge(APP, "news", purge(before_time_ms=NOW_MS + 10))
    assert durable.ids() == ["m2", "m3"]


async def test_purging_a_channel_that_was_never_used_makes_no_stream(durable: Durable) -> None:
    reply = await durable.history.purge(APP, "news", purge())
    assert reply["purged_messages"] == 0
    assert reply["stream"]["stream_id"] is None
    assert durable.store.inner._streams.keys() <= {SEED_PLACE}
    assert durable.trims == []


async def test_a_purge_that_hangs_is_told_of_when_it_has_happened(durable: Durable) -> None:
    await durable.say(count=3)
    held = Held()
    durable.store.plan("purge", held)
    purging = asyncio.ensure_future(durable.history.purge(APP, "news", purge()))
    await durable.time.elapse(5)
    assert (await failure(purging)).spec is errors.HISTORY_UNAVAILABLE
    await held.release()
    assert durable.trims == [("news", 4)]


async def test_a_degraded_stream_is_not_purged_before_it_is_healthy(durable: Durable) -> None:
    """What nobody heard would be gone, and its serial could not be given again."""
    durable.store.plan("commit", lose(done=True))
    durable.store.plan("info", refuse())
    await failure(durable.submit())
    await settle()
    with pytest.raises(SockudoError) as refused:
        await durable.history.purge(APP, "news", purge())
    assert refused.value.spec is errors.HISTORY_DEGRADED
    await durable.time.elapse(0.1)
    await durable.history.purge(APP, "news", purge())
    assert [position.serial for position in await durable.say()] == [1]


async def test_the_state_of_a_channel_that_was_never_used_has_no_ids(durable: Durable) -> None:
    state = await durable.history.state(APP, "news")
    assert state["channel"] == "news"
    assert state["stream"]["stream_id"] is None
    assert state["stream"]["next_serial"] is None
    assert state["stream"]["retained"]["retained_messages"] == 0
    assert state["stream"]["state"]["durable_state"] == "healthy"
    assert durable.store.inner._streams.keys() <= {SEED_PLACE}


async def test_the_state_shows_what_is_retained(durable: Durable) -> None:
    await durable.say(count=2)
    state = (await durable.history.state(APP, "news"))["stream"]
    assert state["next_serial"] == 3
    assert state["retained"] == {
        "stream_id": state["stream_id"],
        "retained_messages": 2,
        "retained_bytes": durable.store.inner._streams[APP, "news"].size,
        "oldest_available_serial": 1,
        "newest_available_serial": 2,
        "oldest_available_published_at_ms": NOW_MS,
        "newest_available_published_at_ms": NOW_MS,
    }


async def test_a_state_that_is_written_in_the_store_is_shown(durable: Durable) -> None:
    await durable.say()
    await durable.store.inner.mark(APP, "news", "reset_required", "disk", "node-7", 5)
    state = await durable.durable_state()
    assert state == {
        "stream_id": durable.rows()[0].stream_id,
        "durable_state": "reset_required",
        "recovery_allowed": False,
        "reset_required": True,
        "reason": "disk",
        "node_id": "node-7",
        "last_transition_at_ms": 5,
        "authoritative_source": "in_memory",
        "observed_source": "in_memory",
    }


async def test_the_status_names_the_backend_and_who_has_the_last_word() -> None:
    async with Durable(backend="postgres", node_id="node-3") as durable:
        assert durable.history.runtime_status() == {
            "enabled": True,
            "backend": "postgres",
            "state_authority": "durable_store",
            "degraded_channels": 0,
            "reset_required_channels": 0,
            "queue_depth": 0,
        }
        durable.store.plan("commit", lose(done=False))
        durable.store.plan("info", refuse())
        await failure(durable.submit())
        await settle()
        assert durable.history.runtime_status()["degraded_channels"] == 1
        assert (await durable.durable_state())["node_id"] == "node-3"


# ---- what goes by itself ----


async def test_what_is_past_its_time_is_removed_in_batches_and_a_tick_has_an_end() -> None:
    async with Durable(purge_interval=60, purge_batch_size=10, max_purge_per_tick=25) as durable:
        futures = [durable.submit(retention=Retention(window_ms=30_000)) for _ in range(40)]
        await asyncio.gather(*futures)
        durable.store.names()
        await durable.time.elapse(59)
        assert durable.store.names() == []
        await durable.time.elapse(1)
        assert len(durable.rows()) == 30
        await durable.time.elapse(0.01)
        assert len(durable.rows()) == 20
        await durable.time.elapse(0.01)
        assert len(durable.rows()) == 15
        await durable.time.elapse(0.01)
        assert len(durable.rows()) == 15
        assert durable.store.names() == ["expire"] * 3
        assert durable.history.evicted.messages == {Group(APP): 25}
        await durable.time.elapse(60)
        await durable.time.elapse(0.01)
        await durable.time.elapse(0.01)
        assert durable.rows() == []


async def test_the_interval_of_removals_is_ten_seconds_at_least() -> None:
    async with Durable(purge_interval=1) as durable:
        await durable.time.elapse(9.5)
        assert durable.store.names() == ["start", "info", "ensure"]
        await durable.time.elapse(0.5)
        assert durable.store.names() == ["expire"]


async def test_a_removal_that_fails_is_tried_at_the_next_tick() -> None:
    async with Durable(purge_interval=10) as durable:
        durable.store.names()
        durable.store.plan("expire", refuse())
        await durable.time.elapse(10)
        await durable.time.elapse(10)
        assert durable.store.names() == ["expire", "expire"]


async def test_a_removal_does_not_keep_publishes_waiting() -> None:
    async with Durable(purge_interval=10, write_timeout=60) as durable:
        durable.store.plan("expire", Held())
        await durable.time.elapse(10)
        assert [position.serial for position in await durable.say()] == [1]


# ---- start and end ----


async def test_a_store_that_cannot_be_opened_fails_the_start() -> None:
    store = UnrulyStore()
    store.plan("start", refuse())
    durable = Durable(store)
    with pytest.raises(SockudoError):
        await durable.history.start()
    await durable.history.close()
    assert store.names() == ["start", "close"]


async def test_a_history_that_runs_on_an_old_store_goes_on_where_that_was() -> None:
    store = UnrulyStore()
    async with Durable(store) as first:
        [*_, last] = await first.say(count=3)
    async with Durable(store) as second:
        assert (await second.history.attach(APP, "news")).head == last
        assert await second.say() == [Position(last.stream_id, 4)]
        page = await second.history.page(APP, "news", http_query({}))
        assert [item["serial"] for item in page["items"]] == [4, 3, 2, 1]


async def test_health_is_whether_the_store_answers(durable: Durable) -> None:
    assert await durable.history.check()
    durable.store.down = True
    with pytest.raises(SockudoError):
        await durable.history.check()
