"""What every history store promises about what goes: retention, expiry, what operators delete (spec: history § 7)."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from msgspec import structs

from contract.history import (
    NOW,
    an_append,
    fill,
    serials,
    stream_of,
    texts,
)
from sockudo.base.stream_records import (
    RETRACTED,
    SEED_PLACE,
    Bounds,
    Committed,
    Page,
    Position,
    Purged,
    Retained,
    Retention,
)
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.totals import Group, Total


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that delete in steps of so many rows take a few hundred for many."""
    monkeypatch.setattr("sockudo.drivers.sql.history_upkeep.ROWS_AT_ONCE", 500)


async def held(store: HistoryStore, channel: str = "room") -> list[int]:
    """The serials that a channel has, checked against what its stream says of them."""
    page = await store.read("app", channel, limit=10_000, direction="oldest_first")
    assert page.info is not None
    rows = page.rows
    if rows:
        size = sum(len(row.message) for row in rows)
        ends = rows[0].serial, rows[-1].serial, rows[0].published_at_ms, rows[-1].published_at_ms
        assert page.info.retained == Retained(len(rows), size, *ends)
    else:
        assert page.info.retained == Retained()
    return serials(page)


# ---- retention with each message ----


async def test_count_retention_keeps_the_newest(store: HistoryStore) -> None:
    retention = Retention(max_messages=3)
    for number in range(1, 8):
        await store.commit([an_append(str(number), retention=retention)])
        assert await held(store) == list(range(max(1, number - 2), number + 1))


async def test_count_retention_within_one_batch(store: HistoryStore) -> None:
    await store.commit([an_append(str(number), retention=Retention(max_messages=10)) for number in range(1, 31)])
    assert await held(store) == list(range(21, 31))


async def test_bytes_retention_drops_the_oldest_until_the_rest_fits(store: HistoryStore) -> None:
    retention = Retention(max_bytes=10)
    for size, expected in [
        (4, [1]),
        (4, [1, 2]),
        (2, [1, 2, 3]),
        (1, [2, 3, 4]),
        (9, [4, 5]),
        (10, [6]),
        (11, []),
        (1, [8]),
    ]:
        await store.commit([an_append("x" * size, retention=retention)])
        assert await held(store) == expected
    assert (await stream_of(store)).next_serial == 9


async def test_age_retention_drops_what_is_older_than_the_window(store: HistoryStore) -> None:
    retention = Retention(window_ms=100)
    for at in (0, 10, 20, 100, 101, 115):
        await store.commit([an_append(str(at), at=NOW + at, retention=retention)])
    assert texts(await store.read("app", "room", limit=10, direction="oldest_first")) == ["20", "100", "101", "115"]
    assert await held(store) == [3, 4, 5, 6]


async def test_only_a_prefix_ever_goes(store: HistoryStore) -> None:
    """A message from a node whose clock is behind is not older than the one before it."""
    retention = Retention(window_ms=100)
    await store.commit([an_append("a", at=NOW + 90, retention=retention), an_append("b", at=NOW, retention=retention)])
    await store.commit([an_append("c", at=NOW + 150, retention=retention)])
    assert await held(store) == [1, 2, 3]
    await store.commit([an_append("d", at=NOW + 191, retention=retention)])
    assert await held(store) == [3, 4]


async def test_all_kinds_of_retention_hold_at_once(store: HistoryStore) -> None:
    retention = Retention(window_ms=1000, max_messages=5, max_bytes=12)
    await store.commit([an_append("xx", at=NOW + n, retention=retention) for n in range(4)])
    assert await held(store) == [1, 2, 3, 4]
    await store.commit([an_append("xxxx", at=NOW + 10, retention=retention)])
    assert await held(store) == [1, 2, 3, 4, 5]
    await store.commit([an_append("xx", at=NOW + 20, retention=retention)])
    assert await held(store) == [2, 3, 4, 5, 6]
    await store.commit([an_append("x", at=NOW + 1002, retention=retention)])
    assert await held(store) == [3, 4, 5, 6, 7]


async def test_each_channel_has_its_own_retention(store: HistoryStore) -> None:
    kept = {f"room-{number}": number + 1 for number in range(80)}
    for _ in range(2):
        batch = [
            an_append(str(number), channel=channel, retention=Retention(max_messages=most))
            for number in range(45)
            for channel, most in kept.items()
        ]
        await store.commit(batch)
    for channel, most in list(kept.items())[::13]:
        assert await held(store, channel) == list(range(91 - most, 91))


async def test_a_commit_drops_a_bounded_number_of_rows(store: HistoryStore) -> None:
    await fill(store, 2500)
    await store.commit([an_append("a", at=NOW + 90_000, retention=Retention(max_messages=10))])
    assert await held(store) == list(range(1001, 2502))
    await store.commit([an_append("b", at=NOW + 90_000, retention=Retention(window_ms=1000))])
    assert await held(store) == list(range(2001, 2503))
    await store.commit([an_append("c", at=NOW + 90_000, retention=Retention(max_bytes=1))])
    assert await held(store) == [2503]


async def test_a_batch_that_only_repeats_drops_nothing(store: HistoryStore) -> None:
    await store.commit([an_append("a", key="k"), an_append("b")])
    await store.commit([an_append("a", key="k", at=NOW + 9, retention=Retention(max_messages=1))])
    assert await held(store) == [1, 2]


# ---- expiry ----


async def test_expiry_follows_the_window_of_each_stream(store: HistoryStore) -> None:
    for channel, window in (("short", 100), ("long", 1000), ("ever", None)):
        batch = [an_append(str(n), channel, at=NOW + n * 50, retention=Retention(window_ms=window)) for n in range(3)]
        await store.commit(batch)
    assert await store.expire(NOW + 100, 100) == (0, False)
    assert await store.expire(NOW + 151, 100) == (2, False)
    assert await held(store, "short") == [3]
    assert await store.expire(NOW + 1001, 100) == (2, False)
    assert (await held(store, "short"), await held(store, "long")) == ([], [2, 3])
    assert await held(store, "ever") == [1, 2, 3]
    assert await store.expire(NOW + 10**9, 100) == (2, False)
    assert await held(store, "ever") == [1, 2, 3]


async def test_expiry_works_in_bounded_steps(store: HistoryStore) -> None:
    window = Retention(window_ms=100)
    for channel in ("a", "b", "c"):
        await store.commit([an_append(str(n), channel, at=NOW + n, retention=window) for n in range(10)])
    steps = []
    while not steps or steps[-1][1]:
        steps.append(await store.expire(NOW + 1000, 7))
    assert sum(removed for removed, _ in steps) == 30
    assert all(0 < removed <= 7 for removed, _ in steps)
    assert [more for _, more in steps] == [True] * (len(steps) - 1) + [False]
    assert [await held(store, channel) for channel in ("a", "b", "c")] == [[], [], []]


async def test_expiry_takes_something_of_every_stream_that_is_due(store: HistoryStore) -> None:
    keep = Retention(window_ms=1000)
    channels = [f"room-{number}" for number in range(20)]
    await store.commit([an_append(str(n), channel, retention=keep) for n in range(3) for channel in channels])
    await store.commit([an_append(str(n), at=NOW - 10, retention=keep) for n in range(100)])
    assert await store.expire(NOW + 1001, 63) == (63, True)
    assert [await held(store, channel) for channel in channels] == [[]] * 20
    assert await held(store) == list(range(4, 101))
    assert await store.expire(NOW + 1001, 63) == (63, True)
    assert await store.expire(NOW + 1001, 63) == (34, False)
    assert await held(store) == []


async def test_a_commit_to_many_channels_drops_a_bounded_number_of_rows(store: HistoryStore) -> None:
    channels = [f"room-{number}" for number in range(10)]
    await store.commit([an_append(str(n), channel) for n in range(300) for channel in channels])
    soon = Retention(window_ms=1)
    outcomes = await store.commit([an_append("last", channel, at=NOW + 10, retention=soon) for channel in channels])
    left = [await held(store, channel) for channel in channels]
    assert [serials[-1] for serials in left] == [outcome.position.serial for outcome in outcomes] == [301] * 10
    assert all(1 <= len(serials) <= 291 for serials in left)


async def test_numbering_goes_on_after_everything_expired(store: HistoryStore) -> None:
    [first] = await store.commit([an_append(retention=Retention(window_ms=100))])
    assert await store.expire(NOW + 101, 10) == (1, False)
    assert await store.expire(NOW + 10**9, 10) == (0, False)
    [second] = await store.commit([an_append(at=NOW + 10**9)])
    assert second.position == Position(first.position.stream_id, 2)


async def test_keys_expire(store: HistoryStore) -> None:
    await store.commit([an_append(str(n), key=f"k{n}", key_ttl_ms=100 * n) for n in range(1, 6)])
    assert await store.expire(NOW + 99, 10) == (0, False)
    assert await store.expire(NOW + 200, 10) == (2, False)
    assert await store.expire(NOW + 500, 2) == (2, True)
    assert await store.expire(NOW + 500, 2) == (1, False)


async def test_a_stream_never_written_to_goes_after_its_window(store: HistoryStore) -> None:
    made = await store.ensure("app", "room", NOW, Retention(window_ms=100))
    await store.ensure("app", "other", NOW, Retention(window_ms=100))
    await store.ensure("app", "ever", NOW)
    assert await store.expire(NOW + 100, 10) == (0, False)
    assert await store.ensure("app", "room", NOW + 100, Retention(window_ms=100)) == made
    assert await store.expire(NOW + 101, 10) == (1, False)
    assert await store.info("app", "room") == made
    assert await store.info("app", "other") is None
    assert await store.expire(NOW + 201, 10) == (1, False)
    assert await store.info("app", "room") is None
    assert await store.info("app", "ever") is not None


async def test_a_stream_that_was_reset_or_rotated_stays_though_it_is_not_written_to(store: HistoryStore) -> None:
    retention = Retention(window_ms=100)
    for channel in ("reset", "rotated"):
        await store.ensure("app", channel, NOW, retention)
    made = (await store.reset("app", "reset", NOW)).info, await store.rotate("app", "rotated", NOW)
    assert await store.expire(NOW + 1000, 10) == (0, False)
    assert (await store.info("app", "reset"), await store.info("app", "rotated")) == made


async def test_the_first_message_may_bring_the_id_of_its_stream(store: HistoryStore) -> None:
    given = "11111111-2222-4333-8444-555555555555"
    brought = structs.replace(an_append("a"), stream_id=given)
    [first, second] = await store.commit([brought, an_append("b")])
    assert [first.position, second.position] == [Position(given, 1), Position(given, 2)]
    [third] = await store.commit([structs.replace(an_append("c"), stream_id="another")])
    assert third.position == Position(given, 3)
    assert texts(await store.read("app", "room", limit=10)) == ["c", "b", "a"]


async def test_a_deleted_app_takes_the_seed_of_others_with_it(store: HistoryStore) -> None:
    seed = await store.ensure(*SEED_PLACE, NOW)
    assert await store.info(*SEED_PLACE) == seed
    await store.commit([an_append(app_id="other")])
    await store.delete_app("app")
    assert await store.info(*SEED_PLACE) is None
    assert (await stream_of(store, app_id="other")).next_serial == 2


# ---- reset ----


async def test_reset_starts_a_new_stream(store: HistoryStore) -> None:
    old = await fill(store, 5)
    await store.mark("app", "room", "reset_required", "why", "node", NOW)
    purged = await store.reset("app", "room", NOW + 99)
    assert purged.info is not None
    assert (purged.messages, purged.size, purged.previous) == (5, 5, old)
    assert (purged.info.next_serial, purged.info.retained, purged.info.state) == (1, Retained(), "healthy")
    assert (purged.info.reason, purged.info.node_id, purged.info.changed_at_ms) == (None, None, None)
    assert uuid.UUID(purged.info.stream_id).version == 4
    assert purged.info.stream_id != old
    assert await store.info("app", "room") == purged.info
    assert await store.read("app", "room", limit=10) == Page(purged.info)
    [outcome] = await store.commit([an_append("new")])
    assert outcome.position == Position(purged.info.stream_id, 1)
    assert texts(await store.read("app", "room", limit=10)) == ["new"]


async def test_reset_of_a_channel_without_a_stream_makes_one(store: HistoryStore) -> None:
    purged = await store.reset("app", "room", NOW)
    assert (purged.messages, purged.size, purged.previous) == (0, 0, None)
    assert purged.info == await store.info("app", "room")
    assert purged.info is not None


async def test_a_stream_that_was_reset_keeps_its_window_for_what_is_written_next(store: HistoryStore) -> None:
    await store.commit([an_append(retention=Retention(window_ms=100))])
    made = (await store.reset("app", "room", NOW)).info
    assert await store.expire(NOW + 101, 10) == (0, False)
    assert await store.info("app", "room") == made
    await store.commit([an_append(at=NOW + 200, retention=Retention(window_ms=100))])
    assert await store.expire(NOW + 301, 10) == (1, False)
    assert await store.info("app", "room") is not None


async def test_a_key_outlives_a_reset(store: HistoryStore) -> None:
    """What was stored before a reset, and repeated after it, was stored."""
    [first] = await store.commit([an_append(key="k")])
    await store.reset("app", "room", NOW)
    assert await store.commit([an_append(key="k")]) == [Committed(first.position, repeated=True)]


@pytest.mark.usefixtures("small_steps")
async def test_reset_of_a_long_stream(store: HistoryStore) -> None:
    stream_id = await fill(store, 1201)
    purged = await store.reset("app", "room", NOW)
    assert (purged.messages, purged.previous) == (1201, stream_id)
    assert await held(store) == []


async def test_commits_that_race_a_reset_are_in_one_stream_or_the_other(store: HistoryStore) -> None:
    old = await fill(store, 3)

    async def publish() -> list[Position]:
        positions = []
        for number in range(20):
            outcomes = await store.commit([an_append(f"{number}")])
            positions.append(outcomes[0].position)
        return positions

    publishing = asyncio.ensure_future(publish())
    await asyncio.sleep(0)
    purged = await store.reset("app", "room", NOW)
    positions = await publishing
    assert purged.info is not None
    before = [position.serial for position in positions if position.stream_id == old]
    after = [position.serial for position in positions if position.stream_id == purged.info.stream_id]
    assert before == list(range(4, 4 + len(before)))
    assert after == list(range(1, 1 + len(after)))
    assert len(before) + len(after) == 20
    assert purged.messages == 3 + len(before)
    assert await held(store) == after


# ---- purge ----


@pytest.mark.parametrize(
    ("bound", "left"),
    [
        ({}, []),
        ({"before_serial": 4}, [4, 5, 6, 7, 8]),
        ({"before_serial": 1}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"before_serial": 99}, []),
        ({"before_time_ms": NOW + 40}, [4, 5, 6, 7, 8]),
        ({"before_time_ms": NOW + 41}, [5, 6, 7, 8]),
        ({"before_time_ms": NOW + 10}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"before_time_ms": NOW + 99}, []),
    ],
)
async def test_purge_deletes_what_is_strictly_before_the_bound(
    store: HistoryStore, bound: dict[str, Any], left: list[int]
) -> None:
    stream_id = await fill(store, 8)
    purged = await store.purge("app", "room", NOW + 200, **bound)
    assert purged == Purged(8 - len(left), 8 - len(left), await store.info("app", "room"))
    assert await held(store) == left
    [outcome] = await store.commit([an_append("x", at=NOW + 300)])
    assert outcome.position == Position(stream_id, 9)
    assert await held(store) == [*left, 9]


async def test_purge_of_a_channel_without_a_stream_makes_none(store: HistoryStore) -> None:
    assert await store.purge("app", "room", NOW) == Purged(0, 0, None)
    assert await store.info("app", "room") is None


async def test_purge_keeps_state_and_keys(store: HistoryStore) -> None:
    [first] = await store.commit([an_append(key="k")])
    await store.mark("app", "room", "degraded", "why", "node", NOW)
    purged = await store.purge("app", "room", NOW)
    assert purged.info is not None
    assert (purged.info.state, purged.info.reason) == ("degraded", "why")
    assert await store.commit([an_append(key="k")]) == [Committed(first.position, repeated=True)]


@pytest.mark.usefixtures("small_steps")
async def test_purge_of_a_long_stream(store: HistoryStore) -> None:
    await fill(store, 1201)
    purged = await store.purge("app", "room", NOW, before_serial=1100)
    assert purged.messages == 1099
    assert await held(store) == list(range(1100, 1202))
    purged = await store.purge("app", "room", NOW)
    assert purged.messages == 102
    assert await held(store) == []


# ---- apps ----


@pytest.mark.usefixtures("small_steps")
async def test_a_deleted_app_leaves_nothing(store: HistoryStore) -> None:
    await store.commit([an_append(str(n), channel=f"room-{n % 300}", key=f"k{n}") for n in range(900)])
    await store.commit([an_append(app_id="other", key="k")])
    await fill(store, 600)
    await store.ensure("app", "unused", NOW)
    old = await stream_of(store, "room-7")
    await store.delete_app("app")
    for channel in ("room", "unused", "room-0", "room-299"):
        assert await store.info("app", channel) is None
    assert (await stream_of(store, app_id="other")).next_serial == 2
    [again] = await store.commit([an_append("7", channel="room-7", key="k7")])
    assert (again.repeated, again.position.serial) == (False, 1)
    assert again.position.stream_id != old.stream_id
    assert await held(store, "room-7") == [1]


# ---- what nobody heard, and streams that fell back ----


async def test_the_newest_messages_can_be_taken_back(store: HistoryStore) -> None:
    await fill(store, 3)
    unheard = [an_append("x", at=NOW + 90, key="k"), an_append("y", at=NOW + 90)]
    await store.commit(unheard)
    info = await store.retract(unheard, 3, NOW + 99)
    assert info == await stream_of(store)
    assert (info.next_serial, await held(store)) == (4, [1, 2, 3])
    assert await store.retract(unheard, 3, NOW + 99) == info
    [again] = await store.commit([an_append("x", at=NOW + 95, key="k")])
    assert again == Committed(Position(info.stream_id, 4))


async def test_what_has_something_behind_it_is_emptied(store: HistoryStore) -> None:
    await fill(store, 2)
    unheard = [an_append("x", at=NOW + 90), an_append("y", at=NOW + 90)]
    await store.commit([unheard[0], an_append("other", at=NOW + 91), unheard[1]])
    info = await store.retract(unheard, 2, NOW + 99)
    assert info is not None
    assert (info.next_serial, await held(store)) == (5, [1, 2, 3, 4])
    rows = (await store.read("app", "room", limit=2, direction="oldest_first", after=2)).rows
    assert [(row.message, row.message_id, row.event_name, row.operation_kind) for row in rows] == [
        (b"", None, None, RETRACTED),
        (b"other", "id-other", "said", "append"),
    ]
    assert await store.retract(unheard, 2, NOW + 99) == info


async def test_only_what_it_was_asked_for_is_taken_back(store: HistoryStore) -> None:
    earlier = an_append("x", at=NOW + 10)
    await store.commit([earlier, an_append("same id", message_id="id-x", at=NOW + 20), an_append("z", at=NOW + 30)])
    before = await stream_of(store)
    assert await store.retract([an_append("x", at=NOW + 11)], 0, NOW + 99) == before
    assert await store.retract([an_append("x", at=NOW + 10)], 1, NOW + 99) == before
    assert await store.retract([an_append("w", at=NOW)], 0, NOW + 99) == before
    assert await held(store) == [1, 2, 3]


async def test_a_stream_may_be_empty_after_something_was_taken_back(store: HistoryStore) -> None:
    [outcome] = await store.commit([an_append("x", key="k")])
    info = await store.retract([an_append("x", key="k")], 0, NOW)
    assert info is not None
    assert (info.stream_id, info.next_serial, info.retained) == (outcome.position.stream_id, 1, Retained())
    assert await store.commit([an_append("x", key="k")]) == [outcome]


async def test_nothing_is_taken_back_where_there_is_no_stream(store: HistoryStore) -> None:
    assert await store.retract([an_append()], 0, NOW) is None
    assert await store.info("app", "room") is None


async def test_much_can_be_taken_back(store: HistoryStore) -> None:
    await fill(store, 10)
    unheard = [an_append(f"u{n}", at=NOW + 200, key=f"k{n}") for n in range(1000)]
    await store.commit(unheard)
    info = await store.retract(unheard, 0, NOW + 300)
    assert info is not None
    assert (info.next_serial, await held(store)) == (11, list(range(1, 11)))


async def test_a_stream_can_get_another_id(store: HistoryStore) -> None:
    [first] = await store.commit([an_append("a", key="k")])
    info = await store.rotate("app", "room", NOW + 5)
    assert info.stream_id != first.position.stream_id
    assert (info.next_serial, info.retained.messages) == (2, 1)
    assert await stream_of(store) == info
    page = await store.read("app", "room", limit=10)
    assert [(row.stream_id, row.serial, row.message) for row in page.rows] == [(info.stream_id, 1, b"a")]
    outcomes = await store.commit([an_append("a", key="k"), an_append("b", at=NOW + 3)])
    assert outcomes == [
        Committed(Position(info.stream_id, 1), repeated=True),
        Committed(Position(info.stream_id, 2)),
    ]
    assert await held(store) == [1, 2]
    bounds = Bounds(start_time_ms=NOW + 1)
    assert serials(await store.read("app", "room", bounds=bounds, limit=10)) == [2]
    assert (await store.purge("app", "room", NOW + 9)).messages == 2
    assert await held(store) == []


async def test_a_reset_after_another_id(store: HistoryStore) -> None:
    await store.commit([an_append("a")])
    rotated = await store.rotate("app", "room", NOW)
    purged = await store.reset("app", "room", NOW)
    assert (purged.messages, purged.previous) == (1, rotated.stream_id)
    assert await held(store) == []


async def test_a_stream_that_is_given_an_id_is_made_where_there_is_none(store: HistoryStore) -> None:
    info = await store.rotate("app", "room", NOW)
    assert (info.next_serial, info.retained) == (1, Retained())
    assert await stream_of(store) == info


# ---- sums ----


async def test_totals_are_sums_over_the_streams_of_a_kind(store: HistoryStore) -> None:
    before = await store.totals()
    assert before == {}
    room, other = "[presence-history]presence-a", "[presence-history]presence-b"
    await store.commit([an_append("12345"), an_append("123", "hall"), an_append("1", room), an_append("12", other)])
    await store.commit([an_append("1234", room, "else"), an_append("1", "%presence-history]x")])
    assert await store.totals() == {
        Group("app"): Total(3, 9, 0),
        Group("app", presence=True): Total(2, 3, 0),
        Group("else", presence=True): Total(1, 4, 0),
    }
    await store.mark("app", other, "reset_required", None, None, NOW)
    await store.mark("app", room, "degraded", None, None, NOW)
    await store.purge("app", "room", NOW)
    found = await store.totals()
    assert found[Group("app")] == Total(2, 4, 0)
    assert found[Group("app", presence=True)] == Total(2, 3, 1)


async def test_what_retention_takes_is_counted(store: HistoryStore) -> None:
    def evicted(group: Group) -> tuple[int, int]:
        return store.evicted.messages[group], store.evicted.size[group]

    ours, theirs = Group("app"), Group("app", presence=True)
    before, before_theirs = evicted(ours), evicted(theirs)
    keep_two = Retention(max_messages=2)
    await store.commit([an_append("12345", retention=keep_two), an_append("123", retention=keep_two)])
    assert evicted(ours) == before
    await store.commit([an_append("1", retention=keep_two)])
    assert evicted(ours) == (before[0] + 1, before[1] + 5)
    room = "[presence-history]presence-a"
    await store.commit([an_append("12", room, retention=Retention(window_ms=100))])
    await store.expire(NOW + 101, 10)
    assert evicted(theirs) == (before_theirs[0] + 1, before_theirs[1] + 2)
    await store.purge("app", "room", NOW)
    await store.reset("app", "room", NOW)
    assert evicted(ours) == (before[0] + 1, before[1] + 5)
