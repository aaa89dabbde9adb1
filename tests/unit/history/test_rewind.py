"""What a subscription may begin with (spec: history § 5.3)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sockudo import errors
from sockudo.base.stream_records import Position
from sockudo.errors import SockudoError
from sockudo.history import Reset, Rewound
from support.durable import APP, NOW_MS, Durable, Work, failure, lose, refuse
from support.waiting import settle


async def said(durable: Durable, count: int, *, every_ms: int = 1000) -> Position:
    """So many messages, the last of them now; the head."""
    futures = [durable.submit(published_at_ms=NOW_MS - every_ms * back) for back in reversed(range(count))]
    return [(await future).position for future in futures][-1]


async def rewind(durable: Durable, head: Position, **options: Any) -> tuple[list[int | None], bool, bool]:
    past = await durable.history.rewind(APP, "news", head=head, **options)
    return [frame.serial for frame in past.frames], past.truncated_by_retention, past.truncated_by_limit


# ---- count ----


@pytest.mark.parametrize(
    ("count", "expected", "by_limit"),
    [(1, [5], True), (2, [4, 5], True), (3, [3, 4, 5], True), (4, [3, 4, 5], True), (100, [3, 4, 5], True)],
)
async def test_the_newest_messages_come_oldest_first_and_at_most_a_page_of_them(
    durable: Durable, count: int, expected: list[int], by_limit: bool
) -> None:
    head = await said(durable, 5)
    assert await rewind(durable, head, count=count) == (expected, False, by_limit)


async def test_a_stream_that_came_whole_is_not_truncated(durable: Durable) -> None:
    head = await said(durable, 3)
    assert await rewind(durable, head, count=3) == ([1, 2, 3], False, False)


async def test_asking_for_more_than_a_page_is_truncated_by_the_limit_whatever_there_is(durable: Durable) -> None:
    head = await said(durable, 2)
    assert await rewind(durable, head, count=3) == ([1, 2], False, False)
    assert await rewind(durable, head, count=4) == ([1, 2], False, True)


async def test_an_empty_stream_is_complete(durable: Durable) -> None:
    info = await durable.history.attach(APP, "news")
    assert await rewind(durable, info.head, count=3) == ([], False, False)


async def test_what_is_above_the_head_is_live(durable: Durable) -> None:
    head = await said(durable, 3)
    await durable.say(count=2)
    assert await rewind(durable, head, count=2) == ([2, 3], False, True)


async def test_a_stream_whose_first_message_is_gone_is_truncated_by_retention(durable: Durable) -> None:
    head = await said(durable, 3)
    await durable.store.inner.purge(APP, "news", 0, before_serial=2)
    assert await rewind(durable, head, count=1) == ([3], True, True)
    assert await rewind(durable, head, count=2) == ([2, 3], True, False)
    await durable.store.inner.purge(APP, "news", 0)
    assert await rewind(durable, head, count=2) == ([], True, False)


# ---- seconds ----


async def test_a_window_in_time_comes_oldest_first(durable: Durable) -> None:
    head = await said(durable, 5)
    assert await rewind(durable, head, seconds=1) == ([4, 5], False, False)


async def test_a_window_that_reaches_before_the_first_message_is_complete(durable: Durable) -> None:
    head = await said(durable, 3)
    assert await rewind(durable, head, seconds=3600) == ([1, 2, 3], False, False)


async def test_of_a_window_with_more_than_a_page_the_newest_page_comes(durable: Durable) -> None:
    head = await said(durable, 8)
    assert await rewind(durable, head, seconds=3600) == ([6, 7, 8], False, True)


async def test_a_window_is_truncated_by_retention_only_where_it_reaches_what_is_gone(durable: Durable) -> None:
    head = await said(durable, 5)
    await durable.store.inner.purge(APP, "news", 0, before_serial=3)
    assert await rewind(durable, head, seconds=1) == ([4, 5], False, False)
    assert await rewind(durable, head, seconds=2) == ([3, 4, 5], False, False)
    assert await rewind(durable, head, seconds=3) == ([3, 4, 5], True, False)


async def test_a_count_outranks_a_window(durable: Durable) -> None:
    head = await said(durable, 5)
    assert await rewind(durable, head, count=1, seconds=3600) == ([5], False, True)


# ---- filters ----


def ending_with(*digits: str) -> dict[str, Any]:
    return {"predicate": lambda frame: frame.message_id.endswith(digits)}


async def test_a_filter_is_searched_for_over_several_pages(durable: Durable) -> None:
    head = await said(durable, 20)
    assert await rewind(durable, head, count=2, **ending_with("5")) == ([5, 15], False, True)


async def test_a_filter_that_finds_too_little_reaches_the_end_of_the_stream(durable: Durable) -> None:
    head = await said(durable, 20)
    assert await rewind(durable, head, count=3, **ending_with("5")) == ([5, 15], False, False)


async def test_the_search_ends_after_sixteen_pages(durable: Durable) -> None:
    head = await said(durable, 60)
    durable.store.names()
    assert await rewind(durable, head, count=1, **ending_with("m5")) == ([], False, True)
    assert durable.store.names() == ["read"] * 16


async def test_what_is_left_of_a_page_when_enough_was_found_counts_as_left_over(durable: Durable) -> None:
    head = await said(durable, 3)
    assert await rewind(durable, head, count=1, **ending_with("3", "2")) == ([3], False, True)
    assert await rewind(durable, head, count=2, **ending_with("3", "1")) == ([1, 3], False, False)


async def test_a_filter_within_a_window(durable: Durable) -> None:
    head = await said(durable, 20)
    assert await rewind(durable, head, seconds=10, **ending_with("5", "9")) == ([15, 19], False, False)


# ---- trouble ----


async def test_after_a_reset_since_the_head_was_read_the_past_is_gone(durable: Durable) -> None:
    head = await said(durable, 3)
    await durable.history.reset(APP, "news", Reset("news", "reset", "x"))
    await durable.say(count=2)
    assert await durable.history.rewind(APP, "news", head=head, count=3) == Rewound([], True, False)


async def test_a_read_that_fails_is_told(durable: Durable) -> None:
    head = await said(durable, 3)
    durable.store.plan("read", refuse())
    with pytest.raises(SockudoError) as refused:
        await rewind(durable, head, count=1)
    assert refused.value.spec is errors.HISTORY_UNAVAILABLE


async def test_a_degraded_stream_is_not_read(durable: Durable) -> None:
    head = await said(durable, 3)
    durable.store.plan("commit", lose(done=True))
    durable.store.plan("info", refuse())
    await failure(durable.submit())
    await settle()
    with pytest.raises(SockudoError) as refused:
        await rewind(durable, head, count=1)
    assert refused.value.spec is errors.HISTORY_DEGRADED


async def test_what_was_being_committed_and_failed_is_not_shown(durable: Durable) -> None:
    await said(durable, 1)
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def lost_late(work: Work) -> Any:
        await work()
        await answered
        return await lose(done=False)(work)

    durable.store.plan("commit", lost_late)
    future = durable.submit()
    await settle()
    head = Position(durable.rows()[0].stream_id, 2)
    asking = asyncio.ensure_future(rewind(durable, head, count=3))
    await settle()
    answered.set_result(None)
    await failure(future)
    with pytest.raises(SockudoError) as refused:
        await asking
    assert refused.value.spec is errors.HISTORY_DEGRADED


async def test_rows_that_only_hold_their_serial_are_passed_over(durable: Durable) -> None:
    head = await said(durable, 3)
    durable.store.inner._streams[APP, "news"].retract({2})
    assert await rewind(durable, head, count=3) == ([1, 3], False, False)


async def test_a_row_that_is_no_message_is_our_defect(durable: Durable) -> None:
    head = await said(durable, 3)
    rows = durable.store.inner._streams[APP, "news"].rows
    rows[1] = rows[1]._replace(message=b"nonsense")
    with pytest.raises(SockudoError) as refused:
        await rewind(durable, head, count=3)
    assert refused.value.spec is errors.INTERNAL_ERROR
