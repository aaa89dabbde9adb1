"""Pages of a channel's history, over HTTP and over a socket (spec: history § 6 and 7.1)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from sockudo import errors
from sockudo.base.stream_records import SEED_PLACE, Append, Position
from sockudo.errors import SockudoError
from sockudo.history import Reset, http_query
from support.durable import APP, NOW_MS, Durable, Work, failure, lose, refuse
from support.waiting import settle


async def get(durable: Durable, channel: str = "news", **parameters: Any) -> Any:
    """A page as a client reads it."""
    given = {name: str(value) for name, value in parameters.items()}
    page = await durable.history.page(APP, channel, http_query(given))
    return json.loads(msgspec.json.encode(page))


async def ask(durable: Durable, attach: Position | None = None, **parameters: Any) -> Any:
    page = await durable.history.socket_page(APP, "news", parameters, attach)
    return json.loads(msgspec.json.encode(page))


def serials(page: Any) -> list[int]:
    return [item["serial"] for item in page["items"]]


async def refusal(asking: Any) -> tuple[errors.ErrorSpec, str]:
    with pytest.raises(SockudoError) as refused:
        await asking
    return refused.value.spec, refused.value.text


# ---- the whole reply ----


async def test_every_key_is_there_and_what_is_absent_is_null(durable: Durable) -> None:
    assert await get(durable) == {
        "items": [],
        "direction": "newest_first",
        "limit": 3,
        "has_more": False,
        "next_cursor": None,
        "bounds": {"start_serial": None, "end_serial": None, "start_time_ms": None, "end_time_ms": None},
        "continuity": {
            "stream_id": None,
            "retained_messages": 0,
            "retained_bytes": 0,
            "oldest_available_serial": None,
            "newest_available_serial": None,
            "oldest_available_published_at_ms": None,
            "newest_available_published_at_ms": None,
            "complete": True,
            "truncated_by_retention": False,
        },
        "stream_state": {
            "stream_id": None,
            "durable_state": "healthy",
            "recovery_allowed": True,
            "reset_required": False,
            "reason": None,
            "node_id": None,
            "last_transition_at_ms": None,
            "authoritative_source": "in_memory",
            "observed_source": "in_memory",
        },
    }
    assert durable.store.inner._streams.keys() <= {SEED_PLACE}


async def test_an_item_is_its_row_and_the_frame_as_it_was_said(durable: Durable) -> None:
    text = b'{"event":"tide-rise","channel":"news","data":"{\\"metres\\":2.40}","message_id":"0b7e","tags":{"a":"b"}}'
    await durable.store.inner.commit([Append(APP, "news", text, "0b7e", "tide-rise", NOW_MS)])
    stream_id = durable.rows()[0].stream_id
    page = await get(durable)
    assert page["items"] == [
        {
            "stream_id": stream_id,
            "serial": 1,
            "published_at_ms": NOW_MS,
            "message_id": "0b7e",
            "event_name": "tide-rise",
            "operation_kind": "append",
            "payload_size_bytes": len(text),
            "message": {
                "event": "tide-rise",
                "channel": "news",
                "data": '{"metres":2.40}',
                "message_id": "0b7e",
                "tags": {"a": "b"},
                "stream_id": stream_id,
                "serial": 1,
            },
        }
    ]
    assert page["continuity"] == {
        "stream_id": stream_id,
        "retained_messages": 1,
        "retained_bytes": len(text),
        "oldest_available_serial": 1,
        "newest_available_serial": 1,
        "oldest_available_published_at_ms": NOW_MS,
        "newest_available_published_at_ms": NOW_MS,
        "complete": True,
        "truncated_by_retention": False,
    }
    assert page["stream_state"]["stream_id"] == stream_id


# ---- limits, directions, bounds ----


async def test_the_limit_is_the_page_size_and_never_more(durable: Durable) -> None:
    await durable.say(count=5)
    assert [(await get(durable, **limit))["limit"] for limit in ({}, {"limit": 2}, {"limit": 9999})] == [3, 2, 3]
    assert serials(await get(durable)) == [5, 4, 3]
    assert serials(await get(durable, limit=1)) == [5]
    assert await refusal(get(durable, limit=0)) == (errors.HISTORY_QUERY, "History limit must be greater than 0")


@pytest.mark.parametrize("word", ["newest_first", "backwards", "reverse", "NEWEST_FIRST", "Reverse"])
async def test_newest_first(durable: Durable, word: str) -> None:
    await durable.say(count=2)
    page = await get(durable, direction=word)
    assert (serials(page), page["direction"]) == ([2, 1], "newest_first")


@pytest.mark.parametrize("word", ["oldest_first", "forwards", "forward"])
async def test_oldest_first(durable: Durable, word: str) -> None:
    await durable.say(count=2)
    page = await get(durable, direction=word)
    assert (serials(page), page["direction"]) == ([1, 2], "oldest_first")


async def test_bounds_belong_to_the_page(durable: Durable) -> None:
    futures = [durable.submit(published_at_ms=NOW_MS + number) for number in range(1, 7)]
    await asyncio.gather(*futures)
    page = await get(durable, start_serial=2, end_serial=3, direction="oldest_first")
    assert serials(page) == [2, 3]
    assert page["bounds"] == {"start_serial": 2, "end_serial": 3, "start_time_ms": None, "end_time_ms": None}
    page = await get(durable, start=NOW_MS + 4, end_time_ms=NOW_MS + 5)
    assert serials(page) == [5, 4]
    assert page["bounds"]["start_time_ms"] == NOW_MS + 4
    assert serials(await get(durable, start_serial=99)) == []
    assert serials(await get(durable, end_serial=0)) == []


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({"start_serial": 5, "end_serial": 3}, "start_serial must be less than or equal to end_serial"),
        ({"start": 5, "end": 3}, "start_time_ms must be less than or equal to end_time_ms"),
    ],
)
async def test_ranges_that_end_before_they_start_are_refused(
    durable: Durable, bounds: dict[str, int], text: str
) -> None:
    assert await refusal(get(durable, **bounds)) == (errors.HISTORY_QUERY, text)
    assert durable.store.names() == ["start", "info", "ensure"]


# ---- continuity ----


async def test_a_page_is_complete_when_nothing_is_left_over_and_nothing_is_gone(durable: Durable) -> None:
    await durable.say(count=4)

    async def continuity(**parameters: Any) -> tuple[bool, bool]:
        found = (await get(durable, **parameters))["continuity"]
        return found["complete"], found["truncated_by_retention"]

    assert await continuity() == (False, False)
    assert await continuity(start_serial=2) == (True, False)
    await durable.store.inner.purge(APP, "news", 0, before_serial=3)
    assert await continuity() == (False, True)
    assert await continuity(start_serial=2) == (False, True)
    assert await continuity(start_serial=3) == (True, False)
    assert await continuity(end_serial=3) == (False, True)
    assert await continuity(start_time_ms=NOW_MS - 1) == (False, True)
    assert await continuity(start_time_ms=NOW_MS) == (True, False)


async def test_a_stream_that_lost_everything_is_not_complete(durable: Durable) -> None:
    await durable.say(count=4)
    await durable.store.inner.purge(APP, "news", 0)
    assert (await get(durable))["continuity"]["truncated_by_retention"]
    assert (await get(durable, start_serial=4))["continuity"]["truncated_by_retention"]
    assert (await get(durable, start_time_ms=1))["continuity"]["truncated_by_retention"]
    assert (await get(durable, start_serial=5))["continuity"]["complete"]


# ---- cursors ----


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
async def test_pages_together_are_the_whole_stream_once(durable: Durable, direction: str) -> None:
    await durable.say(count=10)
    found: list[int] = []
    page = await get(durable, direction=direction)
    while True:
        found += serials(page)
        assert (page["next_cursor"] is None) == (not page["has_more"])
        if page["next_cursor"] is None:
            break
        # The limit may change on the way.
        page = await get(durable, direction=direction, cursor=page["next_cursor"], limit=2)
    assert sorted(found) == list(range(1, 11))
    assert found == sorted(found, reverse=direction == "newest_first")


async def test_what_is_published_between_two_pages_changes_nothing_of_the_rest(durable: Durable) -> None:
    await durable.say(count=5)
    first = await get(durable)
    await durable.say(count=5)
    assert serials(await get(durable, cursor=first["next_cursor"])) == [2, 1]


async def test_a_cursor_whose_place_is_gone_has_expired(durable: Durable) -> None:
    await durable.say(count=6)
    page = await get(durable, limit=2)
    await durable.store.inner.purge(APP, "news", 0, before_serial=5)
    assert serials(await get(durable, cursor=page["next_cursor"])) == []
    await durable.store.inner.purge(APP, "news", 0, before_serial=6)
    text = "Expired history cursor: cursor points before retained history"
    assert await refusal(get(durable, cursor=page["next_cursor"])) == (errors.HISTORY_QUERY, text)
    await durable.store.inner.purge(APP, "news", 0)
    assert await refusal(get(durable, cursor=page["next_cursor"])) == (errors.HISTORY_QUERY, text)


async def test_a_cursor_of_a_stream_that_is_no_more_has_expired(durable: Durable) -> None:
    await durable.say(count=6)
    page = await get(durable)
    await durable.history.reset(APP, "news", Reset("news", "reset", "x"))
    text = "Expired history cursor: channel stream changed"
    assert await refusal(get(durable, cursor=page["next_cursor"])) == (errors.HISTORY_QUERY, text)
    await durable.store.inner.delete_app(APP)
    assert await refusal(get(durable, cursor=page["next_cursor"])) == (errors.HISTORY_QUERY, text)


async def test_rows_that_only_hold_their_serial_are_left_out_and_paged_over(durable: Durable) -> None:
    await durable.say(count=7)
    durable.store.inner._streams[APP, "news"].retract({5, 6})
    page = await get(durable)
    assert serials(page) == [7]
    assert serials(await get(durable, cursor=page["next_cursor"])) == [4, 3, 2]


# ---- over the socket ----


async def test_a_socket_is_also_told_where_it_attached(durable: Durable) -> None:
    [*_, last] = await durable.say(count=5)
    page = await ask(durable, last, limit=2)
    assert serials(page) == [5, 4]
    assert page["bounds"] == {
        "start_serial": None,
        "end_serial": None,
        "start_time_ms": None,
        "end_time_ms": None,
        "until_attach": False,
        "attach_serial": 5,
    }
    assert (await ask(durable))["bounds"]["attach_serial"] is None


async def test_until_attach_ends_where_the_connection_attached_and_pages_on_from_there(durable: Durable) -> None:
    [*_, attach] = await durable.say(count=5)
    await durable.say(count=3)
    page = await ask(durable, attach, until_attach=True)
    assert serials(page) == [5, 4, 3]
    assert page["bounds"]["end_serial"] == 5
    assert page["bounds"]["until_attach"]
    assert serials(await ask(durable, attach, until_attach=True, cursor=page["next_cursor"])) == [2, 1]
    assert serials(await ask(durable, attach, end_serial=5, cursor=page["next_cursor"])) == [2, 1]
    assert serials(await ask(durable, attach, until_attach=True, end=4)) == [4, 3, 2]
    assert serials(await ask(durable, attach, until_attach=True, end=7)) == [5, 4, 3]


async def test_until_attach_fails_after_a_resubscribe_with_the_old_cursor(durable: Durable) -> None:
    [*_, attach] = await durable.say(count=5)
    page = await ask(durable, attach, until_attach=True)
    [later] = await durable.say()
    spec, text = await refusal(ask(durable, later, until_attach=True, cursor=page["next_cursor"]))
    assert (spec, text) == (errors.HISTORY_QUERY, "History cursor bounds do not match the request")


async def test_until_attach_fails_after_a_reset_since(durable: Durable) -> None:
    [*_, attach] = await durable.say(count=5)
    await durable.history.reset(APP, "news", Reset("news", "reset", "x"))
    spec, text = await refusal(ask(durable, attach, until_attach=True))
    assert spec is errors.HISTORY_QUERY
    assert "was reset" in text


async def test_until_attach_needs_an_attach(durable: Durable) -> None:
    spec, text = await refusal(ask(durable, None, until_attach=True))
    assert spec is errors.HISTORY_QUERY
    assert text.startswith("No attach_serial is recorded")


async def test_a_proxy_may_say_over_http_where_a_socket_attached(durable: Durable) -> None:
    await durable.say(count=6)
    page = await get(durable, until_attach="true", attach_serial=4)
    assert serials(page) == [4, 3, 2]
    assert page["bounds"] == {"start_serial": None, "end_serial": 4, "start_time_ms": None, "end_time_ms": None}
    assert serials(await get(durable, until_attach="true", attach_serial=4, end_serial=2)) == [2, 1]
    assert serials(await get(durable, attach_serial=4, limit=1)) == [6]


# ---- trouble ----


async def test_a_store_that_cannot_be_read_is_told(durable: Durable) -> None:
    durable.store.plan("read", refuse())
    assert (await refusal(get(durable)))[0] is errors.HISTORY_UNAVAILABLE


async def test_a_degraded_stream_has_no_pages(durable: Durable) -> None:
    await durable.say()
    durable.store.plan("commit", lose(done=True))
    durable.store.plan("info", refuse())
    await failure(durable.submit())
    await settle()
    assert (await refusal(get(durable)))[0] is errors.HISTORY_DEGRADED


@pytest.mark.parametrize("state", ["degraded", "reset_required"])
async def test_a_stream_that_the_store_calls_unhealthy_has_no_pages(durable: Durable, state: Any) -> None:
    await durable.say()
    await durable.store.inner.mark(APP, "news", state, None, None, 0)
    spec, text = await refusal(get(durable))
    assert spec is errors.HISTORY_DEGRADED
    assert f"is {state}" in text


async def test_what_was_being_committed_and_failed_is_not_shown(durable: Durable) -> None:
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def lost_late(work: Work) -> Any:
        await work()
        await answered
        return await lose(done=False)(work)

    durable.store.plan("commit", lost_late)
    future = durable.submit()
    await settle()
    asking = asyncio.ensure_future(get(durable))
    await settle()
    answered.set_result(None)
    await failure(future)
    assert (await refusal(asking))[0] is errors.HISTORY_DEGRADED
    await settle()
    assert serials(await get(durable)) == []


async def test_a_row_that_is_no_message_is_our_defect(durable: Durable) -> None:
    await durable.store.inner.commit([Append(APP, "news", b"nonsense", None, None, 1)])
    assert (await refusal(get(durable)))[0] is errors.INTERNAL_ERROR
