from __future__ import annotations

import asyncio

from msgspec.structs import replace

from sockudo.config.sections.push import Push as PushSettings
from sockudo.push.records import Payload, PublishIntent, PublishStatus, ScheduledJob
from support.virtual_time import in_virtual_time
from unit.push.pipeline_world import APP, World, device, on_channel

_DAY_MS = 86_400_000


async def _job(world: World, publish_id: str, due_at_ms: int) -> None:
    """As whoever makes a job has to store it: the status first."""
    intent = PublishIntent(
        app_id=APP,
        publish_id=publish_id,
        targets=[on_channel()],
        payload=Payload(title="x"),
        regime="fastPath",
        accepted_at_ms=world.clock.ms(),
    )
    status = PublishStatus(app_id=APP, publish_id=publish_id, state="queued", created_at_ms=world.clock.ms())
    await world.store.accept(status, None, [], 0)
    await world.store.put_job(ScheduledJob(app_id=APP, publish_id=publish_id, due_at_ms=due_at_ms, intent=intent))


async def _days(world: World, days: int) -> None:
    """Without anybody who would look five times a second whether there is something to do."""
    await world.pipeline.close(0.0)
    await asyncio.sleep(days * 86_400)
    world.start()


@in_virtual_time
async def test_jobs_are_planned_when_they_are_due() -> None:
    async with World(PushSettings(repair_interval_secs=0)) as world:
        await world.register(device(1), channel="news")
        due = world.clock.ms() + 5000
        await _job(world, "job-1", due)
        status = await world.ended("job-1")
        assert status.state == "succeeded"
        assert due <= world.fcm.times("token-1")[0] < due + 2000
        assert await world.store.job(APP, "job-1") is None


@in_virtual_time
async def test_two_processes_start_a_job_once() -> None:
    async with World() as world:
        await world.pipeline.close(0.0)
        await world.register(device(1), channel="news")
        await _job(world, "job-1", world.clock.ms())
        world.start()
        first = world.pipeline
        world.start()
        assert (await world.ended("job-1")).state == "succeeded"
        await asyncio.sleep(10)
        assert len(world.fcm.sends) == 1
        await first.close(0.0)


@in_virtual_time
async def test_repair_looks_behind_a_hundred_old_ones() -> None:
    """What is held by somebody is not in the way of the others."""
    async with World(PushSettings(repair_interval_secs=0, repair_batch_size=10, repair_min_age_secs=1)) as world:
        await world.pipeline.close(0.0)
        for number in range(35):
            await world.publish(on_channel(), publish_id=f"p-{number}")
            await asyncio.sleep(0.01)
        now = world.clock.ms()
        leases = await world.queue.lease("publish_log", 100, now, now + 1)
        await world.queue.settle(leases, [], now)
        await asyncio.sleep(2)
        assert await world.pipeline.upkeep.repair() == 35
        depths = await world.queue.depths(world.clock.ms())
        assert depths["publish_log"].ready == 35


@in_virtual_time
async def test_fresh_publishes_are_left_to_their_planner() -> None:
    async with World(PushSettings(repair_interval_secs=0)) as world:
        await world.pipeline.close(0.0)
        await world.publish(on_channel())
        assert await world.pipeline.upkeep.repair() == 0


@in_virtual_time
async def test_one_process_repairs_at_a_time() -> None:
    async with World(PushSettings(repair_interval_secs=0, repair_min_age_secs=1)) as world:
        await world.pipeline.close(0.0)
        await world.publish(on_channel())
        await asyncio.sleep(2)
        assert await world.pipeline.upkeep.repair() == 1
        world.start()
        await world.pipeline.close(0.0)
        await world.publish(on_channel(), publish_id="other")
        assert await world.pipeline.upkeep.repair() == 0


@in_virtual_time
async def test_what_was_kept_long_enough_goes_in_small_steps() -> None:
    options = PushSettings(
        repair_interval_secs=0,
        cleanup_interval_secs=0,
        cleanup_batch_size=10,
        publish_status_ttl_days=1,
        analytics_retention_days=1,
    )
    async with World(options) as world:
        await world.register(device(1), channel="news")
        for number in range(25):
            await world.ended(await world.publish(on_channel(), publish_id=f"old-{number}"))
        await _days(world, 2)
        new = await world.publish(on_channel())
        await world.ended(new)
        assert await world.pipeline.upkeep.clean() >= 50
        assert await world.store.status(APP, "old-0") is None
        assert await world.store.events(APP, "old-24", "", 10) == []
        assert (await world.status(new)).state == "succeeded"
        assert await world.store.device(APP, "device-1") is not None
        assert world.counted("cleanup_deleted_total") >= 50


@in_virtual_time
async def test_a_tick_deletes_no_more_than_it_may_and_0_days_are_for_ever() -> None:
    options = PushSettings(
        repair_interval_secs=0, cleanup_interval_secs=0, cleanup_batch_size=10, cleanup_max_deleted_per_tick=15
    )
    async with World(options) as world:
        await world.register(device(1), channel="news")
        for number in range(25):
            await world.ended(await world.publish(on_channel(), publish_id=f"old-{number}"))
        await _days(world, 40)
        world.pipeline.configure(PushSettings(publish_status_ttl_days=0, analytics_retention_days=0))
        await world.pipeline.upkeep.clean()
        assert (await world.status("old-0")).state == "succeeded"
        world.works.options = replace(options, publish_status_ttl_days=1, analytics_retention_days=1)
        assert 10 <= await world.pipeline.upkeep.clean() <= 70
        assert await world.store.status(APP, "old-24") is not None
