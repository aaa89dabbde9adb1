"""Several processes on one push store, and databases that go away and come back."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import json, structs
from sqlalchemy import Connection, Engine, event

from contract.places import PushPlace, end_connections, server_of
from contract.push_store_child import RACED, Raced
from sockudo import errors
from sockudo.push.ports import PushStore
from sockudo.push.records import Counters
from sockudo.push.stores.rules import stored_key
from sockudo.push.stores.schema import STEPS
from sockudo.push.stores.sql import FILE_NAME, SqlPushStore, server_push
from support.databases import PASSWORD, DatabaseServer
from support.forked import ForkedProcess
from support.push_stores import (
    DAY,
    NOW,
    a_device,
    a_status,
    a_step,
    a_subscription,
    accept,
    an_intent,
)

CHILD = Path(__file__).parent / "push_store_child.py"
UNTIL = NOW + 7 * DAY


def child(place: PushPlace, what: str, name: str = "1") -> ForkedProcess:
    words = [what, place.packed(), name]
    return ForkedProcess(words, program=CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def said(process: ForkedProcess) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def race(place: PushPlace, count: int) -> list[Raced]:
    """What each of some processes got that began at the same time."""
    with ExitStack() as stack:
        processes = [stack.enter_context(child(place, "race", str(number + 1))) for number in range(count)]
        assert [said(process) for process in processes] == ["ready"] * count
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [Raced(*json.decode(said(process))) for process in processes]


@contextmanager
def listening(what: str, listener: Callable[..., None]) -> Iterator[None]:
    """Has the listener called for every database."""
    event.listen(Engine, what, listener)
    try:
        yield
    finally:
        event.remove(Engine, what, listener)


def push_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("push-")}


# ---- several processes ----


async def test_processes_that_race_share_everything_out(shared_push: PushPlace) -> None:
    """Each publish, step, lock and key goes to exactly one; no count and no change is lost (spec: push § 3.1)."""
    async with shared_push.open() as store:
        await accept(store, "shared", counters=Counters())
        one, two = await asyncio.to_thread(race, shared_push, 2)
        names = [f"n{number:02d}" for number in range(RACED)]
        assert sorted(one.accepted + two.accepted) == names
        for mine, other, planned in ((one, two, 2), (two, one, 1)):
            assert mine.lost == dict.fromkeys(other.accepted, planned)
        for publish_id in names:
            status = await store.status("app", publish_id)
            assert status is not None
            assert (status.counters.planned == 1) is (publish_id in one.accepted)
            for key in (f"id:{publish_id}", f"intent:{publish_id}"):
                assert await store.accepted("app", [key], NOW) == status
        assert len(await store.intents("app", "", 1000)) == RACED + 1
        for got in ("steps", "locks", "keys"):
            both = [*getattr(one, got), *getattr(two, got)]
            assert len(both) == len(set(both)) == (10 * RACED if got == "steps" else RACED)
        status = await store.status("app", "shared")
        assert status is not None
        assert status.counters == Counters(planned=20, dispatched=10 * RACED, succeeded=10 * RACED)
        assert len(await store.events("app", "shared", "", 10 * RACED + 1)) == 10 * RACED


async def test_a_publish_that_another_process_accepts_in_between_is_that_one(remote_push: PushPlace) -> None:
    """It was looked for in vain, and is there when it is to be inserted: the transaction begins again."""
    server = server_of(remote_push)
    table = f"{remote_push.prefix}_publish_status"

    def other(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO") and table in statement and not inserted:
            inserted.append(statement)
            columns = (
                "state, REPLACE(counters_json, 'first', 'ship'), error_reason, revision, created_at_ms, updated_at_ms"
            )
            server.execute(f"INSERT INTO {table} SELECT app_id, 'ship', {columns} FROM {table}")  # noqa: S608

    async with remote_push.open() as store:
        await accept(store, "first", counters=Counters(planned=77))
        inserted: list[str] = []
        with listening("before_cursor_execute", other):
            found = await store.accept(a_status(), an_intent(), ["id:ship"], UNTIL)
        assert len(inserted) == 1
        assert found == await store.status("app", "ship")
        assert found is not None
        assert (found.publish_id, found.counters.planned) == ("ship", 77)
        assert await store.accepted("app", ["id:ship"], NOW) is None


@pytest.mark.parametrize("stored", [True, False])
async def test_steps_whose_outcome_stayed_open_are_taken_once(remote_push: PushPlace, stored: bool) -> None:
    """The connection is lost while the end of the transaction is confirmed; asking again counts nothing twice."""

    def lose(connection: Connection) -> None:
        if stored:
            connection.connection.commit()
            connection.connection.cursor().execute("SELECT 1")
        end_connections(remote_push)

    async with remote_push.open() as store:
        await accept(store)
        with listening("commit", lose), pytest.raises(errors.SockudoError) as caught:
            await store.take_steps("app", "ship", [a_step("a")], NOW, UNTIL)
        assert caught.value.spec is errors.SERVICE_UNAVAILABLE
        taken, status = await store.take_steps("app", "ship", [a_step("a"), a_step("b")], NOW, UNTIL)
        assert [step.key for step in taken] == (["b"] if stored else ["a", "b"])
        assert status is not None
        assert status.counters.succeeded == 2


async def test_names_are_sorted_byte_by_byte_whatever_the_database_sorts_by(postgres: DatabaseServer) -> None:
    how = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'und-u-ks-level2' LOCALE 'C'"
    postgres.execute("DROP DATABASE IF EXISTS sorted", f"CREATE DATABASE sorted {how}")
    names = ["b", "a", "B", "A", "é", "-", "a b", "ab"]
    store = server_push(structs.replace(postgres.postgres, database="sorted"))
    await store.start()
    try:
        for name in names:
            await store.put_device(a_device(name))
            await store.put_subscription(a_subscription(name, "d"))
        assert [device.id for device in await store.devices("app", "", 100)] == sorted(names)
        assert [device.id for device in await store.devices("app", "a", 100)] == sorted(n for n in names if n > "a")
        assert await store.subscribed_channels("app", "", 100) == sorted(names)
        every = await store.subscriptions("app", after="", limit=100)
        assert [each.channel for each in every] == sorted(names, key=lambda name: f"{name}:d")
    finally:
        await store.close()
        postgres.execute("DROP DATABASE sorted")


async def test_processes_that_start_at_once_make_the_tables_once(shared_push: PushPlace) -> None:
    shared_push.prefix = "fresh_push"
    shared_push.drop()
    with ExitStack() as stack:
        processes = [stack.enter_context(child(shared_push, "race", str(number))) for number in range(1, 4)]
        assert [await asyncio.to_thread(said, process) for process in processes] == ["ready"] * 3
    async with shared_push.open() as store:
        await accept(store)
    assert rows(shared_push, "migrations", "number") == [(number,) for number in range(1, len(STEPS) + 1)]
    assert rows(shared_push, "schema_version", "version") == [(2,)]


async def test_what_was_accepted_survives_kill_9(shared_push: PushPlace) -> None:
    async with shared_push.open():
        pass
    with child(shared_push, "fill") as process:
        confirmed = [int(await asyncio.to_thread(said, process)) for _ in range(30)]
        process.kill()
        confirmed += [int(line) for line in process.rest().split()]
    async with shared_push.open() as store:
        for number in confirmed:
            publish_id = f"{number:06d}"
            status = await store.status("app", publish_id)
            assert status is not None
            assert status.counters.succeeded == 1
            assert await store.accepted("app", [f"id:{publish_id}"], NOW) == status
            assert await store.intent("app", publish_id) == an_intent(publish_id)
            assert len(await store.events("app", publish_id, "", 10)) == 1
        assert len(await store.intents("app", "", 10_000)) - len(confirmed) in (0, 1)


async def test_nodes_see_what_others_have_changed(shared_push: PushPlace) -> None:
    async with shared_push.open() as one, shared_push.open() as two:
        first = await accept(one)
        assert await two.status("app", "ship") == first
        _, status = await two.take_steps("app", "ship", [a_step("a")], NOW, UNTIL)
        assert await one.take_steps("app", "ship", [a_step("a")], NOW, UNTIL) == ([], status)
        assert await one.swap_status(first, first) is None
        await asyncio.gather(one.put_device(a_device()), two.put_device(a_device(locale="en")))
        assert await one.device("app", "phone") == await two.device("app", "phone")


async def test_cleaning_does_not_hold_up_publishes(shared_push: PushPlace) -> None:
    async with shared_push.open() as store, shared_push.open() as other:
        await asyncio.gather(*(accept(store, f"old{number}", at=NOW - DAY, state="failed") for number in range(200)))

        async def clean() -> int:
            deleted = 0
            while True:
                cleaned = await other.clean({"publish_status": NOW}, NOW, 12)
                deleted += cleaned[0].deleted
                if not cleaned[0].scanned:
                    return deleted

        async def publish() -> float:
            longest = 0.0
            for number in range(50):
                began = time.monotonic()
                await accept(store, f"new{number}")
                longest = max(longest, time.monotonic() - began)
            return longest

        deleted, longest = await asyncio.gather(clean(), publish())
        assert deleted == 200
        assert longest < 2
        assert await store.count_publishes("app") == {"queued": 50}


# ---- groups ----


async def test_changes_that_wait_share_transactions(shared_push: PushPlace) -> None:
    commits: list[Connection] = []

    def count(connection: Connection) -> None:
        commits.append(connection)

    async with shared_push.open() as store:
        with listening("commit", count):
            await asyncio.gather(*(accept_only(store, f"p{number}") for number in range(200)))
    assert len(commits) <= 10


async def test_one_that_cannot_be_stored_fails_alone(remote_push: PushPlace) -> None:
    async with remote_push.open() as store:
        bad = [store.accept(a_status("x" * 300), None, [], NOW), store.accept(a_status("a", "\ud800"), None, [], NOW)]
        good = [store.accept(a_status(f"p{number}"), None, [], NOW) for number in range(20)]
        results = await asyncio.gather(*good[:10], *bad, *good[10:], return_exceptions=True)
        refused = [result for result in results if result is not None]
        assert [error.spec for error in refused if isinstance(error, errors.SockudoError)] == [errors.INVALID_INPUT] * 2
        assert len(refused) == 2
        assert await store.count_publishes("app") == {"queued": 20}


async def test_a_record_that_cannot_be_read_fails_alone(shared_push: PushPlace) -> None:
    async with shared_push.open() as store:
        for publish_id in ("a", "b"):
            await accept(store, publish_id)
        execute(shared_push, "UPDATE {prefix}_publish_status SET counters_json = '{{' WHERE publish_id = 'a'")
        taking = [store.take_steps("app", publish_id, [a_step("k")], NOW, UNTIL) for publish_id in ("a", "b", "c")]
        broken, fine, gone = await asyncio.gather(*taking, return_exceptions=True)
        assert isinstance(broken, errors.SockudoError)
        assert broken.text == "The push store has a record that cannot be read"
        assert not isinstance(fine, BaseException)
        assert not isinstance(gone, BaseException)
        assert (len(fine[0]), len(gone[0])) == (1, 1)


async def test_a_change_whose_caller_has_gone_is_not_begun(shared_push: PushPlace) -> None:
    async with shared_push.open() as store:
        first = asyncio.ensure_future(store.accept(a_status("first"), None, [], NOW))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        late = asyncio.ensure_future(store.accept(a_status("late"), None, [], NOW))
        await asyncio.sleep(0)
        late.cancel()
        assert await first is None
        await accept(store, "last")
        assert await store.status("app", "late") is None


async def test_closing_makes_what_was_asked_for(shared_push: PushPlace) -> None:
    async with shared_push.open() as store:
        accepting = [asyncio.ensure_future(accept_only(store, f"p{number}")) for number in range(50)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*accepting) == [None] * 50
    async with shared_push.open() as store:
        assert await store.count_publishes("app") == {"queued": 50}


async def accept_only(store: PushStore, publish_id: str) -> object:
    return await store.accept(a_status(publish_id), None, [], NOW)


# ---- rows of others ----


async def test_bare_values_in_columns_of_json_are_understood(shared_push: PushPlace) -> None:
    device = a_device(metadata={"build": 12})
    async with shared_push.open() as store:
        await store.put_device(device)
        status = await accept(store)
        wrapped = rows(shared_push, "devices", "metadata, recipient_json")[0]
        assert json.decode(wrapped[0]) == {"_v": 1, "data": {"build": 12}}
        assert json.decode(wrapped[1])["_v"] == 1
        text = rows(shared_push, "publish_status", "counters_json")[0][0]
        bare = json.encode(json.decode(text)["data"]).decode().replace("'", "''").replace("{", "{{").replace("}", "}}")
        execute(
            shared_push,
            """UPDATE {prefix}_devices SET metadata = '{{"build":12}}',
            recipient_json = '{{"transportType":"gcm","registrationToken":"token-phone"}}'""",
            f"UPDATE {{prefix}}_publish_status SET counters_json = '{bare}'",  # noqa: S608
        )
        assert await store.device("app", "phone") == device
        assert await store.status("app", "ship") == status


async def test_columns_are_those_of_the_specification(shared_push: PushPlace) -> None:
    async with shared_push.open() as store:
        await store.put_device(a_device(client_id="u"))
        await store.put_subscription(a_subscription())
        key = "publish-id:app:" + "x" * 300
        await store.accept(a_status(state="partiallySucceeded"), an_intent(), [key, "short"], UNTIL)
        await store.accept(a_status("q", state="quota_exceeded", error_reason="too many"), None, [], UNTIL)
        await store.lock("app", "planner:publish-log:ship", "node-1/planner", NOW, NOW + 30)
    assert rows(shared_push, "devices", "device_id, client_id, transport_type, push_state, token_hash") == [
        ("phone", "u", "fcm", "ACTIVE", a_device().token_hash)
    ]
    statuses = rows(shared_push, "publish_status", "publish_id, state, error_reason, revision")
    assert sorted(statuses) == [("q", "quotaexceeded", "too many", 1), ("ship", "partiallysucceeded", None, 1)]
    keys = rows(shared_push, "idempotency", "idempotency_key, publish_id, expires_at_ms")
    assert sorted(keys) == sorted([(stored_key(key), "ship", UNTIL), ("short", "ship", UNTIL)])
    assert all(len(key) <= 255 for key, *_ in keys)
    locks = rows(shared_push, "scheduler_locks", "publish_id, owner_id, expires_at_ms")
    assert locks == [("planner:publish-log:ship", "node-1/planner", NOW + 30)]
    assert rows(shared_push, "publish_log", "publish_id, occurred_at_ms") == [("ship", NOW)]


async def test_another_version_of_the_schema_is_refused(shared_push: PushPlace) -> None:
    shared_push.prefix = "later_push"
    shared_push.drop()
    async with shared_push.open():
        pass
    execute(shared_push, "INSERT INTO {prefix}_schema_version (version) VALUES (3)")
    with pytest.raises(errors.SockudoError, match="have version 3 of the push schema") as caught:
        await shared_push.make_sql().start()
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE


async def test_tables_of_somebody_else_are_left_alone(remote_push: PushPlace) -> None:
    remote_push.prefix = "somebody_push"
    remote_push.drop()
    server_of(remote_push).execute("CREATE TABLE somebody_push_devices (id INTEGER)")
    with pytest.raises(errors.SockudoError, match="'somebody_push_devices' that this server did not make"):
        await remote_push.make_sql().start()
    assert server_of(remote_push).execute("SELECT id FROM somebody_push_devices") == []


# ---- databases that go away ----


async def test_lost_connections_are_made_again(remote_push: PushPlace) -> None:
    async with remote_push.open() as store:
        await accept(store)
        assert end_connections(remote_push) >= 1
        taken, _ = await store.take_steps("app", "ship", [a_step("a")], NOW, UNTIL)
        assert len(taken) == 1
        end_connections(remote_push)
        assert (await store.count_publishes("app")) == {"queued": 1}
        assert await store.check() is True


async def test_a_database_that_hangs_is_given_up_and_comes_back(remote_push: PushPlace) -> None:
    async with remote_push.open(timeout_ms=1000) as store:
        await accept(store)
        with server_of(remote_push).frozen():
            began = time.monotonic()
            results = await asyncio.gather(
                store.accept(a_status("b"), None, [], NOW),
                store.take_steps("app", "ship", [a_step("a")], NOW, UNTIL),
                store.status("app", "ship"),
                return_exceptions=True,
            )
            assert [getattr(each, "spec", each) for each in results] == [errors.SERVICE_UNAVAILABLE] * 3
            assert all("The push store does not answer" in str(each) for each in results)
            with pytest.raises(errors.SockudoError):
                await store.check()
            assert time.monotonic() - began < 20
        await store.take_steps("app", "ship", [a_step("a")], NOW, UNTIL)
        status = await store.status("app", "ship")
        assert status is not None
        assert status.counters.succeeded == 1
        await accept(store, "c")


async def test_a_file_that_is_gone_is_an_error_until_it_is_back(shared_push: PushPlace) -> None:
    if shared_push.kind != "sqlite":
        return
    path = shared_push.folder / FILE_NAME
    async with shared_push.open(timeout_ms=500) as store:
        await accept(store)
        away = path.with_suffix(".away")
        path.rename(away)
        with pytest.raises(errors.SockudoError) as caught:
            await store.accept(a_status("b"), None, [], NOW)
        assert caught.value.spec is errors.SERVICE_UNAVAILABLE
        with pytest.raises(errors.SockudoError):
            await store.check()
        away.rename(path)
        await accept(store, "b")
        assert await store.count_publishes("app") == {"queued": 2}


async def test_a_file_locked_by_another_process_is_waited_for_in_bounds(shared_push: PushPlace) -> None:
    if shared_push.kind != "sqlite":
        return
    async with shared_push.open(timeout_ms=300) as store:
        await accept(store)
        with contextlib.closing(sqlite3.connect(shared_push.folder / FILE_NAME, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(errors.SockudoError) as caught:
                await store.accept(a_status("b"), None, [], NOW)
            assert caught.value.text == "The push store does not answer: it is locked by another process"
            assert await store.status("app", "ship") is not None
            other.execute("ROLLBACK")
        await accept(store, "b")


async def test_the_file_is_the_owners_alone(shared_push: PushPlace) -> None:
    if shared_push.kind != "sqlite":
        return
    async with shared_push.open() as store:
        await accept(store)
        modes = {path.name: path.stat().st_mode & 0o777 for path in shared_push.folder.iterdir()}
    assert modes == dict.fromkeys((FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"), 384)
    assert shared_push.folder.stat().st_mode & 0o777 == 0o700


async def test_a_closed_store_has_no_threads_and_refuses(shared_push: PushPlace) -> None:
    others = push_threads()
    async with shared_push.open() as store:
        await asyncio.gather(*(store.status("app", "ship") for _ in range(10)))
        await accept(store)
        assert push_threads() > others
        await store.close()
        assert push_threads() == others
        for refused in (store.status("app", "ship"), store.accept(a_status("b"), None, [], NOW)):
            with pytest.raises(errors.SockudoError, match="The push store is not open") as caught:
                await refused
            assert caught.value.spec is errors.SERVICE_UNAVAILABLE
        with pytest.raises(errors.SockudoError):
            await store.check()
        await store.start()
        assert await store.status("app", "ship") is not None


async def test_a_database_that_is_not_there_is_an_error_at_the_start(remote_push: PushPlace) -> None:
    others = push_threads()
    store: SqlPushStore = remote_push.make_sql(port=1)
    with pytest.raises(errors.SockudoError, match="The push store does not answer: ") as caught:
        await store.start()
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert push_threads() == others


async def test_a_wrong_password_is_an_error_that_does_not_show_it(
    remote_push: PushPlace, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(errors.SockudoError) as caught:
        await remote_push.make_sql(password="not-the-password").start()
    text = f"{caught.value.text} {caught.value.__cause__!r} {caplog.text} {capsys.readouterr()}"
    assert "not-the-password" not in text
    assert PASSWORD not in text


def execute(place: PushPlace, *statements: str) -> list[tuple[Any, ...]]:
    """The rows of the last statement."""
    filled = [statement.format(prefix=prefix_of(place)) for statement in statements]
    if place.server is not None:
        return place.server.execute(*filled)
    with contextlib.closing(sqlite3.connect(place.folder / FILE_NAME, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in filled][-1]


def rows(place: PushPlace, table: str, columns: str) -> list[tuple[Any, ...]]:
    return execute(place, f"SELECT {columns} FROM {{prefix}}_{table}")  # noqa: S608


def prefix_of(place: PushPlace) -> str:
    return "push" if place.server is None else place.prefix
