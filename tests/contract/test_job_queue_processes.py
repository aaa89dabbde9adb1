"""Job queues that processes share: the work is shared, kill -9 loses nothing, and what is gone comes back."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from contract.places import SHARED, QueuePlace, a_job, keys
from sockudo.errors import SockudoError
from sockudo.jobs.ports import JobQueue, Lease, ListedJobQueue
from sockudo.push.messages import Stage
from sockudo.webhooks.queue import WEBHOOK_QUEUE, delivery_job
from support.databases import DatabaseServer
from support.forked import ForkedProcess
from support.redis import RedisProcess, redis_server
from unit.webhooks.parts import a_delivery

CHILD = Path(__file__).parent / "job_queue_child.py"
SECONDS = 30.0


def now_ms() -> int:
    return int(time.time() * 1000)


@pytest.fixture(params=SHARED)
def place(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> QueuePlace:
    server = None if request.param == "sqlite" else request.getfixturevalue(request.param)
    return QueuePlace.of(request.param, tmp_path / "data", server, unique)


@pytest.fixture
async def queue(place: QueuePlace) -> AsyncIterator[JobQueue]:
    async with place.open() as opened:
        yield opened


def child(place: QueuePlace, *words: str) -> ForkedProcess:
    return ForkedProcess([place.packed(), *words], program=CHILD, stdout=subprocess.PIPE)


async def line(process: ForkedProcess) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        return await asyncio.to_thread(process.stdout.readline)


async def output(process: ForkedProcess) -> list[str]:
    """All that it still says, in words."""
    return (await asyncio.to_thread(process.rest, SECONDS)).split()


async def everything(queue: JobQueue, stage: Stage, *, ahead_ms: int = 0) -> list[str]:
    """All that can be taken in so many milliseconds."""
    leases: list[Lease] = []
    now = now_ms() + ahead_ms
    while some := await queue.lease(stage, 500, now, now + 60_000):
        leases += some
    return keys(leases)


async def test_processes_share_the_work(place: QueuePlace, queue: JobQueue) -> None:
    names = [f"{n}" for n in range(400)]
    await queue.put([a_job(name, app=f"app{n % 7 % 5}") for n, name in enumerate(names)], now_ms())
    with child(place, "work", "60000") as one, child(place, "work", "60000") as other:
        done = await asyncio.gather(output(one), output(other))
        assert (one.returncode, other.returncode) == (0, 0)
    # Nobody got what the other had, or their leases would have been lost.
    assert sorted(done[0] + done[1]) == sorted(names)
    assert sorted(await everything(queue, "delivery_results")) == sorted(names)


async def test_kill_9_of_a_worker(place: QueuePlace, queue: JobQueue) -> None:
    names = [f"{n}" for n in range(150)]
    await queue.put([a_job(name) for name in names], now_ms())
    with child(place, "work", "700") as killed:
        done = [*(await line(killed)).split(), *(await line(killed)).split()]
        killed.send_signal(signal.SIGKILL)
        done += await output(killed)
    with child(place, "work", "700") as other:
        rest = await output(other)
        assert other.returncode == 0
    assert 6 <= len(done) < len(names)
    assert not set(done) & set(rest)
    # The last one may have been finished without its word getting out.
    assert len(done) + len(rest) >= len(names) - 8
    assert sorted(await everything(queue, "delivery_results")) == sorted(names)


async def test_kill_9_loses_nothing_that_was_produced(place: QueuePlace, queue: JobQueue) -> None:
    with child(place, "produce") as process:
        safe = -1
        while safe < 20:
            safe = int(await line(process))
        process.send_signal(signal.SIGKILL)
        rest = await output(process)
        safe = int(rest[-1]) if rest else safe
    found = await everything(queue, "publish_log")
    assert len(set(found)) == len(found)
    assert {f"{number}-{part}" for number in range(safe + 1) for part in range(3)} <= set(found)
    # What was under way is there as a whole or not at all.
    assert len(found) % 3 == 0


async def test_what_a_process_of_this_machine_had_is_taken_over_soon_after_its_end(tmp_path: Path) -> None:
    place = QueuePlace.of("sqlite", tmp_path, None, "")
    async with place.open() as queue:
        await queue.put([a_job("one"), a_job("two")], now_ms())
        with child(place, "hold") as process:
            assert (await line(process)).split() == ["one", "two"]
            # It lives: for longer than it takes to see that.
            deadline = time.monotonic() + 1.5
            while time.monotonic() < deadline:
                assert await queue.lease("publish_log", 5, now_ms(), now_ms() + 1000) == []
                await asyncio.sleep(0.1)
            process.send_signal(signal.SIGKILL)
            process.wait()
        deadline = time.monotonic() + SECONDS
        while not (leases := await queue.lease("publish_log", 5, now_ms(), now_ms() + 60_000)):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert [(lease.job.key, lease.attempt) for lease in leases] == [("one", 2), ("two", 2)]


# ---- the order of a channel ----


class Request(NamedTuple):
    """What a process had under way together. ``ended_ns`` is None where it was killed meanwhile."""

    keys: list[str]
    began_ns: int
    ended_ns: int | None


@pytest.fixture
def webhook_place(place: QueuePlace, tmp_path: Path, request: pytest.FixtureRequest, unique: str) -> QueuePlace:
    server = None if place.kind == "sqlite" else request.getfixturevalue(place.kind)
    return QueuePlace.of(place.kind, tmp_path / "data", server, unique, WEBHOOK_QUEUE)


@pytest.fixture
async def webhooks(webhook_place: QueuePlace) -> AsyncIterator[ListedJobQueue]:
    async with webhook_place.open() as opened:
        yield opened


async def fill(queue: JobQueue) -> list[str]:
    """Forty deliveries on each of six channels, of two endpoints; their keys."""
    now, names = now_ms(), [f"{channel}-{number:02}" for number in range(40) for channel in range(6)]
    made = (a_delivery(name, channel=name[0], endpoint=f"{int(name[0]) % 2}", due_at_ms=now) for name in names)
    await queue.put([delivery_job(each, ()) for each in made], now)
    return names


def requests(lines: Iterable[str]) -> list[Request]:
    """What one process said, line by line, the last of which may be cut short."""
    found: list[Request] = []
    for time_ns, word, *names in (line.split() for line in lines if line.endswith("\n")):
        if word == "begin":
            found.append(Request(names, int(time_ns), None))
        else:
            assert names == found[-1].keys, "another process had them before the lease ended"
            found[-1] = found[-1]._replace(ended_ns=int(time_ns))
    return found


def runs_by_channel(found: Iterable[Request]) -> list[list[tuple[Request, list[str]]]]:
    """For each channel its part of each request, in the order of time."""
    channels: defaultdict[str, list[tuple[Request, list[str]]]] = defaultdict(list)
    for request in sorted(found, key=lambda each: each.began_ns):
        for channel in dict.fromkeys(name[0] for name in request.keys):
            channels[channel].append((request, [name for name in request.keys if name[0] == channel]))
    return list(channels.values())


async def test_processes_keep_the_order_of_each_channel(webhook_place: QueuePlace, webhooks: ListedJobQueue) -> None:
    names = await fill(webhooks)
    with child(webhook_place, "deliver", "60000") as one, child(webhook_place, "deliver", "60000") as other:
        said = await asyncio.gather(*(asyncio.to_thread(each.rest, SECONDS) for each in (one, other)))
        assert (one.returncode, other.returncode) == (0, 0)
    parts = [requests(each.splitlines(keepends=True)) for each in said]
    assert all(parts), "both had a part in it"
    channels = runs_by_channel([*parts[0], *parts[1]])
    for runs in channels:
        # None begins before the one ahead of it has ended, in whichever process.
        assert all(first.ended_ns <= then.began_ns for (first, _), (then, _) in pairwise(runs) if first.ended_ns)
        assert [name for _, run in runs for name in run] == sorted(name for _, run in runs for name in run)
    assert sorted(name for runs in channels for _, run in runs for name in run) == sorted(names)
    assert await webhooks.next_due(["waiting"]) is None


async def test_kill_9_amid_requests_repeats_what_was_under_way_and_loses_nothing(
    webhook_place: QueuePlace, webhooks: ListedJobQueue
) -> None:
    names = await fill(webhooks)
    with child(webhook_place, "deliver", "3000") as killed, child(webhook_place, "deliver", "3000") as other:
        said = [await line(killed) for _ in range(9)]
        killed.send_signal(signal.SIGKILL)
        said += (await asyncio.to_thread(killed.rest, SECONDS)).splitlines(keepends=True)
        rest = requests((await asyncio.to_thread(other.rest, SECONDS)).splitlines(keepends=True))
        assert other.returncode == 0
    cut_short = requests(said)
    under_way = set(cut_short[-1].keys) if cut_short[-1].ended_ns is None else set()
    first = {name for request in cut_short for name in request.keys}
    then = [name for request in rest for name in request.keys]
    assert len(set(then)) == len(then)
    assert first & set(then) <= under_way
    assert first | set(then) == set(names)
    for runs in runs_by_channel([*cut_short, *rest]):
        # What is repeated comes as a whole, before what is behind it.
        order = [name for _, run in runs for name in run]
        assert list(dict.fromkeys(order)) == sorted(set(order))
        assert [name for name in order if name not in under_way] == sorted(set(order) - under_way)
    states = await webhooks.find(names)
    assert {each.job.stage for each in states if each is not None} == {"delivered"}
    assert None not in states


# ---- servers that go away and come back ----


@pytest.mark.parametrize("kind", ["postgres", "mariadb", "redis"])
async def test_a_server_that_does_not_answer(kind: str, request: pytest.FixtureRequest, unique: str) -> None:
    server: DatabaseServer | RedisProcess = request.getfixturevalue(kind)
    place = QueuePlace.of(kind, Path(), server, unique)
    async with place.open(timeout_ms=1000) as queue:
        await queue.put([a_job("before")], now_ms())
        [lease] = await queue.lease("publish_log", 1, now_ms(), now_ms() + 60_000)
        with server.frozen():
            async with asyncio.timeout(SECONDS):
                answers = await asyncio.gather(
                    queue.put([a_job("meanwhile")], now_ms()),
                    queue.settle([lease], [a_job("result", "delivery_results")], now_ms()),
                    queue.lease("publish_log", 1, now_ms(), now_ms() + 50),
                    queue.next_due(["publish_log"]),
                    queue.depths(now_ms()),
                    return_exceptions=True,
                )
        for answer in answers:
            assert isinstance(answer, SockudoError)
            assert answer.spec.slug == "service_unavailable"
            assert answer.text.startswith("The push queue")
        # Asked for again, it is done once.
        await queue.put([a_job("meanwhile")], now_ms())
        await queue.settle([lease], [a_job("result", "delivery_results")], now_ms())
        # It may have been taken by the call whose answer was lost.
        assert await everything(queue, "publish_log", ahead_ms=1000) == ["meanwhile"]
        assert await everything(queue, "delivery_results") == ["result"]


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
async def test_connections_that_are_cut_are_made_again(kind: str, request: pytest.FixtureRequest, unique: str) -> None:
    server: DatabaseServer = request.getfixturevalue(kind)
    place = QueuePlace.of(kind, Path(), server, unique)
    async with place.open() as queue:
        await queue.put([a_job("one")], now_ms())
        await queue.depths(now_ms())
        cut(kind, server)
        await queue.put([a_job("two")], now_ms())
        cut(kind, server)
        assert (await queue.depths(now_ms()))["publish_log"].ready == 2
        assert await everything(queue, "publish_log") == ["one", "two"]


def cut(kind: str, server: DatabaseServer) -> None:
    if kind == "postgres":
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sockudo'")
        return
    for (number,) in server.execute("SELECT id FROM information_schema.processlist WHERE user = 'sockudo'"):
        with contextlib.suppress(Exception):
            server.execute(f"KILL {number}")


async def test_a_redis_server_that_ends_and_comes_back() -> None:
    with redis_server() as server:
        place = QueuePlace.of("redis", Path(), server, "back")
        async with place.open(timeout_ms=2000) as queue:
            await queue.put([a_job("one"), a_job("two")], now_ms())
            [lease] = await queue.lease("publish_log", 1, now_ms(), now_ms() + 60_000)
            server.kill()
            with pytest.raises(SockudoError, match="The push queue does not answer: Redis at"):
                await queue.put([a_job("three")], now_ms())
            server.start()
            await queue.put([a_job("three")], now_ms())
            assert await queue.settle([lease], [], now_ms()) == [True]
            assert await everything(queue, "publish_log") == ["two", "three"]


async def test_an_older_server_makes_processes_wait(mariadb: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before MariaDB 10.6 and MySQL 8 nothing can be passed over."""
    monkeypatch.setattr("sockudo.jobs.sql_statements._MARIADB_SKIPS", (99,))
    place = QueuePlace.of("mariadb", Path(), mariadb, "")
    async with place.open() as one, place.open() as other:
        await one.put([a_job(f"{n}", app=f"{n % 3}") for n in range(120)], now_ms())

        async def work(queue: JobQueue) -> list[str]:
            done: list[str] = []
            while leases := await queue.lease("publish_log", 10, now_ms(), now_ms() + 60_000, per_app=4):
                assert all(await queue.settle(leases, [], now_ms()))
                done += keys(leases)
            return done

        done = await asyncio.gather(work(one), work(other))
    assert sorted(done[0] + done[1]) == sorted(f"{n}" for n in range(120))
