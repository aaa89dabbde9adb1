"""Which batches a publish becomes: pages, providers, steps of large ones, whom targets lead to (spec: push § 7.2)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from hashlib import sha256

import msgspec
import pytest
from msgspec.structs import replace

from sockudo.config.sections.push import Push as PushSettings
from sockudo.push.delivery import Batch
from sockudo.push.messages import Delivery, delivery_stage, read_body
from sockudo.push.recipients import ApnsRecipient, Provider, RealtimeRecipient
from sockudo.push.records import Counters, Override, Payload, Regime, Subscription, Target
from sockudo.push.validation import CLIENT_SCOPE
from support.virtual_time import in_virtual_time
from support.waiting import until
from unit.push.pipeline_world import APP, World, device, on_channel

_NO_SENDERS = PushSettings(dispatch_worker_count=0)


def _batches(world: World, provider: Provider = "fcm") -> list[Batch]:
    bodies = [read_body(message.body) for message in world.queue.followed if message.stage == delivery_stage(provider)]
    return [body.batch for body in bodies if isinstance(body, Delivery)]


async def _planned(world: World, publish_id: str) -> Counters:
    async with asyncio.timeout(60):
        while (status := await world.status(publish_id)).state in ("queued", "planning"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return status.counters


@in_virtual_time
async def test_a_small_publish_is_batches_of_500_by_provider() -> None:
    async with World(_NO_SENDERS) as world:
        await world.register(*map(device, range(1100)), channel="news")
        await world.register(device("apple", recipient=ApnsRecipient("ab" * 32)), channel="news")
        assert (await _planned(world, await world.publish(on_channel()))).planned == 1101
        assert [(each.batch_id, len(each.jobs)) for each in _batches(world)] == [
            ("fast-batch-fcm-1", 500),
            ("fast-batch-fcm-2", 500),
            ("fast-batch-fcm-3", 100),
        ]
        (apple,) = _batches(world, "apns")
        assert apple.batch_id == "fast-batch-apns-1"
        assert msgspec.json.decode(apple.payload)["aps"]["alert"] == {"title": "Hello", "body": "World"}


@in_virtual_time
async def test_an_override_is_sent_instead() -> None:
    async with World(_NO_SENDERS) as world:
        await world.register(device(1), channel="news")
        override = Override(provider="fcm", payload={"message": {"data": {"x": "1"}}})
        await _planned(world, await world.publish(on_channel(), overrides=[override]))
        (batch,) = _batches(world)
        assert msgspec.json.decode(batch.payload) == override.payload


@pytest.mark.parametrize("regime", ["fastPath", "shardPath"])
def test_a_large_publish_is_planned_in_steps_that_know_of_each_other(regime: Regime) -> None:
    @in_virtual_time
    async def run() -> None:
        options = replace_options(dispatch_worker_count=0, fanout_fast_threshold=1000, fanout_shard_size=1000)
        async with World(options) as world:
            await world.register(*map(device, range(3500)), channel="news")
            await world.register(*(replace(device(n), id=f"other-{n}") for n in range(0, 3500, 7)), channel="news")
            publish_id = await world.publish(on_channel(), on_channel(), regime=regime)
            assert (await _planned(world, publish_id)).planned == 3500
            tokens = Counter(job.recipient.token for batch in _batches(world) for job in batch.jobs)
            assert len(tokens) == 3500
            assert set(tokens.values()) == {1}
            ids = [batch.batch_id for batch in _batches(world)]
            assert len(set(ids)) == len(ids)
            assert ids[0] == ("fast-batch-fcm-1" if regime == "fastPath" else "shard-0-batch-fcm-1")

    run()


def replace_options(**changes: int) -> PushSettings:
    return PushSettings(**changes)  # type: ignore[arg-type]


@in_virtual_time
async def test_steps_go_on_in_another_process_without_telling_anybody_twice() -> None:
    async with World(replace_options(dispatch_worker_count=0, fanout_shard_size=1000), dice=random.Random(1)) as world:
        await world.register(*map(device, range(2500)), channel="a")
        await world.register(*map(device, range(2500)), channel="b")
        publish_id = await world.publish(on_channel("a"), on_channel("b"), regime="shardPath")
        await until(lambda: len(_batches(world)) >= 4)
        await world.pipeline.close(5.0)
        planned = sum(len(batch.jobs) for batch in _batches(world))
        assert planned < 2500
        world.start()
        assert (await _planned(world, publish_id)).planned == 2500
        assert sum(len(batch.jobs) for batch in _batches(world)) == 2500


@in_virtual_time
async def test_direct_targets_of_a_large_publish_have_batches_of_their_own() -> None:
    async with World(_NO_SENDERS) as world:
        await world.register(device(1), device(2))
        await world.register(device(3), channel="news")
        targets = [Target(type="device", device_id="device-1"), Target(type="device", device_id="device-2")]
        await _planned(world, await world.publish(*targets, on_channel(), regime="shardPath"))
        assert [(batch.batch_id, len(batch.jobs)) for batch in _batches(world)] == [
            ("direct-0-batch-fcm-1", 2),
            ("shard-2-batch-fcm-1", 1),
        ]


@in_virtual_time
async def test_a_subscription_of_a_client_stands_for_the_devices_it_has_now() -> None:
    async with World(_NO_SENDERS) as world:
        scope = CLIENT_SCOPE + sha256(b"ann").hexdigest()
        await world.store.put_subscription(
            Subscription(
                app_id=APP, channel="news", device_id=scope, client_id="ann", provider="realtime", token_hash="x"
            )
        )
        await world.register(device(1, client_id="ann"), device(2, client_id="ann"), device(3, client_id="bob"))
        assert (await _planned(world, await world.publish(on_channel()))).planned == 2


@in_virtual_time
async def test_a_device_that_is_gone_by_now_gets_nothing() -> None:
    async with World(_NO_SENDERS) as world:
        await world.pipeline.close(0.0)
        await world.register(device(1), device(2), channel="news")
        publish_id = await world.publish(on_channel(), Target(type="device", device_id="device-1"))
        await world.store.delete_device(APP, "device-1")
        world.start()
        assert (await _planned(world, publish_id)).planned == 1


@in_virtual_time
async def test_a_publish_that_waits_has_batches_that_wait() -> None:
    async with World(_NO_SENDERS) as world:
        await world.register(device(1), channel="news")
        due = world.clock.ms() + 60_000
        publish_id = await world.publish(on_channel(), not_before_ms=due)
        await _planned(world, publish_id)
        (message,) = [each for each in world.queue.followed if each.stage == "delivery_jobs_fcm"]
        assert message.due_at_ms == due


@in_virtual_time
async def test_raw_recipients_have_no_device() -> None:
    async with World(_NO_SENDERS) as world:
        await _planned(world, await world.publish(Target(type="recipient", recipient=RealtimeRecipient("room"))))
        (batch,) = _batches(world, "realtime")
        assert [job.device_id for job in batch.jobs] == [None]


@in_virtual_time
async def test_a_cancelled_publish_is_not_planned() -> None:
    async with World(_NO_SENDERS) as world:
        await world.pipeline.close(0.0)
        await world.register(device(1), channel="news")
        publish_id = await world.publish(on_channel())
        await world.cancel(publish_id)
        world.start()
        assert (await world.ended(publish_id)).state == "cancelled"
        assert _batches(world) == []


@in_virtual_time
async def test_what_nobody_understands_is_a_dead_letter() -> None:
    async with World() as world:
        for stage in ("publish_log", "shard_jobs", "delivery_jobs_fcm", "delivery_results", "retry_schedule"):
            message = read_message(stage)
            await world.queue.put([message], world.clock.ms())
        await asyncio.sleep(2)
        assert {letter.reason for letter in await world.letters()} == {
            f"unexpected payload for {stage}"
            for stage in ("publish_log", "shard_jobs", "delivery_jobs_fcm", "delivery_results", "retry_schedule")
        }
        assert await world.is_idle()


def read_message(stage: str):  # type: ignore[no-untyped-def]
    from sockudo.jobs.ports import Job

    return Job(stage, f"odd-{stage}", APP, b'{"kind":"odd"}')  # type: ignore[arg-type]


@in_virtual_time
async def test_a_template_that_changes_later_changes_nothing() -> None:
    """What was accepted is planned and tried again as it was."""
    async with World(_NO_SENDERS) as world:
        await world.register(device(1), channel="news")
        payload = Payload(title="Old {{ data.n }}", body="b", template_id="t", template_data={"n": 1})
        await _planned(world, await world.publish(on_channel(), payload=payload))
        (batch,) = _batches(world)
        assert msgspec.json.decode(batch.payload)["message"]["notification"]["title"] == "Old 1"
