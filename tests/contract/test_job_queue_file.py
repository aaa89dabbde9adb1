"""What only a job queue in a file has to do: who may read it, files that cannot be used, callers that leave."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest

from contract.places import NOW, QueuePlace, a_job, drain, keys
from sockudo.errors import SockudoError
from sockudo.jobs.sql import sqlite_jobs
from sockudo.push.messages import FILE_NAME, PUSH_QUEUE

LATER = NOW + 30_000


@pytest.fixture
def place(tmp_path: Path) -> QueuePlace:
    return QueuePlace("sqlite", tmp_path / "data", None, "")


async def test_only_the_owner_may_read_it(place: QueuePlace) -> None:
    async with place.open() as queue:
        await queue.put([a_job()], NOW)
        assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.folder.iterdir()}
        assert FILE_NAME in files
        assert set(files.values()) == {0o600}


async def test_a_file_of_a_newer_version_is_left_alone(place: QueuePlace) -> None:
    async with place.open():
        pass
    with closing(sqlite3.connect(place.folder / FILE_NAME)) as connection, connection:
        connection.execute("INSERT INTO push_queue_migrations VALUES (99)")
    queue = place.make()
    with pytest.raises(SockudoError, match=r"newer version of sockudo: their schema is 99"):
        await queue.start()
    with pytest.raises(SockudoError, match="The push queue is not open"):
        await queue.put([a_job()], NOW)


async def test_a_file_that_is_no_database(place: QueuePlace) -> None:
    place.folder.mkdir()
    (place.folder / FILE_NAME).write_bytes(b"this is no database, whatever its name says. " * 100)
    with pytest.raises(SockudoError, match="The push queue does not answer: its file is not an SQLite database"):
        await place.make().start()
    assert (place.folder / FILE_NAME).read_bytes().startswith(b"this is no database")


async def test_a_start_that_failed_may_be_repeated(place: QueuePlace) -> None:
    place.folder.write_text("in the way")
    queue = place.make()
    with pytest.raises(SockudoError, match="The push queue's file cannot be used"):
        await queue.start()
    place.folder.unlink()
    await queue.start()
    await queue.put([a_job()], NOW)
    await queue.close()


async def test_a_writer_that_keeps_the_file_makes_calls_fail_and_changes_nothing(place: QueuePlace) -> None:
    async with place.open(timeout_ms=200) as queue:
        await queue.put([a_job("one")], NOW)
        [lease] = await queue.lease("publish_log", 1, NOW, LATER)
        with closing(sqlite3.connect(place.folder / FILE_NAME, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            answers = await asyncio.gather(
                queue.put([a_job("two")], NOW),
                queue.settle([lease], [a_job("three")], NOW),
                queue.extend([lease], LATER + 1000),
                return_exceptions=True,
            )
            assert {str(answer) for answer in answers} == {
                "The push queue does not answer: it is locked by another process"
            }
            # Who only looks is not held up.
            assert (await queue.depths(NOW))["publish_log"].inflight == 1
        assert await queue.settle([lease], [], NOW) == [True]
        assert await drain(queue) == []


async def test_a_caller_that_leaves_takes_nothing_along(place: QueuePlace) -> None:
    async with place.open() as queue:
        await queue.put([a_job("one"), a_job("timed", due=NOW - 5)], NOW)
        for turns in range(12):
            taking = asyncio.create_task(queue.lease("publish_log", 5, NOW, LATER))
            for _ in range(turns):
                await asyncio.sleep(0)
            taking.cancel()
            await asyncio.wait({taking})
        # One that goes while the disk works.
        taking = asyncio.create_task(queue.lease("publish_log", 5, NOW, LATER))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.to_thread(time.sleep, 0.02)
        taking.cancel()
        await asyncio.wait({taking})
        leases = [] if taking.cancelled() else taking.result()
        await queue.release(leases, 0)
        found = await queue.lease("publish_log", 5, NOW, LATER)
        assert keys(found) == ["one", "timed"]
        assert [lease.attempt for lease in found] == [1, 1]


async def test_what_waits_costs_nothing(place: QueuePlace) -> None:
    """A message is found, taken and counted without reading the bodies of others."""
    async with place.open() as queue:

        async def best(limit: int = 1) -> float:
            times = []
            for _ in range(15):
                started = time.perf_counter()
                leases = await queue.lease("publish_log", limit, NOW, LATER, per_app=1)
                await queue.depths(NOW)
                await queue.release(leases, 0)
                times.append(time.perf_counter() - started)
            return min(times)

        await queue.put([a_job("first")], NOW)
        alone = await best()
        for chunk in range(10):
            await queue.put([a_job(f"{chunk}-{n}", body=b"x" * 20_000) for n in range(200)], NOW)
        assert await best() < alone * 5 + 0.01


async def test_the_place_is_the_data_directory(tmp_path: Path) -> None:
    queue = sqlite_jobs(PUSH_QUEUE, tmp_path / FILE_NAME)
    await queue.start()
    await queue.close()
    assert (tmp_path / "push-queue.sqlite3").exists()


async def test_the_disk_is_waited_for_where_something_would_be_lost(tmp_path: Path) -> None:
    queue = sqlite_jobs(PUSH_QUEUE, tmp_path / FILE_NAME)
    await queue.start()

    async def waited() -> bool:
        with_it = await queue._writer.read(lambda connection: connection.exec_driver_sql("PRAGMA synchronous").scalar())
        return int(with_it or 0) == 2

    await queue.put([a_job("asked for")], NOW)
    assert await waited()
    await queue.put([a_job("in a log")], NOW, lasting=False)
    assert not await waited()
    first, second = await queue.lease("publish_log", 2, NOW, LATER)
    assert not await waited()
    await queue.settle([first], [a_job("what follows", "shard_jobs")], NOW)
    assert await waited()
    await queue.settle([second], [], NOW)
    assert not await waited()
    await queue.close()


BEFORE = (
    "CREATE TABLE push_queue_migrations (number BIGINT NOT NULL PRIMARY KEY) WITHOUT ROWID",
    "INSERT INTO push_queue_migrations VALUES (1)",
    (
        "CREATE TABLE push_queue_messages (sequence INTEGER PRIMARY KEY, key_hash BLOB NOT NULL, stage TEXT NOT NULL, "
        "app_hash BLOB NOT NULL, message_id TEXT NOT NULL, enqueued_at_ms BIGINT NOT NULL, due_at_ms BIGINT NOT NULL, "
        "ready_at_ms BIGINT NOT NULL, leased_at_ms BIGINT, token TEXT, attempt BIGINT NOT NULL DEFAULT 0, "
        "app_id TEXT NOT NULL, message_key TEXT NOT NULL, body BLOB NOT NULL)"
    ),
    "CREATE UNIQUE INDEX push_queue_messages_key ON push_queue_messages (key_hash)",
    "CREATE INDEX push_queue_messages_ready ON push_queue_messages (stage, ready_at_ms, sequence, app_hash)",
    "CREATE INDEX push_queue_messages_app ON push_queue_messages (stage, app_hash, ready_at_ms, sequence)",
    "CREATE INDEX push_queue_messages_enqueued ON push_queue_messages (stage, enqueued_at_ms)",
    "CREATE INDEX push_queue_messages_held ON push_queue_messages (stage, leased_at_ms) WHERE leased_at_ms IS NOT NULL",
)
"""A file as the version before made it."""


async def test_what_waits_in_a_file_of_the_version_before_is_carried_over(tmp_path: Path) -> None:
    row = (
        bytes.fromhex("0c9abb2902671c63a6cb32fc0556f138"),
        "publish_log",
        bytes.fromhex("cf78df9a35bd0126"),
        *("m-1", NOW, 0, NOW, "app", "one", b"{}"),
    )
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as before, before:
        for statement in BEFORE:
            before.execute(statement)
        before.execute(
            "INSERT INTO push_queue_messages (key_hash, stage, app_hash, message_id, enqueued_at_ms, due_at_ms, "
            "ready_at_ms, app_id, message_key, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
    queue = sqlite_jobs(PUSH_QUEUE, tmp_path / FILE_NAME)
    await queue.start()
    await queue.put([a_job("one"), a_job("two")], NOW)
    leases = await queue.lease("publish_log", 5, NOW, LATER)
    assert [(lease.job.key, lease.job_id == "m-1") for lease in leases] == [("one", True), ("two", False)]
    assert await queue.settle(leases, [], NOW) == [True, True]
    await queue.close()
