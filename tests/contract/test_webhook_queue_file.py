"""The webhook queue in a file: processes beside and after one another, kill -9, files that cannot be used."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sockudo.errors import SockudoError
from sockudo.storage.holders import this_process
from sockudo.webhooks.ports import Outcome
from sockudo.webhooks.queues.sqlite import FILE_NAME, SqliteWebhookQueue
from sockudo.webhooks.queues.sqlite_schema import STEPS
from sockudo.webhooks.records import Counts
from support.forked import ForkedProcess
from support.webhooks import a_delivery

CHILD = Path(__file__).parent.parent / "support" / "queue_child.py"


def now_ms() -> int:
    return int(time.time() * 1000)


def child(folder: Path, *words: str) -> ForkedProcess:
    return ForkedProcess([str(folder), *words], program=CHILD, stdout=subprocess.PIPE)


@contextmanager
def refused(*words: str) -> Iterator[None]:
    with pytest.raises(SockudoError) as raised:
        yield
    assert raised.value.text.startswith("The webhook queue")
    assert all(word in raised.value.text for word in words)


class Opened:
    """For ``async with``: a queue on a folder."""

    def __init__(self, folder: Path) -> None:
        self.queue = SqliteWebhookQueue(folder)

    async def __aenter__(self) -> SqliteWebhookQueue:
        await self.queue.start()
        return self.queue

    async def __aexit__(self, *_: object) -> None:
        await self.queue.close()


async def test_what_was_appended_survives_the_end_of_the_process(tmp_path: Path) -> None:
    async with Opened(tmp_path) as queue:
        await queue.append([a_delivery("one"), a_delivery("two")])
        [claim] = await queue.claim(5, 10, 1)
        await queue.settle([(claim, Outcome("dead", None, reason="refused"))], 7)
        before = await queue.page("app")
    async with Opened(tmp_path) as queue:
        assert await queue.page("app") == before
        [claim] = await queue.claim(5, 10, 1)
        assert claim.delivery.id == "two"


async def test_kill_9_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    for _ in range(3):
        with child(tmp_path, "append", "3") as process:
            assert process.stdout is not None
            safe = -1
            deadline = time.monotonic() + 30
            while safe < 20:
                assert time.monotonic() < deadline
                safe = int(await asyncio.to_thread(process.stdout.readline))
            process.send_signal(signal.SIGKILL)
            rest = process.rest().split()
            safe = int(rest[-1]) if rest else safe
        async with Opened(tmp_path) as queue:
            found = [each.id for each in await queue.page("app", limit=1_000_000)]
            kept = set(found)
            assert len(kept) == len(found)
            assert {f"{number}-{lane}" for number in range(safe + 1) for lane in range(3)} <= kept
            # What was under way is there as a whole or not at all.
            assert len(kept) % 3 == 0


async def test_what_a_killed_process_was_about_to_do_is_taken_over_at_once(tmp_path: Path) -> None:
    async with Opened(tmp_path) as queue:
        await queue.append([a_delivery(f"{lane}-{number}", lane=lane) for lane in range(3) for number in range(2)])
    with child(tmp_path, "hold") as process:
        assert process.stdout is not None
        held = (await asyncio.to_thread(process.stdout.readline)).split()
        assert sorted(held) == ["0-0", "1-0", "2-0"]
        async with Opened(tmp_path) as queue:
            assert await queue.claim(now_ms(), now_ms() + 1000, 10) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
    async with Opened(tmp_path) as queue:
        claims = await queue.claim(now_ms(), now_ms() + 1000, 10)
        assert sorted(claim.delivery.id for claim in claims) == sorted(held)


async def test_a_lease_of_a_process_elsewhere_runs_out_by_itself(tmp_path: Path) -> None:
    """In another container a live process may have the number of one that has ended here, or our own."""
    async with Opened(tmp_path) as queue:
        await queue.append([a_delivery("one")])
        [_] = await queue.claim(now_ms(), now_ms() + 60_000, 1)
    boot, _, _, began = this_process().split("/")
    for pid in (os.getpid(), 2**30):
        with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
            connection.execute("UPDATE lanes SET token = ?", (f"{boot}/4242/{pid}/{began}:token",))
        async with Opened(tmp_path) as queue:
            assert await queue.claim(now_ms(), now_ms() + 1000, 10) == []


async def test_a_killed_process_is_taken_over_from_by_one_that_runs_when_its_leases_end(tmp_path: Path) -> None:
    async with Opened(tmp_path) as queue:
        await queue.append([a_delivery("one")])
        with child(tmp_path, "hold") as process:
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert await queue.claim(now_ms(), now_ms() + 1000, 10) == []
        in_two_hours = now_ms() + 7_200_000
        [claim] = await queue.claim(in_two_hours, in_two_hours + 1000, 10)
        assert claim.delivery.id == "one"


async def test_processes_share_the_work_and_keep_the_order(tmp_path: Path) -> None:
    async with Opened(tmp_path) as queue:
        for number in range(15):
            await queue.append([a_delivery(f"{lane}-{number}", lane=lane) for lane in range(6)])
    with child(tmp_path, "work", "0.005") as one, child(tmp_path, "work", "0.005") as other:
        outputs = await asyncio.gather(asyncio.to_thread(one.rest), asyncio.to_thread(other.rest))
        assert (one.returncode, other.returncode) == (0, 0)
    lines = [output.splitlines() for output in outputs]
    done = [line.split()[1] for line in sorted(line for output in lines for line in output)]
    assert len(done) == 90
    for lane in range(6):
        assert [name for name in done if name.startswith(f"{lane}-")] == [f"{lane}-{number}" for number in range(15)]
    async with Opened(tmp_path) as queue:
        assert await queue.counts() == {("app", "one"): Counts(delivered=90)}


async def test_several_open_a_new_file_at_once(tmp_path: Path) -> None:
    for round_number in range(10):
        folder = tmp_path / str(round_number)
        queues = [SqliteWebhookQueue(folder) for _ in range(8)]
        await asyncio.gather(*(queue.start() for queue in queues))
        await asyncio.gather(*(queue.append([a_delivery(f"{n}")]) for n, queue in enumerate(queues)))
        assert len(await queues[0].page("app")) == 8
        await asyncio.gather(*(queue.close() for queue in queues))


async def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with Opened(folder) as queue:
        await queue.append([a_delivery("one")])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert FILE_NAME in files
        assert set(files.values()) == {0o600}


async def test_what_waits_in_a_file_of_the_version_before_is_carried_over(tmp_path: Path) -> None:
    """Its leases say only the number of their process: they run out by themselves."""
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as before, before:
        for statement in STEPS[0]:
            before.execute(statement)
        before.execute("PRAGMA user_version = 1")
        for sequence, name in ((1, "one"), (2, "two")):
            before.execute(
                "INSERT INTO deliveries (sequence, id, app_id, endpoint, lane, state, body, events, created_at_ms, "
                "due_at_ms) VALUES (?, ?, 'app', 'one', 0, 'waiting', '{}', 1, 5, 5)",
                (sequence, name),
            )
        leased = ("app", "one", 0, 1, 5, f"{os.getpid()}-67c8fe92:token", now_ms() + 30_000)
        before.execute("INSERT INTO lanes VALUES (?, ?, ?, ?, ?, ?, ?)", leased)
    async with Opened(tmp_path) as queue:
        assert await queue.claim(now_ms(), now_ms() + 1000, 10) == []
        in_a_minute = now_ms() + 60_000
        [claim] = await queue.claim(in_a_minute, in_a_minute + 1000, 10)
        assert await queue.settle([(claim, Outcome("delivered", None))], in_a_minute) == [True]
        assert [(each.id, each.state) for each in await queue.page("app")] == [("two", "waiting"), ("one", "delivered")]


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    async with Opened(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    queue = SqliteWebhookQueue(tmp_path)
    with refused("newer version", "99"):
        await queue.start()
    with refused("not open"):
        await queue.append([a_delivery("one")])
    await queue.close()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, whatever its name says. " * 100)
    queue = SqliteWebhookQueue(tmp_path)
    with refused("its file is not an SQLite database"):
        await queue.start()
    await queue.close()
    assert (tmp_path / FILE_NAME).read_bytes().startswith(b"this is no database")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(0o500)
    queue = SqliteWebhookQueue(folder)
    with refused("permission denied"):
        await queue.start()
    await queue.close()


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    queue = SqliteWebhookQueue(tmp_path / "data")
    with refused("cannot be used"):
        await queue.start()
    await queue.close()


async def test_a_start_that_failed_may_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    queue = SqliteWebhookQueue(tmp_path / "data")
    with refused():
        await queue.start()
    (tmp_path / "data").unlink()
    await queue.start()
    await queue.append([a_delivery("one")])
    await queue.close()


async def test_a_writer_that_keeps_the_file_makes_calls_fail_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sockudo.webhooks.queues.sqlite._TIMEOUT_MS", 200)
    async with Opened(tmp_path) as queue:
        await queue.append([a_delivery("one")])
        blocker = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        for call in (
            lambda: queue.append([a_delivery("two")]),
            lambda: queue.claim(now_ms(), now_ms() + 1000, 1),
            lambda: queue.trim(0, 0),
        ):
            with refused("it is locked by another process"):
                await call()
        assert len(await queue.page("app")) == 1
        blocker.execute("ROLLBACK")
        blocker.close()
        await queue.append([a_delivery("two")])
        assert [each.id for each in await queue.page("app")] == ["two", "one"]


async def test_a_closed_queue_refuses(tmp_path: Path) -> None:
    async with Opened(tmp_path) as queue:
        pass
    with refused("not open"):
        await queue.counts()


async def test_a_long_backlog_is_claimed_from_without_reading_it(tmp_path: Path) -> None:
    """What waits behind a head costs nothing: claims are as fast with much of it as with little."""
    async with Opened(tmp_path) as queue:

        async def claiming() -> float:
            best = float("inf")
            for _ in range(20):
                started = time.perf_counter()
                [claim] = await queue.claim(5, 10, 1)
                await queue.settle([(claim, Outcome("waiting", None, 0))], 5)
                best = min(best, time.perf_counter() - started)
            return best

        await queue.append([a_delivery("first")])
        alone = await claiming()
        for chunk in range(20):
            await queue.append([a_delivery(f"{chunk}-{number}") for number in range(1000)])
        assert await claiming() < alone * 5 + 0.005
