"""What every job queue promises, in memory, SQL and Redis: sentence by sentence of `jobs.ports.JobQueue`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from contract.places import (
    NOW,
    SHARED,
    QueuePlace,
    a_job,
    drain,
    keys,
)
from sockudo.errors import SockudoError
from sockudo.jobs.ports import Depth, JobQueue, Lease
from sockudo.push.messages import STAGES, Stage

LATER = NOW + 30_000


def place_of(kind: str, request: pytest.FixtureRequest) -> QueuePlace:
    fixture = kind if kind in ("postgres", "mariadb", "redis") else None
    server = None if fixture is None else request.getfixturevalue(fixture)
    return QueuePlace.of(kind, request.getfixturevalue("tmp_path") / "data", server, request.getfixturevalue("unique"))


@pytest.fixture(params=["memory", *SHARED])
def place(request: pytest.FixtureRequest) -> QueuePlace:
    return place_of(request.param, request)


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest) -> QueuePlace:
    return place_of(request.param, request)


@pytest.fixture
async def queue(place: QueuePlace) -> AsyncIterator[JobQueue]:
    async with place.open() as opened:
        yield opened


async def take(queue: JobQueue, limit: int = 1, now_ms: int = NOW, until_ms: int = LATER) -> list[Lease]:
    return await queue.lease("publish_log", limit, now_ms, until_ms)


async def depth(queue: JobQueue, now_ms: int = NOW) -> Depth:
    return (await queue.depths(now_ms))["publish_log"]


# ---- opening and closing ----


async def test_starting_again_and_closing_twice_do_no_harm(place: QueuePlace) -> None:
    queue = place.make()
    await queue.start()
    await queue.put([a_job("one")], NOW)
    await queue.start()
    assert keys(await take(queue)) == ["one"]
    await queue.close()
    await queue.close()


async def test_closing_what_was_never_started_does_no_harm(place: QueuePlace) -> None:
    await place.make().close()


async def test_a_queue_that_is_not_open_refuses(shared: QueuePlace) -> None:
    queue = shared.make()
    for _ in range(2):
        with pytest.raises(SockudoError, match=r"^The push queue is not open$"):
            await queue.put([a_job()], NOW)
        with pytest.raises(SockudoError, match=r"^The push queue is not open$"):
            await queue.depths(NOW)
        await queue.start()
        await queue.close()


async def test_what_was_produced_is_there_after_a_restart(shared: QueuePlace) -> None:
    async with shared.open() as queue:
        await queue.put([a_job("one"), a_job("two"), a_job("later", due=LATER)], NOW)
        await queue.settle(await take(queue), [], NOW)
        [lost] = await take(queue)
    async with shared.open() as queue:
        assert await take(queue) == []
        [again] = await take(queue, now_ms=LATER, until_ms=LATER + 1000)
        assert (again.job.key, again.attempt, again.job_id) == ("two", 2, lost.job_id)
        assert again.token != lost.token
        assert await drain(queue, now_ms=LATER) == ["later"]


async def test_several_open_a_new_place_at_once(shared: QueuePlace) -> None:
    queues = [shared.make() for _ in range(5)]
    await asyncio.gather(*(queue.start() for queue in queues))
    await asyncio.gather(*(queue.put([a_job(f"{n}")], NOW) for n, queue in enumerate(queues)))
    assert sorted(await drain(queues[0])) == ["0", "1", "2", "3", "4"]
    await asyncio.gather(*(queue.close() for queue in queues))


# ---- producing ----


async def test_a_job_comes_back_as_it_was_given(queue: JobQueue) -> None:
    given = a_job("k'\"ü:\\%s{}", app="äpp ☃", body=bytes(range(256)) * 4, due=NOW - 5)
    await queue.put([given], NOW)
    [lease] = await take(queue)
    assert lease.job == given
    assert (lease.attempt, lease.enqueued_at_ms) == (1, NOW)
    assert lease.job_id
    assert lease.token


async def test_ids_of_messages_are_never_the_same(queue: JobQueue) -> None:
    seen = set()
    for _ in range(3):
        await queue.put([a_job("one"), a_job("two")], NOW)
        leases = await take(queue, 2)
        seen |= {lease.job_id for lease in leases}
        await queue.settle(leases, [], NOW)
    assert len(seen) == 6


async def test_large_bodies_and_many_of_them(queue: JobQueue) -> None:
    bodies = {f"{n}": random.Random(n).randbytes(256 * 1024) for n in range(24)}
    await queue.put([a_job(name, body=body) for name, body in bodies.items()], NOW)
    leases = await take(queue, 100)
    assert {lease.job.key: lease.job.body for lease in leases} == bodies
    assert await queue.settle(leases, [], NOW) == [True] * 24


async def test_thousands_at_once(queue: JobQueue) -> None:
    await queue.put([a_job(f"{n}", body=b"") for n in range(3000)], NOW)
    leases = await take(queue, 3000)
    assert keys(leases) == [f"{n}" for n in range(3000)]
    assert await queue.extend(leases, LATER + 1) == [True] * 3000
    assert await queue.settle(leases[:1500], [], NOW) == [True] * 1500
    await queue.release(leases[1500:], 0)
    assert (await depth(queue)).ready == 1500


async def test_nothing_is_nothing(queue: JobQueue) -> None:
    await queue.put([], NOW)
    assert await queue.settle([], [], NOW) == []
    assert await queue.extend([], NOW) == []
    await queue.release([], NOW)
    assert await queue.next_due([]) is None
    assert await queue.holds([]) == []
    await queue.put([a_job()], NOW)
    assert await take(queue, 0) == []
    assert await queue.lease("publish_log", 5, NOW, LATER, per_app=0) == []
    assert (await depth(queue)).ready == 1


async def test_a_key_is_kept_once_while_its_stage_holds_it(queue: JobQueue) -> None:
    await queue.put([a_job("one", body=b"first"), a_job("one", body=b"second")], NOW)
    await queue.put([a_job("one", body=b"third", app="other", due=LATER)], NOW)
    await queue.put([a_job("one", "retry_schedule", body=b"elsewhere")], NOW)
    [lease] = await take(queue, 5)
    assert lease.job.body == b"first"
    await queue.put([a_job("one", body=b"fourth")], NOW)
    assert await take(queue, 5) == []
    assert await queue.settle([lease], [], NOW) == [True]
    await queue.put([a_job("one", body=b"fifth")], NOW)
    [lease] = await take(queue, 5)
    assert (lease.job.body, lease.attempt) == (b"fifth", 1)
    [other] = await queue.lease("retry_schedule", 5, NOW, LATER)
    assert other.job.body == b"elsewhere"


async def test_keys_that_look_alike_are_different(queue: JobQueue) -> None:
    names = ["a", "A", "ä", "a ", " a", "á", "a\u0301", "", "x" * 1000]
    await queue.put([a_job(name, app=name or "app") for name in names], NOW)
    leases = await queue.lease("publish_log", 50, NOW, LATER, per_app=1)
    assert keys(leases) == names


async def test_all_of_them_or_none(shared: QueuePlace) -> None:
    async with shared.open() as queue:
        with pytest.raises(SockudoError) as caught:
            await queue.put([a_job("good"), a_job("no text: \udc80")], NOW)
        assert caught.value.spec.slug == "invalid_input"
        with pytest.raises(SockudoError):
            await queue.settle([], [a_job("good"), a_job("fine", app="\udc80")], NOW)
        assert await take(queue) == []
        await queue.put([a_job("good")], NOW)
        assert await drain(queue) == ["good"]


# ---- who gets what, and in which order ----


async def test_what_has_been_due_for_longest_comes_first(queue: JobQueue) -> None:
    await queue.put([a_job("soon", due=NOW + 50), a_job("late", due=NOW + 500)], NOW)
    await queue.put([a_job("at once"), a_job("behind it", app="other")], NOW + 10)
    await queue.put([a_job("long ago", due=5), a_job("last")], NOW + 60)
    leases = await take(queue, 9, NOW + 100)
    assert keys(leases) == ["at once", "behind it", "soon", "long ago", "last"]
    assert keys(await take(queue, 9, NOW + 499)) == []
    assert keys(await take(queue, 9, NOW + 500)) == ["late"]


async def test_stages_are_apart(queue: JobQueue) -> None:
    await queue.put([a_job(stage, stage) for stage in STAGES], NOW)
    for stage in STAGES:
        assert keys(await queue.lease(stage, 50, NOW, LATER)) == [stage]


async def test_nobody_else_has_it(queue: JobQueue) -> None:
    await queue.put([a_job(f"{n}") for n in range(100)], NOW)
    taken = await asyncio.gather(*(take(queue, 7) for _ in range(20)))
    assert sorted(key for leases in taken for key in keys(leases)) == sorted(f"{n}" for n in range(100))
    assert all(len(leases) <= 7 for leases in taken)


@pytest.mark.parametrize("flood", [3, 2000])
async def test_no_app_gets_more_than_its_part(queue: JobQueue, flood: int) -> None:
    await queue.put([a_job(f"a{n}", app="a") for n in range(flood)], NOW)
    await queue.put([a_job(f"b{n}", app="b") for n in range(5)], NOW + 1)
    await queue.put([a_job("c0", app="c"), a_job("c1", app="c", due=LATER)], NOW + 2)
    await queue.put([a_job("d0", app="d", due=LATER)], NOW)
    leases = await queue.lease("publish_log", 6, NOW + 9, LATER, per_app=2)
    assert keys(leases) == ["a0", "a1", "b0", "b1", "c0"]
    leases = await queue.lease("publish_log", 2, NOW + 9, LATER, per_app=2)
    assert keys(leases) == [["a2", "b2"], ["a2", "a3"]][flood > 3]


async def test_many_apps_behind_a_flood(queue: JobQueue) -> None:
    await queue.put([a_job(f"flood{n}", app="flood") for n in range(500)], NOW)
    await queue.put([a_job(f"{n}-{k}", app=f"{n}") for k in range(3) for n in range(60)], NOW)
    leases = await queue.lease("publish_log", 40, NOW, LATER, per_app=2)
    assert keys(leases) == ["flood0", "flood1", *(f"{n}-0" for n in range(38))]
    leases = await queue.lease("publish_log", 40, NOW, LATER, per_app=2)
    assert keys(leases) == ["flood2", "flood3", *(f"{n}-0" for n in range(38, 60)), *(f"{n}-1" for n in range(16))]


# ---- leases ----


async def test_a_lease_that_ends_gives_the_message_to_others(queue: JobQueue) -> None:
    await queue.put([a_job("one")], NOW)
    [first] = await take(queue)
    assert await take(queue, now_ms=LATER - 1) == []
    [second] = await take(queue, now_ms=LATER, until_ms=LATER + 10)
    assert (second.attempt, second.job, second.job_id) == (2, first.job, first.job_id)
    assert second.token != first.token
    assert await queue.extend([first], LATER + 1000) == [False]
    await queue.release([first], 0)
    assert await queue.settle([first], [], LATER) == [False]
    assert await take(queue, now_ms=LATER + 9) == []
    assert await queue.settle([second], [], LATER) == [True]
    assert await queue.settle([second], [], LATER) == [False]
    assert await take(queue, now_ms=LATER + 100) == []


async def test_a_lease_that_ended_holds_as_long_as_nobody_else_takes_it(queue: JobQueue) -> None:
    await queue.put([a_job("one"), a_job("two")], NOW)
    one, two = await take(queue, 2)
    assert await queue.extend([one], LATER + 100) == [True]
    assert keys(await take(queue, 5, LATER + 50)) == ["two"]
    assert await queue.settle([one, two], [], LATER + 50) == [True, False]


async def test_a_job_whose_lease_ended_has_been_due_since_then(queue: JobQueue) -> None:
    await queue.put([a_job("one")], NOW)
    await take(queue, until_ms=NOW + 100)
    await queue.put([a_job("before")], NOW + 99)
    await queue.put([a_job("after")], NOW + 101)
    assert keys(await take(queue, 5, NOW + 200)) == ["before", "one", "after"]


async def test_extending_never_shortens(queue: JobQueue) -> None:
    await queue.put([a_job("one")], NOW)
    [lease] = await take(queue)
    assert await queue.extend([lease], LATER - 1000) == [True]
    assert await take(queue, now_ms=LATER - 1) == []
    assert await queue.extend([lease, lease._replace(token="somebody's")], LATER + 500) == [True, False]
    assert await take(queue, now_ms=LATER + 499) == []
    assert keys(await take(queue, now_ms=LATER + 500)) == ["one"]


async def test_finishing_makes_what_follows_in_the_same_step(queue: JobQueue) -> None:
    await queue.put([a_job("one"), a_job("two")], NOW)
    leases = await take(queue, 2)
    follow_up = [a_job("job", "delivery_jobs_fcm", due=LATER), a_job("one"), a_job("two")]
    assert await queue.settle([leases[0], leases[0]], follow_up, NOW) == [True, False]
    [again] = await take(queue, 5)
    assert (again.job.key, again.attempt) == ("one", 1)
    assert again.job_id != leases[0].job_id
    assert keys(await queue.lease("delivery_jobs_fcm", 5, LATER, LATER + 1)) == ["job"]
    assert (await depth(queue)).inflight == 2


async def test_what_follows_is_made_even_when_somebody_else_has_the_message(queue: JobQueue) -> None:
    await queue.put([a_job("one")], NOW)
    [first] = await take(queue, until_ms=NOW + 10)
    [second] = await take(queue, now_ms=NOW + 10)
    assert await queue.settle([first], [a_job("next", "delivery_results")], NOW + 10) == [False]
    assert await queue.settle([second], [a_job("next", "delivery_results")], NOW + 10) == [True]
    assert keys(await queue.lease("delivery_results", 5, NOW + 10, LATER)) == ["next"]


async def test_giving_back_does_not_count(queue: JobQueue) -> None:
    await queue.put([a_job("one"), a_job("two")], NOW)
    one, two = await take(queue, 2)
    await queue.release([one], NOW + 1000)
    await queue.release([two, two], 0)
    [again] = await take(queue, 5)
    assert (again.job.key, again.attempt) == ("two", 1)
    assert await queue.settle([one, two], [], NOW) == [False, False]
    assert await take(queue, now_ms=NOW + 999) == []
    [again] = await take(queue, now_ms=NOW + 1000)
    assert (again.job.key, again.attempt, again.job.due_at_ms) == ("one", 1, NOW + 1000)
    assert (again.job_id, again.enqueued_at_ms) == (one.job_id, NOW)


async def test_attempts_that_crashed_are_counted_beside_those_given_back(queue: JobQueue) -> None:
    await queue.put([a_job("one")], NOW)
    seen = []
    for number in range(6):
        now = NOW + number * 100
        [lease] = await take(queue, now_ms=now, until_ms=now + 100)
        seen.append(lease.attempt)
        if number % 2:
            await queue.release([lease], now)
    assert seen == [1, 2, 2, 3, 3, 4]


# ---- for those who look ----


async def test_when_something_is_due_next(queue: JobQueue) -> None:
    assert await queue.next_due(STAGES) is None
    await queue.put([a_job("late", due=NOW + 90), a_job("other", "shard_jobs", due=NOW + 20)], NOW)
    assert await queue.next_due(["publish_log"]) == NOW + 90
    assert await queue.next_due(["publish_log", "shard_jobs"]) == NOW + 20
    assert await queue.next_due(["dead_letters", "retry_schedule"]) is None
    await queue.put([a_job("now", due=5)], NOW)
    assert await queue.next_due(STAGES) == NOW
    [lease] = await take(queue, until_ms=NOW + 50)
    assert await queue.next_due(["publish_log"]) == NOW + 50
    await queue.extend([lease], NOW + 60)
    assert await queue.next_due(["publish_log"]) == NOW + 60
    await queue.settle([lease], [], NOW)
    assert await queue.next_due(["publish_log"]) == NOW + 90


async def test_depths_and_ages(queue: JobQueue) -> None:
    assert await queue.depths(NOW) == dict.fromkeys(STAGES, Depth())
    await queue.put([a_job("first", app="a"), a_job("second", app="b")], NOW)
    await queue.put([a_job("timed", due=NOW + 400), a_job("later", due=NOW + 5000)], NOW)
    await queue.put([a_job("x", "dead_letters"), a_job("y", "dead_letters")], NOW + 10)
    assert await depth(queue, NOW + 30) == Depth(ready=2, delayed=2, oldest_ready_ms=30)
    [first] = await take(queue, now_ms=NOW + 100, until_ms=NOW + 200)
    # Age is since it could be taken, not since it came: what waits for its time has none.
    assert await depth(queue, NOW + 150) == Depth(
        ready=1, delayed=2, inflight=1, oldest_ready_ms=150, oldest_inflight_ms=150
    )
    await queue.settle([first], [], NOW)
    [second] = await take(queue, now_ms=NOW + 160, until_ms=NOW + 450)
    assert await depth(queue, NOW + 449) == Depth(
        ready=1, delayed=1, inflight=1, oldest_ready_ms=49, oldest_inflight_ms=449
    )
    # A lease that ended: it is as old as it is.
    assert await depth(queue, NOW + 500) == Depth(ready=2, delayed=1, oldest_ready_ms=500)
    await queue.release([second], NOW + 600)
    assert await depth(queue, NOW + 500) == Depth(ready=1, delayed=2, oldest_ready_ms=100)
    assert await depth(queue, NOW + 700) == Depth(ready=2, delayed=1, oldest_ready_ms=300)
    everything = await queue.depths(NOW + 700)
    assert everything.keys() == set(STAGES)
    assert everything["dead_letters"] == Depth(ready=2, oldest_ready_ms=690)
    assert everything["retry_schedule"] == Depth()


async def test_whose_the_messages_of_a_stage_are(queue: JobQueue) -> None:
    assert await queue.shares("publish_log", NOW) == {}
    await queue.put([a_job("one", app="a"), a_job("two", app="b:☃")], NOW)
    await queue.put([a_job("three", app="b:☃"), a_job("timed", app="a", due=NOW + 400)], NOW + 10)
    await queue.put([a_job("else", "dead_letters", app="c")], NOW)
    assert await queue.shares("publish_log", NOW + 30) == {
        "a": Depth(ready=1, delayed=1, oldest_ready_ms=30),
        "b:☃": Depth(ready=2, oldest_ready_ms=30),
    }
    _, second = await take(queue, 2, NOW + 30, NOW + 100)
    assert await queue.shares("publish_log", NOW + 50) == {
        "a": Depth(delayed=1, inflight=1, oldest_inflight_ms=50),
        "b:☃": Depth(ready=1, inflight=1, oldest_ready_ms=40, oldest_inflight_ms=50),
    }
    await queue.settle([second], [], NOW + 60)
    # A lease that ended: it is as old as it is.
    assert await queue.shares("publish_log", NOW + 150) == {
        "a": Depth(ready=1, delayed=1, oldest_ready_ms=150),
        "b:☃": Depth(ready=1, oldest_ready_ms=140),
    }
    assert sorted(await drain(queue, now_ms=NOW + 400)) == ["one", "three", "timed"]
    assert await queue.shares("publish_log", NOW + 500) == {}


async def test_what_is_there_by_its_key(queue: JobQueue) -> None:
    await queue.put([a_job("waits", due=NOW + 5000), a_job("had"), a_job("done")], NOW)
    had, done = await take(queue, 2)
    await queue.settle([done], [], NOW)
    asked: list[tuple[Stage, str]] = [
        ("publish_log", "waits"),
        ("publish_log", "had"),
        ("publish_log", "done"),
        ("shard_jobs", "had"),
        ("publish_log", "waits"),
    ]
    assert await queue.holds(asked) == [True, True, False, False, True]
    await queue.settle([had], [], NOW)
    assert await queue.holds(asked[1:2]) == [False]


async def test_ages_are_never_negative(queue: JobQueue) -> None:
    await queue.put([a_job("one"), a_job("two")], NOW)
    await take(queue)
    assert await depth(queue, NOW - 500) == Depth(delayed=1, inflight=1)


# ---- clocks ----


async def test_a_clock_that_is_put_back_holds_nothing_up(queue: JobQueue) -> None:
    hour = 3_600_000
    now = NOW + hour
    await queue.put([a_job(name) for name in ("dead", "given back", "one")], now)
    await queue.put([a_job("timed", due=now - 1000)], now)
    dead, back, _ = await take(queue, 3, now, now + 30_000)
    await queue.release([back], now + 500)
    # An hour back: what was there is there, and what was for a time is not before that time.
    assert keys(await take(queue, 9, NOW)) == []
    await queue.put([a_job("new")], NOW)
    assert keys(await take(queue, 9, NOW, NOW + 100)) == ["new"]
    assert await depth(queue, NOW) == Depth(delayed=2, inflight=3)
    # A lease of 30 seconds ends 30 seconds later.
    leases = await take(queue, 9, NOW + 30_000, NOW + 90_000)
    assert sorted(keys(leases)) == ["dead", "new", "one"]
    assert await queue.settle([dead], [], NOW) == [False]
    assert await queue.settle(leases, [], NOW) == [True] * 3
    assert await drain(queue, now_ms=now + 499) == ["timed"]
    assert await drain(queue, now_ms=now + 500) == ["given back"]


async def test_what_was_produced_to_be_taken_at_once_may_be_taken_an_hour_earlier(queue: JobQueue) -> None:
    hour = 3_600_000
    await take(queue, now_ms=NOW + hour)
    await queue.put([a_job("one"), a_job("two", due=NOW - 5)], NOW + hour)
    leases = await take(queue, 5, NOW, LATER)
    assert keys(leases) == ["one", "two"]
    await queue.release(leases, 0)
    assert await depth(queue, NOW + 10) == Depth(ready=2, oldest_ready_ms=10)
    assert await drain(queue) == ["one", "two"]


async def test_a_process_that_starts_after_the_clock_was_put_back(shared: QueuePlace) -> None:
    async with shared.open() as queue:
        await queue.put([a_job("one")], NOW + 3_600_000)
    async with shared.open() as queue:
        assert await drain(queue) == ["one"]


async def test_a_clock_that_jumps_ahead_ends_leases(queue: JobQueue) -> None:
    await queue.put([a_job("one")], NOW)
    [lease] = await take(queue)
    [again] = await take(queue, now_ms=NOW + 3_600_000)
    assert again.attempt == 2
    assert await queue.settle([lease], [], NOW) == [False]


# ---- many at the same time ----


async def test_calls_that_come_together_keep_apart(queue: JobQueue) -> None:
    async def life(number: int) -> None:
        name = f"{number}"
        stage = STAGES[number % 3]
        await queue.put([a_job(name, stage, app=name)], NOW)
        await asyncio.sleep(0)
        await queue.put([a_job(name, stage, app=name)], NOW)

    async def work(stage_number: int) -> int:
        count = 0
        stage = STAGES[stage_number]
        while leases := await queue.lease(stage, 5, NOW, LATER):
            following = [a_job(lease.job.key, "delivery_results") for lease in leases]
            assert await queue.settle(leases, following, NOW) == [True] * len(leases)
            count += len(leases)
        return count

    await asyncio.gather(*(life(number) for number in range(90)))
    counts = await asyncio.gather(*(work(number % 3) for number in range(9)))
    assert sum(counts) == 90
    assert sorted(await drain(queue, "delivery_results"), key=int) == [f"{n}" for n in range(90)]


async def test_one_that_cannot_be_kept_fails_alone(shared: QueuePlace) -> None:
    async with shared.open() as queue:
        names = [f"{n}" if n % 5 else f"{n}\udc80" for n in range(40)]
        results = await asyncio.gather(*(queue.put([a_job(name)], NOW) for name in names), return_exceptions=True)
        assert [isinstance(result, SockudoError) for result in results] == [n % 5 == 0 for n in range(40)]
        assert sorted(await drain(queue), key=int) == [f"{n}" for n in range(40) if n % 5]


# ---- an app that is gone ----


async def test_the_messages_of_an_app_are_forgotten_a_few_at_a_time(queue: JobQueue) -> None:
    stages: tuple[Stage, ...] = ("publish_log", "delivery_jobs_fcm", "retry_schedule")
    for stage in stages:
        messages = [a_job(f"{app}-{n}", stage, app=app) for n in range(4) for app in ("gone", "kept", "Gone")]
        await queue.put([*messages, a_job("gone-later", stage, app="gone", due=NOW + 90_000)], NOW)
    held = await take(queue, 5)
    assert await queue.forget("nobody", 100) == 0
    assert [await queue.forget("gone", 6) for _ in range(4)] == [6, 6, 3, 0]
    # Who had one of them is told so, and makes nothing of it.
    had = dict(zip(keys(held), await queue.settle(held, [], NOW), strict=True))
    assert {name: still for name, still in had.items() if name.startswith("gone")} == dict.fromkeys(
        (name for name in keys(held) if name.startswith("gone")), False
    )
    assert all(still for name, still in had.items() if not name.startswith("gone"))
    for stage in stages[1:]:
        assert set(await drain(queue, stage)) == {f"{app}-{n}" for n in range(4) for app in ("kept", "Gone")}
    assert not any(name.startswith("gone") for name in await drain(queue))
    assert await queue.next_due(stages) is None
    # The same may come again.
    await queue.put([a_job("gone-1", app="gone")], NOW)
    assert await drain(queue) == ["gone-1"]
