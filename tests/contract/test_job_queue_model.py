"""Every job queue does what the one in memory does, whatever is asked of both in whatever order."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from contract.places import NOW, QueuePlace
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Job, JobQueue, Lease
from sockudo.push.messages import PUSH_QUEUE, STAGES, Stage

T = TypeVar("T")

FAST = Path("/dev/shm")  # noqa: S108
"""Nothing here is about what survives, and a disk would take its time for every call."""

USED: tuple[Stage, ...] = ("publish_log", "delivery_jobs_fcm")
SOME_STAGE = st.sampled_from(USED)
KEYS = st.sampled_from([f"k{number}" for number in range(25)])
APPS = st.sampled_from(["a", "b:", "c ☃"])
TIMES = st.integers(-50, 150)
MESSAGES = st.lists(st.tuples(SOME_STAGE, KEYS, APPS, st.binary(max_size=3), st.none() | TIMES), max_size=6)

Seen = tuple[Job, int, int]


def seen(leases: Iterable[Lease]) -> list[Seen]:
    """Without what is random."""
    return [(lease.job, lease.attempt, lease.enqueued_at_ms) for lease in leases]


class Queues(RuleBasedStateMachine):
    """The same for both; tokens differ, so leases are held in pairs."""

    def __init__(self, make: Callable[[Path], JobQueue]) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="push-queue-", dir=FAST if FAST.exists() else None)
        self.runner = asyncio.Runner()
        self.make = lambda: make(Path(self.folder.name))
        self.model: JobQueue = MemoryJobQueue(PUSH_QUEUE)
        self.queue = self.make()
        self.now = NOW
        self.latest = NOW
        self.leases: list[tuple[Lease, Lease]] = []
        self.since_opened = 0
        self.run(self.queue.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def both(self, ask: Callable[[JobQueue], Coroutine[Any, Any, T]]) -> T:
        """What both answer."""
        answer = await ask(self.model)
        assert await ask(self.queue) == answer
        return answer

    def teardown(self) -> None:
        # What is left is for nobody: the next example begins with nothing.
        end = self.latest + 1_000_000
        for stage in USED:
            ours = self.run(self.model.lease(stage, 1000, end, end + 1))
            theirs = self.run(self.queue.lease(stage, 1000, end, end + 1))
            assert seen(theirs) == seen(ours)
            assert self.run(self.queue.settle(theirs, [], end)) == [True] * len(theirs)
        self.run(self.queue.close())
        self.runner.close()
        self.folder.cleanup()

    def messages(self, given: Iterable[tuple[Stage, str, str, bytes, int | None]]) -> list[Job]:
        return [
            Job(stage, key, app, body, 0 if due is None else self.now + due) for stage, key, app, body, due in given
        ]

    @rule(given=MESSAGES)
    def put(self, given: list[tuple[Stage, str, str, bytes, int | None]]) -> None:
        new = self.messages(given)
        self.run(self.both(lambda queue: queue.put(new, self.now)))

    @rule(by=st.integers(-30, 300) | st.integers(-5000, 5000))
    def wait(self, by: int) -> None:
        self.now += by
        self.latest = max(self.latest, self.now)

    @rule(stage=SOME_STAGE, limit=st.integers(0, 7), lease=st.integers(0, 200), per_app=st.none() | st.integers(0, 3))
    def lease(self, stage: Stage, limit: int, lease: int, per_app: int | None) -> None:
        what = (stage, limit, self.now, self.now + lease)
        ours = self.run(self.model.lease(*what, per_app=per_app))
        theirs = self.run(self.queue.lease(*what, per_app=per_app))
        assert seen(theirs) == seen(ours)
        self.leases += zip(ours, theirs, strict=True)

    def some(self, data: st.DataObject) -> tuple[Sequence[Lease], Sequence[Lease]]:
        pairs = data.draw(st.lists(st.sampled_from(self.leases[-20:]), max_size=4))
        return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), until=TIMES)
    def extend(self, data: st.DataObject, until: int) -> None:
        ours, theirs = self.some(data)
        had = self.run(self.model.extend(ours, self.now + until))
        assert self.run(self.queue.extend(theirs, self.now + until)) == had

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), given=MESSAGES)
    def settle(self, data: st.DataObject, given: list[tuple[Stage, str, str, bytes, int | None]]) -> None:
        ours, theirs = self.some(data)
        new = self.messages(given)
        had = self.run(self.model.settle(ours, new, self.now))
        assert self.run(self.queue.settle(theirs, new, self.now)) == had

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), due=st.none() | TIMES)
    def release(self, data: st.DataObject, due: int | None) -> None:
        ours, theirs = self.some(data)
        due_at_ms = 0 if due is None else self.now + due
        self.run(self.model.release(ours, due_at_ms))
        self.run(self.queue.release(theirs, due_at_ms))

    # It takes as long as many other steps, and there has to be something that could get lost.
    @precondition(lambda self: self.since_opened >= 8)
    @rule()
    def reopen(self) -> None:
        self.since_opened = 0
        self.run(self.queue.close())
        self.queue = self.make()
        self.run(self.queue.start())

    @invariant()
    def they_say_the_same(self) -> None:
        self.since_opened += 1
        self.run(self.compare())

    async def compare(self) -> None:
        await self.both(lambda queue: queue.next_due(STAGES))
        depths = await self.both(lambda queue: queue.depths(self.now))
        for stage in USED:
            shares = await self.both(lambda queue, stage=stage: queue.shares(stage, self.now))
            numbers = [sum(numbers) for numbers in zip(*(share[:3] for share in shares.values()), strict=True)]
            assert numbers == [*depths[stage][:3]] or not shares
            ages = [max(ages) for ages in zip(*(share[3:] for share in shares.values()), strict=True)]
            assert ages == [*depths[stage][3:]] or not shares
        await self.both(lambda queue: queue.holds([(stage, f"k{number}") for stage in USED for number in range(25)]))


EXAMPLES = {"sqlite": 10, "postgres": 4, "mariadb": 3, "redis": 6}
"""Each is 40 steps with a look at everything after every one; ``SOCKUDO_EXAMPLES`` asks for more of them."""


@pytest.mark.parametrize(
    ("kind", "examples"), [(kind, int(os.environ.get("SOCKUDO_EXAMPLES", few))) for kind, few in EXAMPLES.items()]
)
def test_queues_agree(
    kind: str, examples: int, request: pytest.FixtureRequest, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A few messages are to be as good as a flood.
    monkeypatch.setattr("sockudo.jobs.sql_work._FRONT", 1)
    server = None if kind == "sqlite" else request.getfixturevalue(kind)

    def make(folder: Path) -> JobQueue:
        return QueuePlace(kind, folder, place.server, unique).make()

    place = QueuePlace.of(kind, Path(), server, unique)
    run_state_machine_as_test(
        lambda: Queues(make),
        settings=settings(
            settings.default,
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
