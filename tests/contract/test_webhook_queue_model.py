"""Every webhook queue does what the one in memory does, whatever is asked of both in whatever order."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sockudo.webhooks.ports import Claim, Outcome
from sockudo.webhooks.queues.memory import MemoryWebhookQueue
from sockudo.webhooks.queues.sqlite import SqliteWebhookQueue
from sockudo.webhooks.records import Attempt, Delivery
from support.webhooks import a_delivery

T = TypeVar("T")

FAST = Path("/dev/shm")  # noqa: S108
"""Nothing here is about what survives, and a disk would take its time for every call."""

APPS = st.sampled_from(["app", "other"])
ENDPOINTS = st.sampled_from(["one", "two"])
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

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="webhook-queue-", dir=FAST if FAST.exists() else None)
        self.runner = asyncio.Runner()
        self.model = MemoryWebhookQueue()
        self.queue = SqliteWebhookQueue(self.folder.name)
        self.now = 1000
        self.claims: list[tuple[Claim, Claim]] = []
        self.since_opened = 0
        self.run(self.queue.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.queue.close())
        self.runner.close()
        self.folder.cleanup()

    @rule(
        batch=st.lists(st.tuples(IDS, APPS, ENDPOINTS, st.integers(0, 1), TIMES, TIMES), max_size=6),
    )
    def append(self, batch: list[tuple[str, str, str, int, int, int]]) -> None:
        new = [
            a_delivery(
                name, app_id=app, endpoint=to, lane=lane, created_at_ms=self.now + made, due_at_ms=self.now + due
            )
            for name, app, to, lane, made, due in batch
        ]
        for queue in (self.model, self.queue):
            self.run(queue.append(new))

    @rule(seconds=st.integers(0, 300))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(limit=st.integers(0, 5), lease=st.integers(1, 300), besides=st.sets(st.tuples(APPS, ENDPOINTS), max_size=2))
    def claim(self, limit: int, lease: int, besides: set[tuple[str, str]]) -> None:
        ours = self.run(self.model.claim(self.now, self.now + lease, limit, besides=besides))
        theirs = self.run(self.queue.claim(self.now, self.now + lease, limit, besides=besides))
        assert numberless(claim.delivery for claim in theirs) == numberless(claim.delivery for claim in ours)
        self.claims += zip(ours, theirs, strict=True)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), lease=st.integers(-100, 300))
    def renew(self, data: st.DataObject, lease: int) -> None:
        ours, theirs = data.draw(st.sampled_from(self.claims))
        self.run(self.model.renew([ours], self.now + lease))
        self.run(self.queue.renew([theirs], self.now + lease))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), state=STATES, tried=ATTEMPTS, due=TIMES)
    def settle(self, data: st.DataObject, state: Any, tried: Attempt | None, due: int) -> None:
        ours, theirs = data.draw(st.sampled_from(self.claims))
        outcome = Outcome(state, tried, self.now + due, "why" if state == "dead" else None)
        kept = self.run(self.model.settle([(ours, outcome)], self.now))
        assert self.run(self.queue.settle([(theirs, outcome)], self.now)) == kept

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
        self.queue = SqliteWebhookQueue(self.folder.name)
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


EXAMPLES = int(os.environ.get("SOCKUDO_EXAMPLES", "25"))
Queues.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None)
test_queues_agree = Queues.TestCase
