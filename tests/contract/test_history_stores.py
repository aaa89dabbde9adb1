"""What every history store promises, whatever it is kept in: streams, storing and reading (spec: history § 1)."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from contract.history import (
    NOW,
    an_append,
    fill,
    serials,
    stream_of,
    texts,
)
from contract.places import Place
from sockudo.base.stream_records import Append, Bounds, Committed, Direction, Page, Position, Retained, Row
from sockudo.hub.streams.ports import HistoryStore


async def test_a_channel_that_was_never_used_has_no_stream(store: HistoryStore) -> None:
    assert await store.info("app", "room") is None
    assert await store.read("app", "room", limit=10) == Page(None)
    await store.mark("app", "room", "degraded", "why", "node", NOW)
    assert await store.expire(NOW, 10) == (0, False)
    await store.delete_app("app")
    assert await store.info("app", "room") is None


async def test_serials_begin_at_one_and_go_up_by_one(store: HistoryStore) -> None:
    first = await store.commit([an_append("a"), an_append("b")])
    second = await store.commit([an_append("c")])
    stream_id = first[0].position.stream_id
    assert uuid.UUID(stream_id).version == 4
    assert [*first, *second] == [Committed(Position(stream_id, serial)) for serial in (1, 2, 3)]


async def test_an_empty_batch_changes_nothing(store: HistoryStore) -> None:
    assert await store.commit([]) == []


async def test_a_row_comes_back_as_it_was_given(store: HistoryStore) -> None:
    append = an_append("text", message_id="m-1", event_name="an event", operation_kind="append")
    [outcome] = await store.commit([append])
    page = await store.read("app", "room", limit=10)
    assert page.rows == (Row(outcome.position.stream_id, 1, NOW, "m-1", "an event", "append", b"text"),)
    assert page.info == await store.info("app", "room")


async def test_parts_that_are_missing_stay_missing(store: HistoryStore) -> None:
    await store.commit([an_append(message_id=None, event_name=None)])
    [row] = (await store.read("app", "room", limit=1)).rows
    assert (row.message_id, row.event_name) == (None, None)


async def test_a_batch_goes_to_many_channels_in_order(store: HistoryStore) -> None:
    batch = [an_append(f"{n}", channel=f"room-{n % 3}", app_id=f"app-{n % 2}") for n in range(60)]
    outcomes = await store.commit(batch)
    for app_id in ("app-0", "app-1"):
        for channel in ("room-0", "room-1", "room-2"):
            mine = [(a, o) for a, o in zip(batch, outcomes, strict=True) if (a.app_id, a.channel) == (app_id, channel)]
            assert [outcome.position.serial for _, outcome in mine] == list(range(1, 11))
            page = await store.read(app_id, channel, limit=100, direction="oldest_first")
            assert [row.message for row in page.rows] == [append.message for append, _ in mine]


async def test_info_tells_what_is_retained(store: HistoryStore) -> None:
    stream_id = await fill(store, 12)
    info = await stream_of(store)
    assert (info.stream_id, info.next_serial, info.head) == (stream_id, 13, Position(stream_id, 12))
    assert info.retained == Retained(12, 15, 1, 12, NOW + 10, NOW + 120)
    assert (info.state, info.reason, info.node_id, info.changed_at_ms) == ("healthy", None, None, None)


async def test_times_never_run_backwards(store: HistoryStore) -> None:
    await store.commit([an_append("a", at=NOW + 50), an_append("b", at=NOW)])
    await store.commit([an_append("c", at=NOW + 20), an_append("d", at=NOW + 70)])
    page = await store.read("app", "room", limit=10, direction="oldest_first")
    assert [row.published_at_ms - NOW for row in page.rows] == [50, 50, 50, 70]


async def test_ensure_makes_a_stream_once(store: HistoryStore) -> None:
    made = await store.ensure("app", "room", NOW)
    assert (made.next_serial, made.retained) == (1, Retained())
    assert await store.ensure("app", "room", NOW + 1) == made
    assert await store.info("app", "room") == made
    [outcome] = await store.commit([an_append()])
    assert outcome.position == Position(made.stream_id, 1)
    assert (await store.ensure("app", "room", NOW + 2)).head == outcome.position


async def test_apps_and_channels_are_apart(store: HistoryStore) -> None:
    places = [("app", "room"), ("app", "Room"), ("App", "room"), ("app", "room2"), ("app2", "room")]
    outcomes = await store.commit([an_append(app_id=app_id, channel=channel) for app_id, channel in places])
    assert len({outcome.position.stream_id for outcome in outcomes}) == len(places)
    assert [outcome.position.serial for outcome in outcomes] == [1] * len(places)


async def test_any_text_is_kept(store: HistoryStore) -> None:
    message = "\N{GRINNING FACE} ä \u2028 '\"\\ %s :name \x01".encode()
    channel, event = "presence-räum-\N{SNOWMAN}", "ev-\N{GRINNING FACE}%s"
    append = Append("äpp", channel, message, "id'\\\"", event, NOW, key="schlüssel")
    [outcome] = await store.commit([append])
    [row] = (await store.read("äpp", channel, limit=1)).rows
    assert row == Row(outcome.position.stream_id, 1, NOW, "id'\\\"", event, "append", message)
    assert (await store.commit([append]))[0].repeated


async def test_a_message_may_be_long(store: HistoryStore) -> None:
    message = bytes(range(256)) * 4096
    await store.commit([Append("app", "room", message, "m" * 3000, "e" * 3000, NOW)])
    [row] = (await store.read("app", "room", limit=1)).rows
    assert row.message == message
    assert (row.message_id, row.event_name) == ("m" * 3000, "e" * 3000)


async def test_a_large_batch_is_stored_whole(store: HistoryStore) -> None:
    outcomes = await store.commit([an_append(str(n), channel=f"room-{n % 500}") for n in range(2000)])
    assert [outcome.position.serial for outcome in outcomes] == [1 + n // 500 for n in range(2000)]


# ---- keys ----


async def test_a_key_is_stored_once(store: HistoryStore) -> None:
    first = await store.commit([an_append("a", key="k", fingerprint=b"f")])
    again = await store.commit([an_append("b"), an_append("a", key="k", fingerprint=b"f")])
    assert again[1] == Committed(first[0].position, repeated=True)
    assert texts(await store.read("app", "room", limit=10)) == ["b", "a"]


async def test_a_key_with_another_fingerprint_is_a_conflict(store: HistoryStore) -> None:
    [first] = await store.commit([an_append("a", key="k", fingerprint=b"f")])
    [again] = await store.commit([an_append("b", key="k", fingerprint=b"g")])
    assert again == Committed(first.position, repeated=True, conflict=True)
    assert texts(await store.read("app", "room", limit=10)) == ["a"]


async def test_a_key_counts_within_its_batch(store: HistoryStore) -> None:
    outcomes = await store.commit(
        [
            an_append("a", key="k", fingerprint=b"f"),
            an_append("b"),
            an_append("a", key="k", fingerprint=b"f"),
            an_append("c", key="k", fingerprint=b"g"),
            an_append("d", key="l"),
        ]
    )
    stream_id = outcomes[0].position.stream_id
    assert outcomes == [
        Committed(Position(stream_id, 1)),
        Committed(Position(stream_id, 2)),
        Committed(Position(stream_id, 1), repeated=True),
        Committed(Position(stream_id, 1), repeated=True, conflict=True),
        Committed(Position(stream_id, 3)),
    ]


async def test_a_key_belongs_to_its_channel(store: HistoryStore) -> None:
    outcomes = await store.commit(
        [
            an_append(key="k"),
            an_append(key="k", channel="other"),
            an_append(key="k", app_id="other"),
            an_append(key="K"),
            an_append(key="k "),
        ]
    )
    assert [outcome.repeated for outcome in outcomes] == [False] * 5


async def test_a_key_counts_for_its_time(store: HistoryStore) -> None:
    [first] = await store.commit([an_append("a", key="k", key_ttl_ms=1000)])
    [just] = await store.commit([an_append("a", key="k", key_ttl_ms=1000, at=NOW + 999)])
    assert just == Committed(first.position, repeated=True)
    [late] = await store.commit([an_append("a", key="k", key_ttl_ms=1000, at=NOW + 1000)])
    assert late == Committed(Position(first.position.stream_id, 2))
    [later] = await store.commit([an_append("a", key="k", key_ttl_ms=1000, at=NOW + 1999)])
    assert later == Committed(late.position, repeated=True)


async def test_a_key_may_be_long(store: HistoryStore) -> None:
    keys = ["k" * 5000, "k" * 5001, ""]
    outcomes = await store.commit([an_append(key=key) for key in keys])
    assert [outcome.repeated for outcome in outcomes] == [False] * 3
    again = await store.commit([an_append(key=key) for key in keys])
    assert [outcome.position.serial for outcome in again] == [1, 2, 3]
    assert all(outcome.repeated for outcome in again)


async def test_a_repeated_publish_changes_nothing(store: HistoryStore) -> None:
    await store.commit([an_append(key="k")])
    before = await store.info("app", "room")
    await store.commit([an_append(key="k", at=NOW + 5)])
    assert await store.info("app", "room") == before


# ---- pages ----


@pytest.mark.parametrize(
    ("direction", "after", "expected", "has_more"),
    [
        ("newest_first", None, [10, 9, 8, 7], True),
        ("newest_first", 7, [6, 5, 4, 3], True),
        ("newest_first", 5, [4, 3, 2, 1], False),
        ("newest_first", 3, [2, 1], False),
        ("newest_first", 1, [], False),
        ("newest_first", 99, [10, 9, 8, 7], True),
        ("oldest_first", None, [1, 2, 3, 4], True),
        ("oldest_first", 4, [5, 6, 7, 8], True),
        ("oldest_first", 6, [7, 8, 9, 10], False),
        ("oldest_first", 8, [9, 10], False),
        ("oldest_first", 10, [], False),
        ("oldest_first", 0, [1, 2, 3, 4], True),
    ],
)
async def test_pages_go_on_where_the_last_one_ended(
    store: HistoryStore, direction: Direction, after: int | None, expected: list[int], has_more: bool
) -> None:
    await fill(store, 10)
    page = await store.read("app", "room", limit=4, direction=direction, after=after)
    assert (serials(page), page.has_more) == (expected, has_more)
    assert page.info is not None
    assert page.info.retained.messages == 10


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Bounds(), list(range(1, 11))),
        (Bounds(start_serial=4), [4, 5, 6, 7, 8, 9, 10]),
        (Bounds(end_serial=4), [1, 2, 3, 4]),
        (Bounds(start_serial=4, end_serial=6), [4, 5, 6]),
        (Bounds(start_serial=4, end_serial=4), [4]),
        (Bounds(start_serial=11), []),
        (Bounds(end_serial=0), []),
        (Bounds(start_serial=0, end_serial=99), list(range(1, 11))),
        (Bounds(start_time_ms=NOW + 40), [4, 5, 6, 7, 8, 9, 10]),
        (Bounds(start_time_ms=NOW + 41), [5, 6, 7, 8, 9, 10]),
        (Bounds(start_time_ms=NOW + 100), [10]),
        (Bounds(start_time_ms=NOW + 101), []),
        (Bounds(start_time_ms=0), list(range(1, 11))),
        (Bounds(end_time_ms=NOW + 40), [1, 2, 3, 4]),
        (Bounds(end_time_ms=NOW + 39), [1, 2, 3]),
        (Bounds(end_time_ms=NOW + 10), [1]),
        (Bounds(end_time_ms=NOW + 9), []),
        (Bounds(end_time_ms=NOW + 9_999), list(range(1, 11))),
        (Bounds(start_time_ms=NOW + 30, end_time_ms=NOW + 50), [3, 4, 5]),
        (Bounds(start_time_ms=NOW + 31, end_time_ms=NOW + 39), []),
        (Bounds(start_serial=2, end_serial=8, start_time_ms=NOW + 40, end_time_ms=NOW + 60), [4, 5, 6]),
        (Bounds(start_serial=5, end_serial=5, start_time_ms=NOW + 10, end_time_ms=NOW + 90), [5]),
        (Bounds(start_serial=8, start_time_ms=NOW + 20, end_time_ms=NOW + 60), []),
    ],
)
async def test_both_ends_of_every_bound_belong_to_it(store: HistoryStore, bounds: Bounds, expected: list[int]) -> None:
    await fill(store, 10)
    up = await store.read("app", "room", bounds=bounds, limit=100, direction="oldest_first")
    down = await store.read("app", "room", bounds=bounds, limit=100)
    assert (serials(up), up.has_more) == (expected, False)
    assert (serials(down), down.has_more) == (expected[::-1], False)
    if len(expected) > 1:
        some = await store.read("app", "room", bounds=bounds, limit=len(expected) - 1)
        assert (serials(some), some.has_more) == (expected[:0:-1], True)


async def test_many_messages_of_one_time_are_found_by_it(store: HistoryStore) -> None:
    times = [NOW + n // 100 for n in range(500)]
    await store.commit([an_append(str(n), at=at) for n, at in enumerate(times, 1)])
    bounds = Bounds(start_time_ms=NOW + 2, end_time_ms=NOW + 3)
    page = await store.read("app", "room", bounds=bounds, limit=1000, direction="oldest_first")
    assert serials(page) == list(range(201, 401))


async def test_a_page_may_have_a_thousand_rows(store: HistoryStore) -> None:
    await fill(store, 1200)
    page = await store.read("app", "room", limit=1000)
    assert (serials(page), page.has_more) == (list(range(1200, 200, -1)), True)
    page = await store.read("app", "room", limit=1000, after=201)
    assert (serials(page), page.has_more) == (list(range(200, 0, -1)), False)


async def test_reads_see_whole_batches(store: HistoryStore) -> None:
    """Info and rows of a page are of one moment, while another task writes."""
    await store.ensure("app", "room", NOW)

    async def write() -> None:
        for number in range(20):
            await store.commit([an_append(f"{number}-{part}") for part in range(10)])

    writing = asyncio.ensure_future(write())
    while not writing.done():
        page = await store.read("app", "room", limit=1000, direction="oldest_first")
        assert page.info is not None
        assert page.info.next_serial % 10 == 1
        assert serials(page) == list(range(1, page.info.next_serial))
        await asyncio.sleep(0)
    await writing


async def test_calls_at_once_are_served_in_order(store: HistoryStore) -> None:
    outcomes = await asyncio.gather(*(store.commit([an_append(str(number))]) for number in range(30)))
    assert [outcome.position.serial for [outcome] in outcomes] == list(range(1, 31))
    page = await store.read("app", "room", limit=100, direction="oldest_first")
    assert texts(page) == [str(number) for number in range(30)]


async def test_the_state_of_a_stream_is_kept(store: HistoryStore) -> None:
    await fill(store, 2)
    await store.mark("app", "room", "degraded", "durable_history_write_failed", "node-1", NOW + 5)
    info = await stream_of(store)
    assert (info.state, info.reason, info.node_id) == ("degraded", "durable_history_write_failed", "node-1")
    assert (info.changed_at_ms, info.next_serial, info.retained.messages) == (NOW + 5, 3, 2)
    [outcome] = await store.commit([an_append()])
    assert outcome.position == Position(info.stream_id, 3)
    info = await stream_of(store)
    assert info.state == "degraded"
    await store.mark("app", "room", "healthy", None, None, NOW + 9)
    info = await stream_of(store)
    assert (info.state, info.reason, info.node_id, info.changed_at_ms) == ("healthy", None, None, NOW + 9)


async def test_a_started_store_answers(store: HistoryStore) -> None:
    assert await store.check() is True


async def test_closing_twice_does_no_harm(place: Place) -> None:
    async with place.open() as store:
        await store.close()
