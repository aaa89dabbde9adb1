"""Publishes whose planning the queue has lost: planned again, or ended with a reason; nobody is told twice."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from sockudo.config.sections.push import Push as PushSettings
from sockudo.jobs.ports import Job, Lease
from sockudo.push.messages import STAGES, Stage, publish_message
from sockudo.push.records import Counters, PublishIntent, PublishStatus, State
from support.virtual_time import in_virtual_time
from support.waiting import until
from unit.push.pipeline_world import APP, World, device, failure, on_channel

_OPTIONS = PushSettings(repair_interval_secs=10.0, repair_min_age_secs=5)
_BY_HAND = PushSettings(repair_interval_secs=0, repair_min_age_secs=5)


async def _lose(world: World, *stages: Stage) -> list[Job]:
    """What these stages have is gone, as with a queue that was emptied."""
    lost = []
    for stage in stages:
        later = world.clock.ms() + 10**9
        leases = await world.queue.lease(stage, 10**6, later, later + 1)
        await world.queue.settle(leases, [], world.clock.ms())
        lost += [lease.job for lease in leases]
    return lost


async def _planning(world: World, publish_id: str) -> None:
    status = await world.status(publish_id)
    assert await world.store.swap_status(status, replace(status, state="planning")) is not None


def _skipped(world: World) -> dict[str, int]:
    counts = world.works.counters.counts
    return {labels[0]: count for (name, labels), count in counts.items() if name == "repair_skipped_total"}


@in_virtual_time
async def test_planning_that_the_queue_lost_is_done_again() -> None:
    async with World(_OPTIONS) as world:
        await world.pipeline.close(0.0)
        await world.register(*map(device, range(3)), channel="news")
        publish_id = await world.publish(on_channel())
        await _planning(world, publish_id)
        assert len(await _lose(world, *STAGES)) == 1
        world.start()
        status = await world.ended(publish_id, within=30)
        assert (status.state, status.counters) == ("succeeded", Counters(planned=3, dispatched=3, succeeded=3))
        assert Counter(world.fcm.tokens) == Counter(f"token-{number}" for number in range(3))
        assert world.works.counters.counts["repair_requeued_total", ("publish_log", "planning")] == 1


class _Kept:
    """The queue keeps the end of planning and some batches to itself, and loses them with everything else."""

    def __init__(self, world: World, loses: Any) -> None:
        self._settle = world.queue.settle
        self._loses = loses
        self.lost: list[Job] = []
        world.queue.settle = self.settle  # type: ignore[method-assign]

    async def settle(self, leases: list[Lease], follow_up: list[Job], now_ms: int) -> list[bool]:
        kept = [message for message in follow_up if not self._loses(message)]
        self.lost += [message for message in follow_up if message not in kept]
        return await self._settle(leases, kept, now_ms)


@in_virtual_time
async def test_who_has_an_outcome_is_not_sent_to_again() -> None:
    """Of three batches one was sent before the queue lost the others; one recipient in it has a dead token."""
    async with World(_OPTIONS) as world:
        await world.register(*map(device, range(1200)), channel="news")
        world.fcm.scripts["token-0"] = [failure("invalid_token")]
        queue = _Kept(world, lambda message: ":planned:" in message.key or message.key.endswith(("fcm-2", "fcm-3")))
        publish_id = await world.publish(on_channel())
        await until(lambda: len(world.fcm.sends) == 500)
        await asyncio.sleep(1)
        assert (await world.status(publish_id)).state == "planning"
        assert len(queue.lost) == 3
        queue._loses = lambda _message: False
        status = await world.ended(publish_id, within=60)
        assert status.state == "partiallySucceeded"
        assert status.counters == Counters(planned=1200, dispatched=1200, succeeded=1199, failed=1)
        sends = Counter(world.fcm.tokens)
        assert set(sends) == {f"token-{number}" for number in range(1200)}
        # The device that is gone moves the others up: who came first in the second batch is last in the first one now.
        assert sends.total() == 1200


@in_virtual_time
async def test_a_large_publish_goes_on_where_its_recipients_have_no_outcome() -> None:
    options = PushSettings(repair_interval_secs=10.0, repair_min_age_secs=5, fanout_shard_size=1000)
    async with World(options) as world:
        await world.register(*map(device, range(3500)), channel="news")
        queue = _Kept(world, lambda message: message.key.endswith(":2"))
        publish_id = await world.publish(on_channel(), regime="shardPath")
        await until(lambda: len(world.fcm.sends) == 2000)
        await asyncio.sleep(1)
        assert [message.stage for message in queue.lost] == ["shard_jobs"]
        assert (await world.status(publish_id)).state == "planning"
        queue._loses = lambda _message: False
        status = await world.ended(publish_id, within=120)
        assert status.counters == Counters(planned=3500, dispatched=3500, succeeded=3500)
        assert Counter(world.fcm.tokens) == Counter(f"token-{number}" for number in range(3500))


@pytest.mark.parametrize("seed", range(int(os.environ.get("SOCKUDO_EXAMPLES", "2"))))
def test_planning_that_goes_on_is_left_alone(seed: int) -> None:
    """At whichever of its steps repair looks: the queue has it, or it has just gone on."""

    @in_virtual_time
    async def run() -> None:
        options = PushSettings(
            repair_interval_secs=0.001, repair_min_age_secs=0, fanout_shard_size=1000, dispatch_worker_count=0
        )
        async with World(options, dice=random.Random(seed)) as world:
            await world.register(*map(device, range(8000)), channel="news")
            publish_id = await world.publish(on_channel(), regime="shardPath")
            async with asyncio.timeout(120):
                while (status := await world.status(publish_id)).state != "dispatching":  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            await asyncio.sleep(5)
            assert status.counters.planned == world.counted("delivery_jobs_emitted_total") == 8000
            assert world.works.counters.counts["repair_requeued_total", ("publish_log", "planning")] == 0
            assert _skipped(world)["held"] > 5

    run()


@in_virtual_time
async def test_why_publishes_are_left_alone() -> None:
    async with World(_BY_HAND) as world:
        await world.pipeline.close(0.0)
        held = await world.publish(on_channel(), publish_id="held")
        await _planning(world, held)
        intent = await world.store.intent(APP, held)
        assert intent is not None
        fresh, ended, gone = (replace(intent, publish_id=name) for name in ("fresh", "ended", "gone"))
        for name in ("fresh", "ended"):
            await world.publish(on_channel(), publish_id=name)
        await asyncio.sleep(6)
        for name, state in (("fresh", "planning"), ("ended", "succeeded")):
            status = await world.status(name)
            after = replace(status, state=state, updated_at_ms=world.clock.ms())
            assert await world.store.swap_status(status, after) is not None

        async def stuck(state: State, *_: object, **__: object) -> list[PublishIntent]:
            # As another process saw them a moment ago.
            return [intent, fresh, ended, gone] if state == "planning" else []

        world.store.stuck = stuck  # type: ignore[method-assign]
        assert await world.pipeline.upkeep.repair() == 0
        assert _skipped(world) == {"held": 1, "fresh": 1, "not_queued": 1, "missing_status": 1}
        await asyncio.sleep(1)
        assert await world.pipeline.upkeep.repair() == 0
        assert _skipped(world)["locked"] == 4


@in_virtual_time
async def test_two_processes_plan_it_again_once() -> None:
    async with World(_OPTIONS) as world:
        await world.pipeline.close(0.0)
        await world.register(device(1), channel="news")
        publish_id = await world.publish(on_channel())
        await _planning(world, publish_id)
        await _lose(world, *STAGES)
        world.start()
        first = world.pipeline
        world.start()
        assert (await world.ended(publish_id, within=30)).counters.succeeded == 1
        await asyncio.sleep(60)
        assert world.fcm.tokens == ["token-1"]
        await first.close(0.0)


@in_virtual_time
async def test_a_step_that_nobody_understands_does_not_end_the_publish() -> None:
    async with World(_OPTIONS) as world:
        await world.pipeline.close(0.0)
        await world.register(device(1), channel="news")
        publish_id = await world.publish(on_channel(), regime="shardPath")
        await _planning(world, publish_id)
        await _lose(world, "publish_log")
        await world.queue.put([Job("shard_jobs", f":step:{APP}:{publish_id}:0", APP, b"{}")], 0)
        world.start()
        assert (await world.ended(publish_id, within=30)).state == "succeeded"
        assert [letter.reason for letter in await world.letters()] == ["unexpected payload for shard_jobs"]


@pytest.mark.parametrize("path", ["fastPath", "shardPath"])
def test_a_publish_whose_planning_always_fails_ends_with_a_reason(path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def defect(*_: object) -> None:
        raise RuntimeError("a defect")

    @in_virtual_time
    async def run() -> None:
        async with World(_OPTIONS) as world:
            await world.register(device(1), channel="news")
            publish_id = await world.publish(on_channel(), regime=path)
            status = await world.ended(publish_id, within=300)
            assert (status.state, status.code) == ("failed", "internal_error")
            assert status.error_reason == "planning failed 5 times, by a defect of the server that is in its log"
            (letter,) = await world.letters()
            assert letter.replayable

    monkeypatch.setattr("sockudo.push.pipeline.planner.plan_step", defect)
    run()


@in_virtual_time
async def test_a_publish_that_is_not_in_the_log_any_more_ends_with_a_reason() -> None:
    async with World(_BY_HAND) as world:
        await world.pipeline.close(0.0)
        status = PublishStatus(app_id=APP, publish_id="lost", state="planning", created_at_ms=world.clock.ms())
        await world.store.accept(status, None, [], 0)
        await world.queue.put([publish_message(APP, "lost")], 0)
        world.start()
        ended = await world.ended("lost")
        assert (ended.state, ended.error_reason) == ("failed", "the publish is not in the log")
