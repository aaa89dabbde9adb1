"""What streams hold, asked of the store now and then and never for long."""

from __future__ import annotations

import asyncio

from sockudo.base.stream_records import Retention
from sockudo.hub.streams.totals import Group, Total, group_of
from support.durable import APP, Durable, Held, refuse
from support.waiting import settle
from unit.history.presence import Observed, added


def test_streams_of_presence_histories_are_a_group_of_their_own() -> None:
    assert group_of("app", "presence-room") == Group("app", presence=False)
    assert group_of("app", "[presence-history]presence-room") == Group("app", presence=True)


async def test_totals_are_what_the_store_holds_when_somebody_asks(durable: Durable) -> None:
    await durable.say("news", "sport", "news")
    assert durable.history.totals == {}
    await durable.history.refresh_totals()
    size = sum(len(row.message) for name in ("news", "sport") for row in durable.rows(name))
    assert durable.history.totals == {Group(APP): Total(3, size, 0)}


async def test_the_store_is_asked_every_five_seconds_at_most(durable: Durable) -> None:
    await durable.say()
    await durable.history.refresh_totals()
    await durable.say()
    durable.store.names()
    await durable.time.elapse(4.9)
    await durable.history.refresh_totals()
    assert durable.store.names() == []
    assert durable.history.totals[Group(APP)].messages == 1
    await durable.time.elapse(0.2)
    await durable.history.refresh_totals()
    assert durable.store.names() == ["totals"]
    assert durable.history.totals[Group(APP)].messages == 2


async def test_a_slow_store_is_asked_rarely_and_not_waited_for(durable: Durable) -> None:
    await durable.say()
    held = Held()
    durable.store.plan("totals", held)
    await asyncio.gather(durable.history.refresh_totals(), durable.history.refresh_totals())
    assert durable.history.totals == {}
    await durable.time.elapse(2)
    await held.release()
    assert durable.history.totals[Group(APP)].messages == 1
    durable.store.names()
    await durable.time.elapse(39)
    await durable.history.refresh_totals()
    assert durable.store.names() == []
    await durable.time.elapse(2)
    await durable.history.refresh_totals()
    assert durable.store.names() == ["totals"]


async def test_a_store_that_fails_leaves_what_was_known(durable: Durable) -> None:
    await durable.say()
    await durable.history.refresh_totals()
    durable.store.plan("totals", refuse())
    await durable.time.elapse(6)
    await durable.history.refresh_totals()
    assert durable.history.totals[Group(APP)].messages == 1


async def test_what_is_gone_is_shown_as_nothing(durable: Durable) -> None:
    await durable.say()
    await durable.history.refresh_totals()
    await durable.store.inner.delete_app(APP)
    await durable.time.elapse(6)
    await durable.history.refresh_totals()
    assert durable.history.totals == {Group(APP): Total()}


async def test_a_look_that_hangs_keeps_nobody_from_closing() -> None:
    async with Durable() as durable:
        durable.store.plan("totals", Held())
        await durable.history.refresh_totals()
        await settle()


async def test_retention_is_counted_by_kind() -> None:
    async with Observed() as observed:
        await observed.happen(*[added(f"user-{number}") for number in range(3)])
        stream = observed.store.inner._streams["app", "[presence-history]presence-room"]
        sizes = [len(row.message) for row in stream.rows]
        stream.retention = Retention(window_ms=1000)
        await observed.time.elapse(2)
        await observed.store.inner.expire(int(observed.time.time() * 1000), 100)
        assert observed.presence.evicted() == [("app", 3, sum(sizes))]
        assert observed.kept.evicted.messages == {Group("app", presence=True): 3}
        await observed.kept.refresh_totals()
        await observed.presence.refresh_totals()
        assert observed.presence.totals() == {"app": Total()}
