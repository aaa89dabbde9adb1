"""A push to few devices goes straight to its provider's stage, and a server may die between any two of its steps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from contract.places import PushPlace, QueuePlace
from sockudo.config.sections.push import Push as PushSettings
from sockudo.jobs.ports import JobQueue
from sockudo.outbound.addresses import is_public
from sockudo.push.bodies import PublishRequest
from sockudo.push.delivery import PushProvider, Readiness, Sent
from sockudo.push.endpoints import EndpointRules
from sockudo.push.messages import STAGES
from sockudo.push.pipeline import Pipeline
from sockudo.push.pipeline.works import Works
from sockudo.push.ports import PushStore
from sockudo.push.recipients import Provider, Recipient
from sockudo.push.records import Counters, Payload, PublishStatus, Target
from sockudo.push.service import Accepted, Push
from sockudo.testing import FakeClock
from support.push_stores import NOW, a_device
from unit.push.nodes import push_settings

KINDS = ("memory", "sqlite", "postgres")
MOST_STEPS = 100
WRITES = frozenset({"accept", "edit_status", "swap_status", "take_steps", "touch_devices", "lock", "unlock"})


class Died(BaseException):
    """The server is gone: nothing of it goes on."""


class Mortal:
    """Passes calls on until it dies: just before or just after the call of this number has had its effect."""

    def __init__(self, inner: Any, life: Life) -> None:
        self._inner = inner
        self._life = life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._life.step(name)
            result = await method(*args, **kwargs)
            self._life.step(name)
            return result

        return call


class Life:
    def __init__(self, steps: int | None = None) -> None:
        self.left = steps
        self.names: list[str] = []

    def step(self, name: str) -> None:
        self.names.append(name)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Died


class Phone:
    """A provider that takes everything."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def send(
        self, app_id: str, payload: Mapping[str, Any], recipient: Recipient, *, expires_at_ms: int | None
    ) -> Sent:
        self.tokens.append(recipient.token)
        return Sent("accepted", "id")

    async def readiness(self, app_id: str) -> Readiness:
        return Readiness(True)

    async def close(self) -> None:
        pass


class Server:
    """Service and workers over a store and a queue that outlive it; its workers take a turn when they are asked to."""

    def __init__(self, store: PushStore, queue: JobQueue, clock: FakeClock, phone: PushProvider, life: Life) -> None:
        mortal_store: Any = Mortal(store, life)
        mortal_queue: Any = Mortal(queue, life)
        providers: Mapping[Provider, PushProvider] = {"fcm": phone}
        self.queue, self.clock = queue, clock
        options = push_settings(providers=["fcm"])
        self.push = Push(mortal_store, mortal_queue, clock, _ready, EndpointRules(is_public), options)
        works = Works(mortal_store, mortal_queue, clock, PushSettings())
        self.pipeline = Pipeline(works, providers)

    async def publish(self, *targets: Target, publish_id: str | None = "ship") -> Accepted:
        return await self.push.publish("app", PublishRequest(publish_id, list(targets), Payload(title="Shipped"), []))

    async def work(self) -> None:
        """Until nothing is due any more."""
        for _ in range(20):
            for worker in self.pipeline._workers:
                await worker.round()
            for sender in self.pipeline.senders:
                for problem in await asyncio.gather(*sender._batches, return_exceptions=True):
                    if isinstance(problem, Died):
                        raise problem
            due = await self.queue.next_due(STAGES)
            if due is None or due > int(self.clock.time() * 1000):
                return

    async def later(self) -> None:
        """Every lease has ended, and what nobody plans is looked for."""
        self.clock.advance(61.0)
        await self.pipeline.upkeep.repair()
        await self.work()


async def _ready(app_id: str) -> Mapping[Provider, Readiness]:
    return {"fcm": Readiness(True)}


class Ground:
    def __init__(self, store: PushStore, queue: JobQueue) -> None:
        self.store, self.queue, self.clock, self.phone = store, queue, FakeClock(NOW / 1000), Phone()

    def server(self, steps: int | None = None) -> tuple[Server, Life]:
        life = Life(steps)
        return Server(self.store, self.queue, self.clock, self.phone, life), life

    async def status(self, publish_id: str = "ship") -> PublishStatus | None:
        return await self.store.status("app", publish_id)


@pytest.fixture(params=KINDS)
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    kind, data = request.param, request.getfixturevalue("tmp_path") / "data"
    server = request.getfixturevalue(kind) if kind == "postgres" else None
    push_place = PushPlace(kind, data, server)
    push_place.empty()
    queue_place = QueuePlace.of(kind, data, server, request.getfixturevalue("unique"))
    async with push_place.open() as store, queue_place.open() as queue:
        await store.put_device(a_device())
        yield Ground(store, queue)


PHONE = Target(type="device", device_id="phone")


async def test_it_takes_two_messages_and_three_writes(ground: Ground) -> None:
    server, life = ground.server()
    accepted = await server.publish(PHONE)
    assert (accepted.word, accepted.expected) == ("accepted", 1)
    depths = await ground.queue.depths(NOW)
    assert {stage: depth.ready for stage, depth in depths.items() if depth.ready} == {"delivery_jobs_fcm": 1}
    await server.work()
    status = await ground.status()
    assert status is not None
    assert (status.state, status.counters) == ("succeeded", Counters(planned=1, dispatched=1, succeeded=1))
    assert ground.phone.tokens == ["token-phone"]
    # Each call is named before and after it.
    calls = Counter(name for name in life.names if name in WRITES)
    assert calls == {"accept": 2, "touch_devices": 2, "take_steps": 2}
    assert Counter(life.names)["put"] + Counter(life.names)["settle"] == 6


async def test_a_server_that_dies_between_any_two_steps_loses_and_doubles_nothing(ground: Ground) -> None:
    """A backend without an answer asks again under the same id, once the server is up again."""
    for steps in range(MOST_STEPS):
        ground.phone.tokens.clear()
        server, life = ground.server(steps)
        publish_id = f"ship-{steps}"
        died = False
        try:
            await server.publish(PHONE, publish_id=publish_id)
            await server.work()
        except Died:
            died = True
        again, _ = ground.server()
        if "accept" not in life.names or await ground.status(publish_id) is None:
            await again.publish(PHONE, publish_id=publish_id)
        await again.work()
        await again.later()
        await again.later()
        status = await ground.status(publish_id)
        assert status is not None
        assert (status.state, status.counters) == ("succeeded", Counters(planned=1, dispatched=1, succeeded=1)), steps
        # Only a server that dies between the answer of the provider and the end of its job may have it sent once more.
        most = 2 if life.names.count("settle") == 1 else 1
        assert set(ground.phone.tokens) == {"token-phone"}, steps
        assert len(ground.phone.tokens) <= most, steps
        assert await ground.queue.next_due(STAGES) is None
        if not died:
            return
    raise AssertionError(f"it takes more than {MOST_STEPS} steps")


async def test_a_repetition_sends_nothing_more_whenever_it_comes(ground: Ground) -> None:
    server, _ = ground.server()
    first = await server.publish(PHONE)
    again = await server.publish(PHONE)
    assert (first.word, again.word, again.expected) == ("accepted", "accepted", 1)
    await server.work()
    assert (await server.publish(PHONE)).word == "succeeded"
    await server.later()
    assert ground.phone.tokens == ["token-phone"]


async def test_repair_leaves_alone_what_the_queue_has(ground: Ground) -> None:
    """It may wait for its provider for longer than repair waits."""
    server, _ = ground.server()
    await server.publish(PHONE)
    ground.clock.advance(61.0)
    assert await server.pipeline.upkeep.repair() == 0
    status = await ground.status()
    assert status is not None
    assert (status.state, status.revision) == ("dispatching", 1)
    await server.work()
    assert ground.phone.tokens == ["token-phone"]


async def test_what_the_queue_has_lost_is_planned_again_for_whom_it_reaches_by_then(ground: Ground) -> None:
    await ground.store.put_device(a_device("tablet", client_id="ana"))
    await ground.store.put_device(a_device("watch", client_id="ana"))
    server, _ = ground.server()
    accepted = await server.publish(Target(type="client", client_id="ana"))
    assert accepted.status.counters.planned == 2
    leases = await ground.queue.lease("delivery_jobs_fcm", 10, NOW, NOW + 1000)
    assert len(leases) == 1
    await ground.queue.settle(leases, [], NOW)
    await ground.store.delete_device("app", "watch")
    await server.later()
    await server.later()
    status = await ground.status()
    assert status is not None
    assert (status.state, status.counters) == ("succeeded", Counters(planned=1, dispatched=1, succeeded=1))
    assert ground.phone.tokens == ["token-tablet"]


async def test_one_that_was_accepted_too_slowly_is_left_to_repair(ground: Ground) -> None:
    """Another process may have it planned by then."""
    server, _ = ground.server()
    accept = ground.store.accept

    async def slow(*args: Any, **kwargs: Any) -> Any:
        winner = await accept(*args, **kwargs)
        ground.clock.advance(20.0)
        return winner

    ground.store.accept = slow  # type: ignore[method-assign]
    await server.publish(PHONE)
    del ground.store.accept  # type: ignore[attr-defined]
    assert await ground.queue.next_due(STAGES) is None
    await server.later()
    assert ground.phone.tokens == ["token-phone"]


@pytest.mark.parametrize("what", ["channel", "scheduled", "many", "large", "no repair"])
async def test_others_wait_for_a_planner(ground: Ground, what: str) -> None:
    server, _ = ground.server()
    targets, not_before = [PHONE], None
    if what == "channel":
        targets = [Target(type="channel", channel="news"), PHONE]
    elif what == "scheduled":
        not_before = NOW + 60_000
    elif what == "many":
        for number in range(101):
            await ground.store.put_device(a_device(f"phone-{number}", client_id="ana"))
        targets = [Target(type="client", client_id="ana")]
    elif what == "large":
        server.push.options = push_settings(providers=["fcm"], fanout_fast_threshold=1)
    else:
        server.push.options = push_settings(providers=["fcm"], repair_interval_secs=0)
    request = PublishRequest("ship", targets, Payload(title="Shipped"), [], not_before_ms=not_before)
    await server.push.publish("app", request)
    status = await ground.status()
    assert status is not None
    assert status.state == "queued"
    assert (await ground.queue.depths(NOW))["publish_log"].ready == 1
