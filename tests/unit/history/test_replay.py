"""Recovery from the durable store: complete, or one reason why it cannot be (spec: history § 3.3, 3.4 and 10.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from sockudo.base.stream_records import SEED_PLACE, Append, Page, Position, Row
from sockudo.history import Failed, Replayed, Reset
from sockudo.protocol.frames import Frame
from support.durable import APP, Durable, Held, Step, Work, failure, lose, refuse
from support.waiting import settle

Change = Callable[[Page], Page]


async def ask(durable: Durable, stream_id: str | None, serial: int, **options: Any) -> Replayed | Failed:
    options.setdefault("max_size", 100)
    return await durable.history.replay(APP, "news", stream_id=stream_id, serial=serial, **options)


async def written(durable: Durable, count: int) -> str:
    """So many messages in the store; the stream's id."""
    return (await durable.say(count=count))[0].stream_id


def altered(change: Change) -> Step:
    """A read whose page is not what the store holds."""

    async def step(work: Work) -> Page:
        return change(await work())

    return step


def serials(outcome: Replayed | Failed) -> list[int | None]:
    assert isinstance(outcome, Replayed), outcome
    return [frame.serial for frame in outcome.frames]


# ---- success ----


async def test_everything_after_the_position_comes_back_in_order_over_several_pages(durable: Durable) -> None:
    stream_id = await written(durable, 10)
    outcome = await ask(durable, stream_id, 2)
    assert serials(outcome) == [3, 4, 5, 6, 7, 8, 9, 10]
    assert outcome == Replayed(
        [Frame("said", "news", f"m{n}", message_id=f"m{n}", stream_id=stream_id, serial=n) for n in range(3, 11)],
        Position(stream_id, 10),
    )


async def test_a_position_at_the_head_recovers_with_nothing(durable: Durable) -> None:
    stream_id = await written(durable, 4)
    assert await ask(durable, stream_id, 4) == Replayed([], Position(stream_id, 4))


async def test_a_stream_without_messages_recovers_from_its_beginning(durable: Durable) -> None:
    info = await durable.history.attach(APP, "news")
    assert await ask(durable, info.stream_id, 0) == Replayed([], info.head)
    await durable.say()
    assert serials(await ask(durable, info.stream_id, 0)) == [1]


async def test_a_position_at_the_head_survives_a_purge_of_everything(durable: Durable) -> None:
    stream_id = await written(durable, 4)
    await durable.store.inner.purge(APP, "news", 0)
    assert await ask(durable, stream_id, 4) == Replayed([], Position(stream_id, 4))


async def test_the_head_is_frozen_when_the_recovery_begins(durable: Durable) -> None:
    stream_id = await written(durable, 4)

    async def more(work: Work) -> Any:
        page = await work()
        await durable.say(count=2)
        return page

    durable.store.plan("read", more)
    outcome = await ask(durable, stream_id, 1)
    assert serials(outcome) == [2, 3, 4]
    assert isinstance(outcome, Replayed)
    assert outcome.head == Position(stream_id, 4)


async def test_the_message_that_the_client_names_is_passed_over(durable: Durable) -> None:
    stream_id = await written(durable, 4)
    outcome = await ask(durable, stream_id, 1, last_message_id="m3")
    assert serials(outcome) == [2, 4]
    assert isinstance(outcome, Replayed)
    assert outcome.head.serial == 4


async def test_a_row_that_only_holds_its_serial_is_passed_over(durable: Durable) -> None:
    stream_id = await written(durable, 4)
    durable.store.inner._streams[APP, "news"].retract({3})
    assert serials(await ask(durable, stream_id, 1)) == [2, 4]


async def test_a_frame_comes_back_with_everything_that_was_said(durable: Durable) -> None:
    said = (
        b'{"event":"said","channel":"news","data":{"a":[1,2.50,"\\u00e9"]},"name":"n","user_id":"u",'
        b'"tags":{"k":"v"},"message_id":"id-1","extras":{"headers":{"x":1}}}'
    )
    await durable.store.inner.commit([Append(APP, "news", said, "id-1", "said", 1)])
    stream_id = durable.rows()[0].stream_id
    outcome = await ask(durable, stream_id, 0)
    assert isinstance(outcome, Replayed)
    [frame] = outcome.frames
    assert isinstance(frame.data, msgspec.Raw)
    assert bytes(frame.data) == b'{"a":[1,2.50,"\\u00e9"]}'
    frame.data = None
    assert frame == Frame("said", "news", None, "n", "u", {"k": "v"}, "id-1", stream_id, 1, {"headers": {"x": 1}})


async def test_what_is_being_committed_is_waited_for(durable: Durable) -> None:
    """The store shows it already, but its publisher may yet be told that it failed."""
    stream_id = await written(durable, 2)
    held = Held()

    async def answered_late(work: Work) -> Any:
        await work()
        return await held(work)

    durable.store.plan("commit", answered_late)
    future = durable.submit()
    await settle()
    asking = asyncio.ensure_future(ask(durable, stream_id, 1))
    await settle()
    assert not asking.done()
    await held.release(lose(done=False))
    await failure(future)
    assert await asking == Failed("persistence_unavailable", "history_stream_degraded", stream_id, stream_id)
    assert serials(await ask(durable, stream_id, 1)) == [2]


# ---- position_expired ----


async def test_a_gap_may_be_as_large_as_the_limit_and_no_larger(durable: Durable) -> None:
    stream_id = await written(durable, 8)
    assert serials(await ask(durable, stream_id, 3, max_size=5)) == [4, 5, 6, 7, 8]
    assert await ask(durable, stream_id, 2, max_size=5) == Failed(
        "position_expired", "recovery_window_exceeded", stream_id, stream_id, 1, 8
    )


async def test_a_position_behind_a_purged_stream_has_expired(durable: Durable) -> None:
    stream_id = await written(durable, 4)
    await durable.store.inner.purge(APP, "news", 0)
    assert await ask(durable, stream_id, 3) == Failed(
        "position_expired", "durable_history_empty_after_prior_writes", stream_id, stream_id, None, None
    )


async def test_a_position_below_the_floor_has_expired_and_the_floor_is_told(durable: Durable) -> None:
    stream_id = await written(durable, 5)
    await durable.store.inner.purge(APP, "news", 0, before_serial=4)
    assert await ask(durable, stream_id, 2) == Failed(
        "position_expired", "retained_history_floor_is_ahead_of_requested_serial", stream_id, stream_id, 4, 5
    )
    assert serials(await ask(durable, stream_id, 3)) == [4, 5]


async def test_retention_that_crosses_the_position_between_two_pages_fails_and_sends_nothing(durable: Durable) -> None:
    stream_id = await written(durable, 9)

    async def purged_after(work: Work) -> Any:
        page = await work()
        await durable.store.inner.purge(APP, "news", 0, before_serial=7)
        return page

    durable.store.plan("read", purged_after)
    assert await ask(durable, stream_id, 1) == Failed(
        "position_expired", "retention_boundary_crossed_during_reconnect", stream_id, stream_id, 7, 9
    )


async def test_retention_that_takes_everything_between_two_pages_fails_too(durable: Durable) -> None:
    stream_id = await written(durable, 9)

    async def purged_after(work: Work) -> Any:
        page = await work()
        await durable.store.inner.purge(APP, "news", 0)
        return page

    durable.store.plan("read", purged_after)
    assert await ask(durable, stream_id, 1) == Failed(
        "position_expired", "retention_boundary_crossed_during_reconnect", stream_id, stream_id, None, None
    )


# ---- stream_reset ----


async def test_a_position_in_another_stream_is_reset(durable: Durable) -> None:
    stream_id = await written(durable, 5)
    assert await ask(durable, "other", 1) == Failed(
        "stream_reset", "durable_stream_id_mismatch", "other", stream_id, 1, 5
    )
    assert await ask(durable, None, 1) == Failed("stream_reset", "durable_stream_id_mismatch", None, stream_id, 1, 5)


async def test_a_position_in_a_channel_that_was_never_used_is_reset_and_no_stream_is_made(durable: Durable) -> None:
    assert await ask(durable, "s-1", 4) == Failed("stream_reset", "durable_stream_id_mismatch", "s-1")
    assert durable.store.inner._streams.keys() <= {SEED_PLACE}


async def test_a_reset_between_two_pages_fails_and_sends_nothing(durable: Durable) -> None:
    stream_id = await written(durable, 9)

    async def reset_after(work: Work) -> Any:
        page = await work()
        await durable.history.reset(APP, "news", Reset("news", "reset", "x"))
        await durable.say()
        return page

    durable.store.plan("read", reset_after)
    outcome = await ask(durable, stream_id, 1)
    new = durable.rows()[0].stream_id
    assert outcome == Failed("stream_reset", "durable_stream_changed_during_reconnect", stream_id, new, 1, 1)


async def test_a_store_wiped_between_two_pages_fails_and_sends_nothing(durable: Durable) -> None:
    stream_id = await written(durable, 9)

    async def wiped_after(work: Work) -> Any:
        page = await work()
        await durable.store.inner.delete_app(APP)
        return page

    durable.store.plan("read", wiped_after)
    assert await ask(durable, stream_id, 1) == Failed(
        "stream_reset", "durable_stream_changed_during_reconnect", stream_id
    )


async def test_a_stream_that_needs_a_reset_says_so(durable: Durable) -> None:
    stream_id = await written(durable, 3)
    await durable.store.inner.mark(APP, "news", "reset_required", None, None, 0)
    assert await ask(durable, stream_id, 1) == Failed(
        "stream_reset", "durable_stream_reset_required", stream_id, stream_id
    )


# ---- continuity_unverifiable ----


async def test_a_position_ahead_of_the_stream_proves_nothing(durable: Durable) -> None:
    """It may be from before a backup was restored."""
    stream_id = await written(durable, 5)
    assert await ask(durable, stream_id, 9) == Failed(
        "continuity_unverifiable", "position_ahead_of_durable_stream", stream_id, stream_id, 1, 5
    )


async def test_rows_beyond_the_head_make_the_head_worthless(durable: Durable) -> None:
    stream_id = await written(durable, 5)
    durable.store.inner._streams[APP, "news"].next_serial = 4

    async def with_rows_beyond(work: Work) -> Any:
        info = await work()
        return info._replace(retained=info.retained._replace(newest_serial=5))

    durable.store.plan("info", with_rows_beyond)
    outcome = await ask(durable, stream_id, 1)
    assert isinstance(outcome, Failed)
    assert outcome[:2] == ("continuity_unverifiable", "durable_stream_head_unavailable")


def without(serial: int) -> Change:
    return lambda page: page._replace(rows=tuple(row for row in page.rows if row.serial != serial))


def renamed(page: Page) -> Page:
    return page._replace(rows=tuple(row._replace(stream_id="other") for row in page.rows))


def emptied(*, has_more: bool) -> Change:
    return lambda page: page._replace(rows=(), has_more=has_more)


def backwards(page: Page) -> Page:
    return page._replace(rows=tuple(row._replace(serial=row.serial - 1) for row in page.rows))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without(3), "durable_history_is_not_contiguous"),
        (without(2), "durable_history_is_not_contiguous"),
        (renamed, "durable_history_item_stream_mismatch"),
        (emptied(has_more=False), "durable_history_ended_before_stream_head"),
        (emptied(has_more=True), "durable_history_cursor_missing"),
        (backwards, "durable_history_cursor_did_not_advance"),
    ],
)
@pytest.mark.parametrize("on_page", [0, 1])
async def test_a_page_that_does_not_hold_what_it_should_fails_the_whole_recovery(
    durable: Durable, change: Change, reason: str, on_page: int
) -> None:
    stream_id = await written(durable, 9)
    start = 1 if on_page == 0 else -2
    durable.store.plan("read", *[None] * on_page, altered(lambda page: _shifted(change, page, start)))
    assert await ask(durable, stream_id, 1) == Failed("continuity_unverifiable", reason, stream_id, stream_id, 1, 9)


def _shifted(change: Change, page: Page, start: int) -> Page:
    """``change`` speaks of the rows 2, 3 and 4; the second page has three more."""
    if start == 1:
        return change(page)
    lower = page._replace(rows=tuple(row._replace(serial=row.serial - 3) for row in page.rows))
    changed = change(lower)
    return changed._replace(rows=tuple(row._replace(serial=row.serial + 3) for row in changed.rows))


# ---- persistence_unavailable ----


async def test_a_store_that_cannot_be_asked_for_the_state(durable: Durable) -> None:
    durable.store.plan("info", refuse())
    assert await ask(durable, "s-1", 1) == Failed("persistence_unavailable", "durable_history_state_unavailable", "s-1")


@pytest.mark.parametrize("good_pages", [0, 1])
async def test_a_store_that_cannot_be_read(durable: Durable, good_pages: int) -> None:
    stream_id = await written(durable, 9)
    durable.store.plan("read", *[None] * good_pages, refuse())
    assert await ask(durable, stream_id, 1) == Failed(
        "persistence_unavailable", "durable_history_read_failed", stream_id
    )


async def test_a_store_that_hangs_is_given_up(durable: Durable) -> None:
    stream_id = await written(durable, 3)
    durable.store.plan("read", Held())
    asking = asyncio.ensure_future(ask(durable, stream_id, 1))
    await durable.time.elapse(5)
    assert await asking == Failed("persistence_unavailable", "durable_history_read_failed", stream_id)


async def test_a_degraded_stream_is_not_read(durable: Durable) -> None:
    stream_id = await written(durable, 3)
    durable.store.plan("commit", lose(done=True))
    durable.store.plan("retract", refuse(), refuse())
    await failure(durable.submit())
    await settle()
    assert await ask(durable, stream_id, 1) == Failed(
        "persistence_unavailable", "history_stream_degraded", stream_id, stream_id
    )
    await durable.time.elapse(0.1)
    await durable.time.elapse(0.2)
    assert serials(await ask(durable, stream_id, 1)) == [2, 3]


async def test_a_stream_that_the_store_calls_degraded_is_not_read(durable: Durable) -> None:
    stream_id = await written(durable, 3)
    await durable.store.inner.mark(APP, "news", "degraded", None, None, 0)
    assert await ask(durable, stream_id, 1) == Failed(
        "persistence_unavailable", "history_stream_degraded", stream_id, stream_id
    )


@pytest.mark.parametrize("message", [b"", b"nonsense", b"[]", b'{"data":"no event"}', b'{"event":"e","data":"\\x"}'])
async def test_a_row_that_is_no_message_fails_the_whole_recovery(durable: Durable, message: bytes) -> None:
    stream_id = await written(durable, 5)
    rows: list[Row] = durable.store.inner._streams[APP, "news"].rows
    rows[3] = rows[3]._replace(message=message)
    assert await ask(durable, stream_id, 1) == Failed(
        "persistence_unavailable", "durable_history_payload_projection_failed", stream_id, stream_id, 1, 5
    )
