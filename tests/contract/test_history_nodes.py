"""What a history store in a database promises with other nodes around, and when things break (spec: history § 10.2)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Connection, Engine, event

from contract.history import (
    NOW,
    an_append,
    fill,
    serials,
    stream_of,
    texts,
)
from contract.messages import a_change, a_create, data_of
from contract.places import Place, end_connections, server_of
from sockudo import errors
from sockudo.base.stream_records import Append, Committed, Position, Retained, Retention
from sockudo.config.sections.databases import Postgres
from sockudo.config.sections.streams import HistoryPostgres
from sockudo.drivers.sql import SqlHistoryStore, server_history
from sockudo.drivers.sql.history import FILE_NAME
from sockudo.drivers.sql.schema import STEPS
from sockudo.hub.streams.ports import HistoryStore, OutcomeUnknown
from support.databases import PASSWORD
from support.forked import ForkedProcess
from support.waiting import wait_until

AN_HOUR = Retention(window_ms=3_600_000)
CHILD = Path(__file__).parent / "history_child.py"


@pytest.fixture(params=["postgres", "mariadb"])
def remote(request: pytest.FixtureRequest) -> Place:
    """A place on a database server."""
    place = Place(request.param, Path("unused"), request.getfixturevalue(request.param))
    place.empty()
    return place


@contextmanager
def locked_rows(place: Place) -> Iterator[None]:
    """Somebody else holds the rows of all streams."""
    with server_of(place).transaction() as cursor:
        cursor.execute(f"SELECT * FROM {place.prefix}_streams FOR UPDATE")  # noqa: S608
        yield


# ---- nodes on one database ----


async def test_nodes_that_start_at_once_make_the_tables_once(shared: Place) -> None:
    shared.prefix = "fresh"
    shared.drop()
    stores = [shared.make_sql() for _ in range(4)]
    await asyncio.gather(*(store.start() for store in stores))
    try:
        for number, store in enumerate(stores):
            [outcome] = await store.commit([an_append(str(number))])
            assert outcome.position.serial == number + 1
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_a_node_sees_at_once_what_another_has_stored(shared: Place) -> None:
    async with shared.open() as one, shared.open() as two:
        for number in range(1, 6):
            store, other = (one, two) if number % 2 else (two, one)
            [outcome] = await store.commit([an_append(str(number))])
            page = await other.read("app", "room", limit=1)
            assert texts(page) == [str(number)]
            assert page.info is not None
            assert page.info.head == outcome.position


async def test_nodes_number_the_same_channels_without_holes(shared: Place) -> None:
    """Each batch names its channels in another order, and at first none of the streams exists."""
    channels = [f"room-{number}" for number in range(8)]
    choice = random.Random(1)

    async def publish(store: HistoryStore, node: str) -> list[tuple[Append, Position]]:
        said = []
        for number in range(12):
            batch = [
                an_append(f"{node}-{number}-{channel}", channel, app_id=app_id)
                for app_id in ("app", "other")
                for channel in choice.sample(channels, 5)
            ]
            choice.shuffle(batch)
            outcomes = await store.commit(batch)
            said += [(append, outcome.position) for append, outcome in zip(batch, outcomes, strict=True)]
        return said

    async with shared.open() as one, shared.open() as two, shared.open() as three:
        stores = {"one": one, "two": two, "three": three}
        said = await asyncio.gather(*(publish(store, node) for node, store in stores.items()))
        for app_id in ("app", "other"):
            for channel in channels:
                mine = [(a, p) for each in said for a, p in each if (a.app_id, a.channel) == (app_id, channel)]
                assert len({position.stream_id for _, position in mine}) == 1
                expected = [append.message for append, _ in sorted(mine, key=lambda each: each[1].serial)]
                page = await one.read(app_id, channel, limit=1000, direction="oldest_first")
                assert serials(page) == list(range(1, len(mine) + 1))
                assert [row.message for row in page.rows] == expected


async def test_of_nodes_that_store_the_same_key_one_does(shared: Place) -> None:
    async with shared.open() as one, shared.open() as two:
        for number in range(10):
            append = an_append(str(number), key=f"k{number}", fingerprint=b"f")
            [first], [second] = await asyncio.gather(one.commit([append]), two.commit([append]))
            assert {first.repeated, second.repeated} == {False, True}
            assert first.position == second.position
        assert (await stream_of(one)).next_serial == 11


async def test_nodes_that_make_the_same_stream_agree(shared: Place) -> None:
    async with shared.open() as one, shared.open() as two:
        for number in range(10):
            a, b = await asyncio.gather(
                one.ensure("app", f"room-{number}", NOW), two.ensure("app", f"room-{number}", NOW)
            )
            assert a == b


async def test_expiry_does_not_get_in_the_way_of_publishes(shared: Place) -> None:
    async with shared.open() as one, shared.open() as two:
        await one.commit([an_append(str(n), f"room-{n % 20}", at=NOW + n, retention=AN_HOUR) for n in range(400)])

        async def expire() -> int:
            total, more = 0, True
            while more:
                deleted, more = await two.expire(NOW + 3_600_000 + 200, 17)
                total += deleted
            return total

        async def publish() -> None:
            for number in range(20):
                batch = [an_append(f"{number}", f"room-{n}", at=NOW + 500, retention=AN_HOUR) for n in range(20)]
                await one.commit(batch)

        deleted, _ = await asyncio.gather(expire(), publish())
        assert deleted == 200
        for number in range(20):
            page = await two.read("app", f"room-{number}", limit=100, direction="oldest_first")
            assert serials(page) == list(range(11, 41))


# ---- connections that are lost ----


async def test_lost_connections_are_made_again(remote: Place) -> None:
    async with remote.open() as store:
        await fill(store, 3)
        await asyncio.gather(*(store.read("app", "room", limit=1) for _ in range(5)))
        assert end_connections(remote) >= 2
        pages = await asyncio.gather(*(store.read("app", "room", limit=1) for _ in range(5)))
        assert [texts(page) for page in pages] == [["3"]] * 5
        [outcome] = await store.commit([an_append("4")])
        assert outcome.position.serial == 4
        end_connections(remote)
        assert await store.check() is True


async def test_a_connection_lost_before_the_end_changes_nothing_and_is_tried_again(remote: Place) -> None:
    async with remote.open() as store:
        await fill(store, 3)
        with locked_rows(remote):
            committing = asyncio.ensure_future(store.commit([an_append("4"), an_append("5")]))
            await until(lambda: waiting_for_locks(remote))
            assert end_connections(remote) >= 1
            await until(lambda: waiting_for_locks(remote))
        outcomes = await committing
        assert [outcome.position.serial for outcome in outcomes] == [4, 5]
        assert serials(await store.read("app", "room", limit=10)) == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("stored", [True, False])
async def test_a_connection_lost_at_the_end_leaves_the_outcome_open(remote: Place, stored: bool) -> None:
    """The caller finds out with the key."""
    append = an_append("a", key="k")

    def lose(connection: Connection) -> None:
        if stored:
            connection.connection.commit()
            connection.connection.cursor().execute("SELECT 1")
        end_connections(remote)

    async with remote.open() as store:
        await store.ensure("app", "room", NOW)
        with listening("commit", lose), pytest.raises(OutcomeUnknown) as caught:
            await store.commit([append])
        assert caught.value.spec is errors.HISTORY_UNAVAILABLE
        assert caught.value.text == "The history store does not answer: the connection was lost"
        stream_id = (await stream_of(store)).stream_id
        assert await store.commit([append]) == [Committed(Position(stream_id, 1), repeated=stored)]


async def test_rows_that_somebody_holds_are_waited_for_in_bounds(remote: Place) -> None:
    async with remote.open(timeout_ms=1000) as store:
        await fill(store, 2)
        with locked_rows(remote):
            started = time.monotonic()
            with pytest.raises(errors.SockudoError) as caught:
                await store.commit([an_append("3")])
            assert time.monotonic() - started < 4
            assert caught.value.spec is errors.HISTORY_UNAVAILABLE
            assert caught.value.text == "The history store does not answer: a statement took too long"
            assert serials(await store.read("app", "room", limit=10)) == [2, 1]
        assert not isinstance(caught.value, OutcomeUnknown)
        [outcome] = await store.commit([an_append("3")])
        assert outcome.position.serial == 3


async def test_a_database_that_hangs_is_given_up(remote: Place) -> None:
    async with remote.open(timeout_ms=1000) as store:
        await fill(store, 2)
        with server_of(remote).frozen():
            started = time.monotonic()
            results = await asyncio.gather(
                store.commit([an_append("3")]), store.read("app", "room", limit=1), return_exceptions=True
            )
            assert [getattr(result, "spec", result) for result in results] == [errors.HISTORY_UNAVAILABLE] * 2
            with pytest.raises(errors.SockudoError):
                await store.check()
            assert time.monotonic() - started < 12
        assert serials(await store.read("app", "room", limit=10)) == [2, 1]
        [outcome] = await store.commit([an_append("3")])
        assert outcome.position.serial == 3


async def test_closing_a_store_whose_database_hangs_ends(remote: Place) -> None:
    others = history_threads()
    store = remote.make_sql(timeout_ms=1000)
    await store.start()
    with server_of(remote).frozen():
        committing = asyncio.ensure_future(store.commit([an_append()]))
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await store.close()
        assert time.monotonic() - started < 10
        with pytest.raises(errors.SockudoError):
            await committing
    assert history_threads() == others


async def test_a_closed_store_has_no_threads_and_refuses(shared: Place) -> None:
    others = history_threads()
    async with shared.open() as store:
        await asyncio.gather(*(store.info("app", "room") for _ in range(10)))
        assert history_threads() > others
        await store.close()
        assert history_threads() == others
        with pytest.raises(errors.SockudoError, match="The history store is not open") as caught:
            await store.commit([an_append()])
        assert caught.value.spec is errors.HISTORY_UNAVAILABLE
        with pytest.raises(errors.SockudoError):
            await store.check()


# ---- starting ----


async def test_a_database_that_is_not_there_is_an_error_at_the_start(remote: Place) -> None:
    others = history_threads()
    store = with_changes(remote, port=1)
    with pytest.raises(errors.SockudoError) as caught:
        await store.start()
    assert caught.value.spec is errors.HISTORY_UNAVAILABLE
    assert caught.value.text.startswith("The history store does not answer: ")
    assert history_threads() == others


async def test_a_wrong_password_is_an_error_that_does_not_show_it(
    remote: Place, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    store = with_changes(remote, password="not-the-password")
    with pytest.raises(errors.SockudoError) as caught:
        await store.start()
    said = f"{caught.value.text} {caught.value.__cause__!r} {caplog.text} {capsys.readouterr()}"
    assert "not-the-password" not in said
    assert PASSWORD not in said


async def test_tables_of_somebody_else_are_left_alone(remote: Place) -> None:
    remote.prefix = "somebody"
    remote.drop()
    server_of(remote).execute("CREATE TABLE somebody_entries (id INTEGER)")
    with pytest.raises(errors.SockudoError) as caught:
        await remote.make_sql().start()
    assert "'somebody_entries'" in caught.value.text
    assert "table_prefix" in caught.value.text
    assert server_of(remote).execute("SELECT id FROM somebody_entries") == []


async def test_tables_of_a_newer_version_are_left_alone(remote: Place) -> None:
    remote.prefix = "newer"
    remote.drop()
    async with remote.open():
        pass
    server_of(remote).execute("INSERT INTO newer_migrations (number) VALUES (7)")
    with pytest.raises(errors.SockudoError, match="made by a newer version of sockudo: their schema is 7"):
        await remote.make_sql().start()


async def test_a_start_that_died_half_way_is_finished_by_the_next(remote: Place) -> None:
    """MySQL ends transactions by itself when a table is made."""
    remote.prefix = "halfway"
    remote.drop()
    async with remote.open():
        pass
    if remote.kind == "postgres":
        return
    server_of(remote).execute("DELETE FROM halfway_migrations", "DROP TABLE halfway_keys")
    async with remote.open() as store:
        assert await store.commit([an_append(key="k")]) != []


# ---- losing the process ----


@pytest.mark.parametrize("synchronous", ["full", "normal"])
async def test_what_was_committed_survives_kill_9(shared: Place, synchronous: str) -> None:
    if synchronous == "normal" and shared.kind != "sqlite":
        return
    async with shared.open():
        pass
    with ForkedProcess([shared.packed(), synchronous], program=CHILD, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        confirmed = [int(child.stdout.readline()) for _ in range(20)]
        child.kill()
        confirmed += [int(line) for line in child.rest().split()]
    assert confirmed == list(range(10, 10 * len(confirmed) + 1, 10))
    async with shared.open() as store:
        info = await stream_of(store)
        assert info.next_serial > confirmed[-1]
        assert (info.next_serial - 1) % 10 == 0
        page = await store.read("app", "room", limit=10_000, direction="oldest_first")
        assert texts(page) == [str(number) for number in range(1, info.next_serial)]


async def test_a_process_that_is_killed_while_it_writes_holds_up_no_other_one(shared: Place) -> None:
    async with shared.open():
        pass
    command: dict[str, Any] = {"program": CHILD, "stdout": subprocess.PIPE}
    with ForkedProcess([shared.packed(), "normal"], **command) as other:
        assert other.stdout is not None
        confirmed = [int(other.stdout.readline()) for _ in range(5)]
        for _ in range(4):
            with ForkedProcess([shared.packed(), "normal"], **command) as child:
                assert child.stdout is not None
                confirmed += [int(child.stdout.readline()) for _ in range(8)]
                # Most of its time it is inside a transaction, or waits for one.
                child.kill()
                confirmed += [int(line) for line in child.rest().split()]
            confirmed += [int(other.stdout.readline()) for _ in range(20)]
        other.kill()
        confirmed += [int(line) for line in other.rest().split()]
    async with shared.open() as store:
        info = await stream_of(store)
        page = await store.read("app", "room", limit=100_000, direction="oldest_first")
    assert serials(page) == list(range(1, info.next_serial))
    assert info.next_serial > max(confirmed)
    assert len(set(confirmed)) == len(confirmed), "no number was given twice"


# ---- rows that somebody has deleted by hand ----


@pytest.mark.parametrize("missing", [range(1, 4), (1, 3, 5), range(4, 11), range(1, 11)])
async def test_retention_goes_on_over_rows_that_are_missing(shared: Place, missing: Iterable[int]) -> None:
    keep = Retention(window_ms=100)
    async with shared.open() as store:
        await store.commit([an_append(str(n), at=NOW + n, retention=keep) for n in range(1, 11)])
        delete_by_hand(shared, missing)
        while (await store.expire(NOW + 104, 2))[1]:
            pass
        page = await store.read("app", "room", limit=10, direction="oldest_first")
        assert serials(page) == [serial for serial in range(4, 11) if serial not in missing]
        while (await store.expire(NOW + 1000, 2))[1]:
            pass
        assert (await stream_of(store)).retained == Retained()
        [outcome] = await store.commit([an_append("11", at=NOW + 1000, retention=keep)])
        assert outcome.position.serial == 11


def delete_by_hand(place: Place, serials: Iterable[int]) -> None:
    numbers = ", ".join(map(str, serials))
    statement = f"DELETE FROM {place.prefix}_entries WHERE serial IN ({numbers})"  # noqa: S608
    if place.server is None:
        with contextlib.closing(sqlite3.connect(place.folder / FILE_NAME, isolation_level=None)) as connection:
            connection.execute(statement)
    else:
        place.server.execute(statement)


# ---- what it takes ----


async def test_a_batch_takes_few_statements_whatever_its_size(shared: Place) -> None:
    statements: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            statements.append(statement)

    def batch(number: int) -> list[Append]:
        keep = Retention(max_messages=10)
        return [an_append(str(n), f"room-{n % 60}", key=f"{number}-{n}", retention=keep) for n in range(600)]

    async with shared.open() as store:
        await store.commit(batch(1))
        with listening("before_cursor_execute", count):
            await store.commit(batch(2))
    assert len(statements) == 7


async def test_a_text_that_cannot_be_stored_is_the_publishers_fault(shared: Place) -> None:
    async with shared.open() as store:
        with pytest.raises(errors.SockudoError) as caught:
            await store.commit([an_append("a"), an_append("b", message_id="\ud800")])
        assert caught.value.spec is errors.INVALID_INPUT
        assert serials(await store.read("app", "room", limit=10)) == []
        [stored] = await store.commit([an_append("a")])
        assert stored.position.serial == 1


async def test_what_the_database_cannot_hold_is_the_publishers_fault(remote: Place) -> None:
    too_much = {"postgres": an_append(message_id="\0"), "mariadb": an_append(channel="c" * 300)}[remote.kind]
    async with remote.open() as store:
        with pytest.raises(errors.SockudoError) as caught:
            await store.commit([an_append("a"), too_much])
        assert caught.value.spec is errors.INVALID_INPUT
        assert serials(await store.read("app", "room", limit=10)) == []
        [stored] = await store.commit([an_append("a")])
        assert stored.position.serial == 1


def with_changes(place: Place, **changes: Any) -> SqlHistoryStore:
    """A store with another way to its server."""
    database = structs.replace(server_of(place).database, **changes)
    return server_history(database, HistoryPostgres(place.prefix, 2000))


@contextmanager
def listening(what: str, listener: Callable[..., None]) -> Iterator[None]:
    """Has the listener called for every database."""
    event.listen(Engine, what, listener)
    try:
        yield
    finally:
        event.remove(Engine, what, listener)


def waiting_for_locks(place: Place) -> bool:
    server = server_of(place)
    if isinstance(server.database, Postgres):
        return server.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != []
    return server.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")[0][1] != "0"


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what the server says about others."""
    await asyncio.to_thread(wait_until, condition, "the database to say so")


def history_threads() -> set[threading.Thread]:
    """Those of stores that other tests keep open are among them."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("history-")}


async def test_tables_without_their_number_are_told_of(remote: Place) -> None:
    """Somebody emptied the table of steps: nothing is made anew over what is there."""
    if remote.kind == "mariadb":
        pytest.skip("a step that ended half-way looks the same there, and is completed")
    remote.prefix = "spoiled"
    remote.drop()
    async with remote.open():
        pass
    server_of(remote).execute("DELETE FROM spoiled_migrations")
    with pytest.raises(errors.SockudoError, match="'spoiled_migrations', which says how far the tables are, is empty"):
        await remote.make_sql().start()


async def test_a_file_without_its_number_is_told_of(tmp_path: Path) -> None:
    place = Place("sqlite", tmp_path, None)
    async with place.open():
        pass
    (file,) = tmp_path.glob("*.sqlite3")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"DELETE FROM {place.prefix}_migrations")  # noqa: S608 - a constant
    with pytest.raises(errors.SockudoError, match="_migrations', which says how far the tables are, is empty"):
        await place.make_sql().start()


async def test_tables_of_the_version_before_are_carried_over(shared: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they have stays, and messages can change from then on (spec: messages § 6)."""
    shared.prefix = "before"
    shared.drop()
    with monkeypatch.context() as patched:
        patched.setattr("sockudo.drivers.sql.history.STEPS", STEPS[:1])
        async with shared.open() as store:
            outcomes = await store.commit([an_append("a", key="k"), an_append("b")])
            before = await stream_of(store)
    async with shared.open() as store:
        assert await stream_of(store) == before
        assert texts(await store.read("app", "room", direction="oldest_first", limit=9, latest=True)) == ["a", "b"]
        [again] = await store.commit([an_append("a", key="k")])
        assert (again.repeated, again.position) == (True, outcomes[0].position)
        await store.commit([a_create(1, "c"), a_change(2, 1, "append", "d")])
        assert await data_of(store) == (2, "cd")
        page = await store.read("app", "room", limit=9, latest=True)
        assert [row.latest is not None for row in page.rows] == [True, False, False]
