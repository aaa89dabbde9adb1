"""Every webhook queue does what the one in memory does, whatever is asked of both in whatever order."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from contract.places import QueuePlace
from sockudo.webhooks.queue import WEBHOOK_QUEUE, Claim, WebhookQueue
from sockudo.webhooks.records import Attempt, Delivery, Outcome
from unit.webhooks.parts import a_delivery, memory_queue

T = TypeVar("T")

FAST = Path("/dev/shm")  # noqa: S108
"""Nothing here is about what survives, and a disk would take its time for every call."""

APPS = st.sampled_from(["app", "other"])
ENDPOINTS = st.sampled_from(["one", "two"])
CHANNELS = st.sampled_from(["room", "☃", ""])
STATES = st.sampled_from(["waiting", "delivered", "dead"])
IDS = st.sampled_from([f"d-{number}" for number in range(30)])
TIMES = st.integers(-50, 200)
ATTEMPTS = st.none() | st.builds(
    Attempt,
    st.integers(1, 9),
    st.integers(0, 99),
    st.integers(0, 99),
    st.none() | st.just(500),
    st.none(),
    st.text("aä"),
)


def numberless(found: Iterable[Delivery]) -> list[Delivery]:
    """Without their numbers: those ascend, but may have gaps."""
    return [msgspec.structs.replace(delivery, sequence=0) for delivery in found]


class Queues(RuleBasedStateMachine):
    """The same for both; tokens differ, so claims are held in pairs."""

    def __init__(self, make: Callable[[Path], WebhookQueue]) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="webhook-queue-", dir=FAST if FAST.exists() else None)
        self.runner = asyncio.Runner()
        self.make = lambda: make(Path(self.folder.name))
        self.model = memory_queue()
        self.queue = self.make()
        self.now = 1_767_225_600_000
        self.claims: list[tuple[Claim, Claim]] = []
        self.since_opened = 0
        self.joined = 0
        self.run(self.queue.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.empty())
        self.run(self.queue.close())
        self.runner.close()
        self.folder.cleanup()

    @rule(
        batch=st.lists(st.tuples(IDS, APPS, ENDPOINTS, CHANNELS, TIMES, TIMES), max_size=6),
    )
    def append(self, batch: list[tuple[str, str, str, str, int, int]]) -> None:
        new = [
            a_delivery(
                name, app_id=app, endpoint=to, channel=channel, created_at_ms=self.now + made, due_at_ms=self.now + due
            )
            for name, app, to, channel, made, due in batch
        ]
        for queue in (self.model, self.queue):
            self.run(queue.append(new))

    @rule(seconds=st.integers(0, 300))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(
        limit=st.integers(0, 5),
        lease=st.integers(1, 300),
        per_endpoint=st.none() | st.integers(0, 3),
        run=st.integers(1, 3),
        besides=st.sets(st.tuples(APPS, ENDPOINTS), max_size=2),
    )
    def claim(self, limit: int, lease: int, per_endpoint: int | None, run: int, besides: set[tuple[str, str]]) -> None:
        how: dict[str, Any] = {"per_endpoint": per_endpoint, "run": run, "besides": besides}
        ours = self.run(self.model.claim(self.now, self.now + lease, limit, **how))
        theirs = self.run(self.queue.claim(self.now, self.now + lease, limit, **how))
        assert numberless(claim.delivery for claim in theirs) == numberless(claim.delivery for claim in ours)
        self.claims += zip(ours, theirs, strict=True)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), lease=st.integers(-100, 300))
    def renew(self, data: st.DataObject, lease: int) -> None:
        ours, theirs = data.draw(st.sampled_from(self.claims))
        self.run(self.model.renew([ours], self.now + lease))
        self.run(self.queue.renew([theirs], self.now + lease))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), state=STATES, tried=ATTEMPTS, due=TIMES, alone=st.booleans())
    def settle(self, data: st.DataObject, state: Any, tried: Attempt | None, due: int, alone: bool) -> None:
        ours, theirs = data.draw(st.sampled_from(self.claims))
        outcome = Outcome(state, tried, self.now + due, "why" if state == "dead" else None, alone)
        kept = self.run(self.model.settle([(ours, outcome)], self.now))
        assert self.run(self.queue.settle([(theirs, outcome)], self.now)) == kept

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def settle_joined(self, data: st.DataObject) -> None:
        pairs = data.draw(st.lists(st.sampled_from(self.claims[-10:]), min_size=1, max_size=3, unique_by=id))
        self.joined += 1
        about = pairs[0][0].delivery
        joined = a_delivery(f"joined-{self.joined}", app_id=about.app_id, endpoint=about.endpoint)
        tried = Attempt(1, self.now, 5, 200)
        kept = self.run(self.model.settle_joined([ours for ours, _ in pairs], joined, tried, self.now))
        assert self.run(self.queue.settle_joined([theirs for _, theirs in pairs], joined, tried, self.now)) == kept

    @rule(app=APPS, ids=st.none() | st.lists(IDS, max_size=5), endpoint=st.none() | ENDPOINTS)
    def replay(self, app: str, ids: list[str] | None, endpoint: str | None) -> None:
        about: dict[str, Any] = {"endpoint": endpoint} if ids is None else {"ids": ids}
        count = self.run(self.model.replay(app, self.now, **about))
        assert self.run(self.queue.replay(app, self.now, **about)) == count

    @rule(app=APPS, endpoint=ENDPOINTS, before=TIMES)
    def expire(self, app: str, endpoint: str, before: int) -> None:
        what = (app, endpoint, self.now + before - 100, self.now, "late")
        assert self.run(self.queue.expire(*what)) == self.run(self.model.expire(*what))

    @rule(delivered=st.integers(0, 5), dead=st.integers(0, 5))
    def trim(self, delivered: int, dead: int) -> None:
        assert self.run(self.queue.trim(delivered, dead)) == self.run(self.model.trim(delivered, dead))

    # It takes as long as many other steps, and there has to be something that could get lost.
    @precondition(lambda self: self.since_opened >= 5)
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
        assert await self.queue.counts() == await self.model.counts()
        for besides in (frozenset[tuple[str, str]](), frozenset({("app", "one")})):
            assert await self.queue.next_due(besides=besides) == await self.model.next_due(besides=besides)
        for app in ("app", "other"):
            page = await self.model.page(app)
            assert numberless(await self.queue.page(app)) == numberless(page)
            for delivery in page:
                ours, theirs = await self.model.get(app, delivery.id), await self.queue.get(app, delivery.id)
                assert ours is not None
                assert theirs is not None
                assert (numberless([ours[0]]), ours[1]) == (numberless([theirs[0]]), theirs[1])

    async def empty(self) -> None:
        """What is left is for nobody: the next example begins with nothing."""
        end = self.now + 1_000_000
        for queue in (self.model, self.queue):
            while claims := await queue.claim(end, end + 1, 100):
                await queue.settle([(claim, Outcome("delivered", None)) for claim in claims], end)
            while await queue.trim(0, 0):
                pass
            assert await queue.counts() == {}


EXAMPLES = {"sqlite": 15, "postgres": 4, "mariadb": 4, "redis": 8}
"""Each is 30 steps with a look at everything after every one; ``SOCKUDO_EXAMPLES`` asks for more of them."""


@pytest.mark.parametrize(
    ("kind", "examples"), [(kind, int(os.environ.get("SOCKUDO_EXAMPLES", few))) for kind, few in EXAMPLES.items()]
)
def test_queues_agree(kind: str, examples: int, request: pytest.FixtureRequest, unique: str) -> None:
    server = None if kind == "sqlite" else request.getfixturevalue(kind)

    def make(folder: Path) -> WebhookQueue:
        return WebhookQueue(QueuePlace(kind, folder, place.server, unique, WEBHOOK_QUEUE).make())

    place = QueuePlace.of(kind, Path(), server, unique, WEBHOOK_QUEUE)
    run_state_machine_as_test(
        lambda: Queues(make),
        settings=settings(
            settings.default,
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
