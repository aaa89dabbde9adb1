"""Processes that die between any two steps: every device gets its notification, and counters add up to the end.

The seed of a run is in its name. What is asserted are the promises of spec: push § 13.1.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter

import pytest

from sockudo.config.sections.push import Push as PushSettings
from sockudo.config.sections.push import PushRetry
from sockudo.push.delivery import Sent
from sockudo.push.lifecycle import outcome_state
from sockudo.push.messages import publish_message
from sockudo.push.pipeline.works import LEASE_MS
from sockudo.push.records import Counters, PublishStatus, Target
from support.virtual_time import in_virtual_time
from support.waiting import until
from unit.push.pipeline_world import APP, World, device, failure, on_channel

_MOST_ATTEMPTS = 4

SEEDS = os.environ.get("SOCKUDO_EXAMPLES")
"""How many random runs there are of each kind, where it is not to be the usual number."""


def _check(world: World, status: PublishStatus, expected: int) -> None:
    counters = status.counters
    assert counters.planned == expected
    assert counters.settled == expected
    assert status.state == outcome_state(counters)
    assert counters.dispatched == counters.succeeded + counters.failed + counters.expired
    assert counters.retry_attempted <= counters.retry_scheduled


@pytest.mark.parametrize("seed", range(int(SEEDS or 12)))
def test_kills_at_random_moments(seed: int) -> None:
    @in_virtual_time
    async def run() -> None:
        dice = random.Random(seed)
        options = PushSettings(
            retry=PushRetry(max_attempts=_MOST_ATTEMPTS, initial_backoff_ms=200),
            fanout_shard_size=100,
            fanout_fast_threshold=150,
        )
        world = World(options, dice=dice)
        devices = dice.choice((1, 40, 300))
        await world.register(*map(device, range(devices)), channel="news")
        dead = {f"token-{n}" for n in range(devices) if dice.random() < 0.05}

        def answer(token: str) -> Sent:
            if token in dead:
                return failure("invalid_token")
            luck = dice.random()
            if luck < 0.1:
                return failure(dice.choice(("unavailable", "quota", "network_transport")))
            return failure("auth_failure") if luck > 0.99 else Sent("accepted")

        world.fcm.otherwise = answer
        world.fcm.latency = lambda: dice.random() * 0.1
        world.start()
        regime = "shardPath" if dice.random() < 0.5 else "fastPath"
        # The second target leads to the same devices.
        publish_id = await world.publish(on_channel(), Target(type="channel", channel="news"), regime=regime)
        for _ in range(dice.randrange(12)):
            await asyncio.sleep(dice.random() * dice.choice((0.2, 2.0, 40.0)))
            await world.kill()
            world.start()
            if dice.random() < 0.3:
                # Repair does not know that somebody plans it still.
                await world.queue.put([publish_message(APP, publish_id)], world.clock.ms())
        status = await world.ended(publish_id, within=20_000)
        await world.kill()
        _check(world, status, devices)
        sends = Counter(world.fcm.tokens)
        assert set(sends) == {f"token-{n}" for n in range(devices)}
        assert max(sends.values()) <= _MOST_ATTEMPTS + world.kills
        left = {each.recipient.token for each in await world.store.devices(APP, "", 1000)}
        assert left == {f"token-{n}" for n in range(devices)} - dead

    run()


@pytest.mark.parametrize("seed", range(int(SEEDS or 4)))
def test_two_processes_share_the_work_and_one_stops(seed: int) -> None:
    @in_virtual_time
    async def run() -> None:
        dice = random.Random(seed)
        world = World(dice=dice)
        await world.register(*map(device, range(1200)), channel="news")
        world.start()
        first = world.pipeline
        world.start()
        publish_id = await world.publish(on_channel())
        await until(lambda: len(world.fcm.sends) > 100)
        await first.close(0.0)
        status = await world.ended(publish_id)
        assert status.counters == Counters(planned=1200, dispatched=1200, succeeded=1200)
        assert max(Counter(world.fcm.tokens).values()) <= 2
        await world.kill()

    run()


@in_virtual_time
async def test_a_worker_that_dies_after_the_answer_costs_one_more_send_and_no_count() -> None:
    """The batch comes back when its lease ends, not before."""
    world = World(dice=random.Random(1))
    await world.register(device(1), channel="news")
    world.start()
    publish_id = await world.publish(on_channel())
    await until(lambda: len(world.fcm.sends) == 1)
    await asyncio.sleep(0.02)
    await world.kill()
    world.start()
    status = await world.ended(publish_id)
    first, second = world.fcm.times("token-1")
    assert second - first >= LEASE_MS - 1000
    assert status.counters == Counters(planned=1, dispatched=1, succeeded=1)
    await world.kill()


@in_virtual_time
async def test_a_process_that_stands_still_for_longer_than_its_leases_counts_nothing_twice() -> None:
    """Its messages have gone to another one by then; both have sent, and both say so."""
    async with World() as world:
        await world.register(*map(device, range(60)), channel="news")
        world.fcm.latency = lambda: 45.0 if len(world.fcm.sends) <= 60 else 0.01
        sender = world.pipeline.senders[0]
        # It renews nothing.
        world.pipeline._rounds[-1].cancel()
        publish_id = await world.publish(on_channel())
        await until(lambda: world.fcm.sends)
        other = World(world.options)
        other.store, other.queue, other.providers = world.store, world.queue, world.providers
        other.start()
        status = await world.ended(publish_id)
        await asyncio.sleep(200)
        assert (await world.status(publish_id)).counters == status.counters
        assert status.counters == Counters(planned=60, dispatched=60, succeeded=60)
        # Where the first one stood it has sent, and no further.
        assert max(Counter(world.fcm.tokens).values()) <= 3
        assert sender.busy == 0
        await other.pipeline.close(0.0)


@in_virtual_time
async def test_who_was_too_slow_to_keep_a_batch_loses_nothing_of_it() -> None:
    """Nobody else is there: what was sent is counted, and the rest is taken once more."""
    async with World() as world:
        await world.register(*map(device, range(60)), channel="news")
        world.fcm.latency = lambda: 45.0 if len(world.fcm.sends) <= 32 else 0.01
        # It renews nothing, and nobody looks for what is over.
        world.pipeline._rounds[-1].cancel()
        world.pipeline._rounds[0].cancel()
        status = await world.ended(await world.publish(on_channel()))
        assert status.counters == Counters(planned=60, dispatched=60, succeeded=60)
        assert Counter(Counter(world.fcm.tokens).values()) == {2: 32, 1: 28}


@in_virtual_time
async def test_a_publish_whose_message_is_lost_is_found_by_repair() -> None:
    async with World(PushSettings(repair_interval_secs=30.0, repair_min_age_secs=30)) as world:
        await world.register(device(1), channel="news")
        await world.pipeline.close(0.0)
        publish_id = await world.publish(on_channel())
        now = world.clock.ms()
        leases = await world.queue.lease("publish_log", 10, now, now + 1000)
        await world.queue.settle(leases, [], now)
        world.start()
        status = await world.ended(publish_id, within=100.0)
        assert status.counters.succeeded == 1
        assert world.counted("repair_requeued_total") == 1
