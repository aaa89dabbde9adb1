"""What every history store promises of messages that change (spec: messages § 6)."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from contract.history import NOW, an_append, serials, stream_of
from contract.messages import LOG, a_change, a_create, a_serial, data_of, fragments
from contract.places import Place
from sockudo.base.message_records import Latest
from sockudo.base.stream_records import Append, Direction, Position, Retention
from sockudo.drivers import MemoryHistoryStore
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.totals import Group
from sockudo.hub.streams.versions import decode_version

AN_HOUR = Retention(window_ms=3_600_000)
FOR_EVER = 1 << 60


async def test_a_create_is_in_the_history_in_the_log_and_readable(store: HistoryStore) -> None:
    [outcome] = await store.commit([a_create(1, "one", owner="u-1", extras={"a": 1}, tags={"t": "x"})])
    assert outcome.is_new
    assert outcome.version is not None
    assert (outcome.position.serial, outcome.version.history_serial) == (1, 1)
    [row] = (await store.read("app", "room", limit=9)).rows
    assert (row.serial, row.operation_kind, row.message_id, row.event_name) == (1, "create", "id-1", "said")
    assert await store.message("app", LOG, a_serial(1)) == Latest(1, outcome.version)
    [logged] = (await store.read("app", LOG, limit=9)).rows
    assert decode_version(logged.message) == outcome.version
    assert (logged.message_id, logged.event_name, logged.operation_kind) == ("id-1", "said", "create")


async def test_the_two_streams_have_numbers_of_their_own(store: HistoryStore) -> None:
    await store.commit([an_append("before")])
    outcomes = await store.commit([a_create(1), a_change(2, 1, "append", "!"), a_create(3)])
    assert [each.position.serial for each in outcomes] == [1, 2, 3]
    assert [each.version.history_serial for each in outcomes if each.version] == [2, 2, 3]
    assert (await stream_of(store)).next_serial == 4
    assert (await stream_of(store, LOG)).stream_id != (await stream_of(store)).stream_id
    assert serials(await store.read("app", "room", limit=9)) == [3, 2, 1]


async def test_changes_of_one_batch_build_on_each_other(store: HistoryStore) -> None:
    outcomes = await store.commit(
        [
            a_create(1, "a"),
            a_change(2, 1, "append", "b", whole=True),
            a_change(3, 1, "update", "x", description="why", metadata=msgspec.Raw(b'{"by":1}'), client_id="u-2"),
            a_change(4, 1, "append", "y", whole=True),
            a_change(5, 1, "delete"),
        ]
    )
    assert [each.whole for each in outcomes] == [None, "ab", None, "xy", None]
    assert await fragments(store) == [
        (1, "create", "a"),
        (2, "append", "b"),
        (3, "update", "x"),
        (4, "append", "y"),
        (5, "delete", "xy"),
    ]
    assert await data_of(store) == (5, "xy")
    update = outcomes[2].version
    assert update is not None
    assert (update.description, bytes(update.metadata), update.client_id) == ("why", b'{"by":1}', "u-2")


@pytest.mark.parametrize("size", [7, 700, 5000])
async def test_a_text_grows_over_many_commits(store: HistoryStore, size: int) -> None:
    await store.commit([a_create(1, "é" * size)])
    expected = "é" * size
    for number in range(2, 14):
        piece = f"<{number}>" + "ü" * (size if number % 3 else 1)
        [outcome] = await store.commit([a_change(number, 1, "append", piece, whole=number == 9)])
        expected += piece
        assert outcome.version is not None
        assert outcome.version.length == len(expected)
        if number == 9:
            assert outcome.whole == expected
    assert await data_of(store) == (13, expected)
    await store.commit([a_change(14, 1, "update", name="other")])
    latest = await store.message("app", LOG, a_serial(1))
    assert latest is not None
    assert (latest.version.name, latest.version.text) == ("other", expected)
    assert (await fragments(store))[-1] == (14, "update", expected)
    await store.commit([a_change(15, 1, "update", "short"), a_change(16, 1, "append", "er")])
    assert await data_of(store) == (16, "shorter")
    await store.commit([a_change(17, 1, "append", "z" * 6000), a_change(18, 1, "append", "!")])
    assert await data_of(store) == (18, "shorter" + "z" * 6000 + "!")


async def test_what_is_refused_leaves_nothing_and_stops_nobody(store: HistoryStore) -> None:
    outcomes = await store.commit(
        [
            a_create(1, msgspec.Raw(b'{"a":1}'), owner="u-1"),
            a_change(2, 1, "append", "text"),
            a_change(3, 9, "update", "x"),
            a_change(4, 1, "update", "x", owner="u-2"),
            a_change(5, 1, "update", "x", owner=None),
            a_change(6, 1, "update", "x", owner="u-1"),
        ]
    )
    assert [each.refused for each in outcomes] == [None, "not_text", "unknown", "not_owner", "not_owner", None]
    assert [each.is_new for each in outcomes] == [True, False, False, False, False, True]
    assert outcomes[-1].position.serial == 2
    assert await data_of(store) == (2, "x")
    [alone] = await store.commit([a_change(7, 9, "append", "x")])
    assert alone.refused == "unknown"
    assert (await stream_of(store, LOG)).next_serial == 3


async def test_a_message_does_not_grow_past_its_bounds(store: HistoryStore) -> None:
    bounds = {"most_bytes": 1500, "most_appends": 3}
    await store.commit([a_create(1, "x" * 600)])
    outcomes = [
        *await store.commit(
            [a_change(2, 1, "append", "y" * 600, **bounds), a_change(3, 1, "append", "z" * 301, **bounds)]
        ),
        *await store.commit(
            [a_change(4, 1, "append", "z" * 300, **bounds), a_change(5, 1, "update", "é" * 751, **bounds)]
        ),
        *await store.commit([a_change(6, 1, "update", "é" * 750, **bounds), a_change(7, 1, "append", "!", **bounds)]),
        *await store.commit([a_change(8, 1, "update", "", **bounds), a_change(9, 1, "append", "!", **bounds)]),
        *await store.commit([a_change(10, 1, "append", "!", **bounds), a_change(11, 1, "delete", **bounds)]),
    ]
    long, often = "too_long", "too_often"
    assert [each.refused for each in outcomes] == [None, long, None, long, None, long, None, None, often, None]
    assert [each.position.serial for each in outcomes if each.is_new] == [2, 3, 4, 5, 6, 7]
    assert await data_of(store) == (7, "!")


async def test_no_writer_at_the_bound_gets_past_it(shared: Place) -> None:
    async with shared.open() as one, shared.open() as two:
        await one.commit([a_create(1, "")])

        async def write(store: HistoryStore, node: int) -> list[str | None]:
            outcomes = [
                await store.commit([a_change(node * 100 + number, 1, "append", "xy", most_bytes=41)])
                for number in range(20)
            ]
            return [each.refused for [each] in outcomes]

        refused = await asyncio.gather(write(one, 1), write(two, 2), write(one, 3))
        assert sorted(each or "" for some in refused for each in some) == [""] * 20 + ["too_long"] * 40
        assert await data_of(one) == (21, "xy" * 20)


async def test_data_of_every_kind_is_kept(store: HistoryStore) -> None:
    await store.commit([a_create(1, None)])
    assert await data_of(store) == (1, None)
    await store.commit([a_change(2, 1, "append", "x\u0000y")])
    assert await data_of(store) == (2, "x\u0000y")
    await store.commit([a_change(3, 1, "update", msgspec.Raw(b'[1, "\\u0000"]'))])
    assert await data_of(store) == (3, b'[1, "\\u0000"]')
    await store.commit([a_change(4, 1, "delete", None, name=None, extras=None)])
    assert await data_of(store) == (4, None)
    await store.commit([a_change(5, 1, "update", "")])
    assert await data_of(store) == (5, "")


async def test_a_version_sorts_behind_the_one_before(store: HistoryStore) -> None:
    await store.commit([a_create(1)])
    outcomes = await store.commit([a_change(2, 1, "append", "b", at=NOW - 5000), a_change(3, 1, "append", "c", at=1)])
    found = [each.version.version_serial for each in outcomes if each.version]
    assert found == [a_serial(2, NOW + 1), a_serial(3, NOW + 2)]
    assert all(a_serial(1) < each for each in found)


async def test_an_operation_is_done_once(store: HistoryStore) -> None:
    await store.commit([a_create(1, "a")])
    append = a_change(2, 1, "append", "b", key="op", fingerprint=b"f")
    forever = msgspec.structs.replace(append, key_ttl_ms=FOR_EVER)
    [first] = await store.commit([forever])
    other = msgspec.structs.replace(forever, fingerprint=b"g")
    again, conflict = await store.commit([forever, other])
    assert (again.repeated, again.conflict, again.position) == (True, False, first.position)
    assert (conflict.repeated, conflict.conflict) == (True, True)
    assert await data_of(store) == (2, "ab")
    assert await store.expire(NOW + 365 * 86_400_000, 10) == (0, False)


async def test_what_was_refused_does_not_use_its_key(store: HistoryStore) -> None:
    append = a_change(2, 1, "append", "b", key="op", fingerprint=b"f")
    [refused] = await store.commit([append])
    assert refused.refused == "unknown"
    await store.commit([a_create(1, "a")])
    [outcome] = await store.commit([append])
    assert outcome.is_new


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
async def test_versions_come_in_pages(store: HistoryStore, direction: Direction) -> None:
    await store.commit([a_create(1, "a"), a_create(2, "other")])
    for number in range(3, 10):
        await store.commit([a_change(number, 1, "append", f"{number}"), a_change(number + 20, 2, "append", "-")])
    seen, after = [], None
    while True:
        page = await store.versions("app", LOG, a_serial(1), direction=direction, limit=3, after=after)
        versions = [decode_version(row.message) for row in page.rows]
        seen += [each.text for each in versions]
        assert {each.message_serial for each in versions} == {a_serial(1)}
        if not page.has_more:
            break
        after = versions[-1].version_serial
    expected = ["a", *map(str, range(3, 10))]
    assert seen == (expected if direction == "oldest_first" else expected[::-1])
    assert (await store.versions("app", LOG, a_serial(99), limit=3)).rows == ()
    assert (await store.versions("app", "[versions]none", a_serial(1), limit=3)).info is None


async def test_a_page_of_the_history_has_messages_as_they_read_now(store: HistoryStore) -> None:
    await store.commit([an_append("plain"), a_create(1, "a"), a_create(2, "b"), a_change(3, 1, "append", "!")])
    page = await store.read("app", "room", direction="oldest_first", limit=9, latest=True)
    found = [row.latest and (row.latest.serial, row.latest.version.text) for row in page.rows]
    assert found == [None, (3, "a!"), (2, "b")]
    assert [row.latest for row in (await store.read("app", "room", limit=9)).rows] == [None, None, None]


async def test_messages_go_with_their_last_version(store: HistoryStore) -> None:
    later = NOW + 3_000_000
    await store.commit([a_create(1, "a", retention=AN_HOUR), a_create(2, "b", retention=AN_HOUR)])
    await store.commit([a_change(3, 1, "append", "!", at=later, retention=AN_HOUR)])
    deleted, more = await store.expire(NOW + 4_000_000, 100)
    assert (deleted, more) == (4, False)
    assert await data_of(store, 1) == (3, "a!")
    assert await data_of(store, 2) is None
    assert (await stream_of(store, LOG)).retained.oldest_serial == 3
    assert [row.serial for row in (await store.versions("app", LOG, a_serial(1), limit=9)).rows] == [3]
    [outcome] = await store.commit([a_change(4, 2, "append", "!", at=later, retention=AN_HOUR)])
    assert outcome.refused == "unknown"
    assert store.evicted.messages[Group("app", versions=True)] == 2


async def test_a_commit_takes_away_what_is_past_its_time(store: HistoryStore) -> None:
    await store.commit([a_create(1, "a" * 5000, retention=AN_HOUR), a_change(2, 1, "append", "b", retention=AN_HOUR)])
    await store.commit([a_create(3, "c", at=NOW + 4_000_000, retention=AN_HOUR)])
    assert await fragments(store) == [(3, "create", "c")]
    assert await data_of(store, 1) is None
    assert await data_of(store, 3, at=NOW + 4_000_000) == (3, "c")


async def test_a_reset_a_purge_and_the_end_of_an_app_take_messages_along(store: HistoryStore) -> None:
    await store.commit([a_create(1, "a"), a_change(2, 1, "append", "b"), a_create(3, "c")])
    purged = await store.purge("app", LOG, NOW, before_serial=3)
    assert purged.messages == 2
    assert (await data_of(store, 1), await data_of(store, 3)) == (None, (3, "c"))
    await store.reset("app", LOG, NOW)
    assert await data_of(store, 3) is None
    [outcome] = await store.commit([a_create(4, "d")])
    assert outcome.position.serial == 1
    await store.delete_app("app")
    assert await data_of(store, 4) is None
    assert await store.info("app", LOG) is None


async def test_logs_are_a_group_of_their_own(store: HistoryStore) -> None:
    await store.commit([a_create(1, "a"), a_change(2, 1, "append", "b")])
    found = await store.totals()
    assert found[Group("app", versions=True)].messages == 2
    assert found[Group("app")].messages == 1


# ---- taking back ----


async def test_what_was_taken_back_never_was(store: HistoryStore) -> None:
    await store.commit([a_create(1, "a" * 3000), a_change(2, 1, "append", "b")])
    before = await store.message("app", LOG, a_serial(1))
    unheard: list[Append] = [
        a_create(3, "new"),
        a_change(4, 1, "append", "c", key="op", fingerprint=b"f"),
        a_change(5, 1, "update", "other", name="renamed"),
        a_change(6, 1, "append", "d"),
        a_change(7, 3, "append", "!"),
    ]
    await store.commit(unheard)
    info = await store.retract(unheard, 2, NOW)
    assert info is not None
    assert (info.next_serial, (await stream_of(store)).next_serial) == (3, 2)
    assert await store.message("app", LOG, a_serial(1)) == before
    assert await data_of(store, 3) is None
    assert await store.retract(unheard, 2, NOW) == info
    outcomes = await store.commit([unheard[1], unheard[0]])
    assert [(each.is_new, each.position.serial) for each in outcomes] == [(True, 3), (True, 4)]
    assert await data_of(store, 1) == (3, "a" * 3000 + "bc")


async def test_what_has_something_behind_it_leaves_its_serial(store: HistoryStore) -> None:
    await store.commit([a_create(1, "a")])
    unheard = [a_create(2, "new"), a_change(3, 1, "append", "x", at=NOW - 9)]
    await store.commit([*unheard, a_create(4, "behind")])
    await store.retract(unheard, 1, NOW)
    assert await fragments(store) == [(1, "create", "a"), (4, "create", "behind")]
    assert (await stream_of(store, LOG)).next_serial == 5
    assert (await data_of(store, 1), await data_of(store, 2)) == ((1, "a"), None)
    rows = (await store.read("app", "room", direction="oldest_first", limit=9)).rows
    assert [row.operation_kind for row in rows] == ["create", "retracted", "create"]
    assert [row.serial for row in (await store.versions("app", LOG, a_serial(1), limit=9)).rows] == [1]


async def test_what_is_left_of_a_text_whose_beginning_is_past_its_time(store: HistoryStore) -> None:
    later = NOW + 4_000_000
    await store.commit([a_create(1, "a", retention=AN_HOUR)])
    await store.commit([a_change(2, 1, "append", "b", at=later, retention=AN_HOUR)])
    unheard = [a_change(3, 1, "append", "c", at=later, retention=AN_HOUR)]
    await store.commit(unheard)
    assert await fragments(store) == [(2, "append", "b"), (3, "append", "c")]
    await store.retract(unheard, 2, later)
    assert await data_of(store) == (2, "ab")


# ---- nodes and models ----


async def test_nodes_that_change_one_message_lose_nothing(shared: Place) -> None:
    async with shared.open() as one, shared.open() as two:
        await one.commit([a_create(1, "")])

        async def publish(store: HistoryStore, node: int) -> None:
            for number in range(25):
                await store.commit([a_change(100 * node + number, 1, "append", f"<{node}.{number}>")])

        await asyncio.gather(publish(one, 1), publish(two, 2), publish(one, 3), publish(two, 4))
        latest = await two.message("app", LOG, a_serial(1))
        assert latest is not None
        logged = await fragments(one)
        assert [serial for serial, _, _ in logged] == list(range(1, 102))
        assert latest.version.text == "".join(text or "" for _, _, text in logged)
        for node in range(1, 5):
            order = [text for _, _, text in logged if text and text.startswith(f"<{node}.")]
            assert order == [f"<{node}.{number}>" for number in range(25)]


async def test_every_store_does_what_the_one_in_memory_does(store: HistoryStore) -> None:
    for seed in range(6):
        await store.delete_app("app")
        await _compare(store, random.Random(seed))


async def _compare(store: HistoryStore, choice: random.Random) -> None:
    memory = MemoryHistoryStore()
    number, created, time_ms, last = 0, list[tuple[int, int]](), NOW, 0
    for _ in range(30):
        batch: list[Append] = []
        for _ in range(choice.choice([1, 1, 3, 8])):
            number += 1
            time_ms += choice.choice([0, 1, 40_000])
            if not created or choice.random() < 0.2:
                created.append((number, time_ms))
                data: Any = choice.choice(["", "x" * 1500, msgspec.Raw(b"{}"), None])
                batch.append(a_create(number, data, at=time_ms, retention=AN_HOUR))
                continue
            message, at = choice.choice(created[-6:])
            fields: dict[str, Any] = {"created_at": at, "at": time_ms - choice.choice([0, 9]), "retention": AN_HOUR}
            if choice.random() < 0.7:
                piece = f"<{number}>" * choice.choice([1, 300])
                batch.append(a_change(number, message, "append", piece, whole=choice.random() < 0.3, **fields))
            else:
                data = choice.choice([msgspec.UNSET, msgspec.UNSET, "new", None, msgspec.Raw(b"[1]")])
                batch.append(a_change(number, message, choice.choice(["update", "delete"]), data, **fields))
        expected, outcomes = await memory.commit(batch), await store.commit(batch)
        assert [_without_id(each) for each in outcomes] == [_without_id(each) for each in expected]
        if choice.random() < 0.2:
            await memory.retract(batch, last, time_ms)
            await store.retract(batch, last, time_ms)
        last = (await stream_of(memory, LOG)).next_serial - 1
        if choice.random() < 0.1:
            assert await store.expire(time_ms, 5000) == await memory.expire(time_ms, 5000)
    for message, at in created:
        serial = a_serial(message, at)
        assert _plain(await store.message("app", LOG, serial)) == _plain(await memory.message("app", LOG, serial))
        pages = [await each.versions("app", LOG, serial, limit=50) for each in (store, memory)]
        assert [row[1:] for row in pages[0].rows] == [row[1:] for row in pages[1].rows]
    logs = [await each.read("app", LOG, limit=5000) for each in (store, memory)]
    assert [row[1:] for row in logs[0].rows] == [row[1:] for row in logs[1].rows]
    rooms = [await each.read("app", "room", limit=5000, latest=True) for each in (store, memory)]
    assert [(row[1:7], _plain(row.latest)) for row in rooms[0].rows] == [
        (row[1:7], _plain(row.latest)) for row in rooms[1].rows
    ]


def _without_id(outcome: Any) -> Any:
    version = None if outcome.version is None else msgspec.json.encode(outcome.version)
    return outcome._replace(position=Position("", outcome.position.serial), version=version)


def _plain(latest: Latest | None) -> Any:
    return None if latest is None else (latest.serial, msgspec.json.encode(latest.version))
