"""From an accepted publish to its end: what providers are asked, what is counted, what becomes of devices
(spec: push § 13)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from sockudo.config.sections.push import Push as PushSettings
from sockudo.config.sections.push import PushCircuitBreaker, PushRetry
from sockudo.errors import SockudoError
from sockudo.push.bodies import PublishRequest
from sockudo.push.delivery import Readiness, Sent
from sockudo.push.endpoints import EndpointRules
from sockudo.push.observers import PushProbe
from sockudo.push.outcomes import replay
from sockudo.push.recipients import Provider
from sockudo.push.records import Counters, OutcomeError, Payload, PublishStatus, Target
from sockudo.push.service import Push
from support.virtual_time import in_virtual_time
from support.waiting import until
from unit.push.nodes import push_settings
from unit.push.pipeline_world import APP, World, device, failure, on_channel


@in_virtual_time
async def test_a_channels_devices_get_it_once() -> None:
    async with World() as world:
        await world.register(*map(device, range(3)), channel="news")
        status = await world.ended(await world.publish(on_channel()))
        assert status.state == "succeeded"
        assert status.counters == Counters(planned=3, dispatched=3, succeeded=3)
        assert sorted(world.fcm.tokens) == ["token-0", "token-1", "token-2"]
        kept = await world.store.device(APP, "device-0")
        assert kept is not None
        assert kept.last_active_at_ms >= world.clock.ms() - 2000


@in_virtual_time
async def test_events_say_what_became_of_each() -> None:
    async with World() as world:
        await world.register(device(1), channel="news")
        publish_id = await world.publish(on_channel())
        await world.ended(publish_id)
        (event,) = await world.store.events(APP, publish_id, "", 10)
        assert (event.result.outcome, event.result.device_id) == ("accepted", "device-1")
        assert event.result.provider_message_id == "id-token-1"


@in_virtual_time
async def test_nobody_is_a_failure_of_its_own() -> None:
    async with World() as world:
        status = await world.ended(await world.publish(on_channel("nobody"), Target(type="userTopic", topic="x")))
        assert (status.state, status.code, status.counters.planned) == ("failed", "no_recipients", 0)


@in_virtual_time
async def test_who_is_reached_by_several_targets_gets_it_once() -> None:
    """By device, client and channel, and by another device that has the same token."""
    async with World() as world:
        await world.register(device(1, client_id="c"), device("twin", token="token-1"), channel="news")
        status = await world.ended(
            await world.publish(
                Target(type="device", device_id="device-1"),
                Target(type="client", client_id="c"),
                on_channel(),
                Target(type="recipient", recipient=device(1).recipient),
            )
        )
        assert status.counters == Counters(planned=1, dispatched=1, succeeded=1)
        assert world.fcm.tokens == ["token-1"]


@in_virtual_time
async def test_a_provider_that_throttles_is_asked_again_no_sooner_than_it_says() -> None:
    async with World() as world:
        await world.register(device(1), channel="news")
        asked = world.clock.ms() + 1500
        world.fcm.scripts["token-1"] = [failure("quota", retry_after_ms=asked)]
        status = await world.ended(await world.publish(on_channel()))
        first, second = world.fcm.times("token-1")
        assert second >= asked > first
        assert status.state == "succeeded"
        assert status.counters == Counters(planned=1, dispatched=1, succeeded=1, retry_scheduled=1, retry_attempted=1)
        assert (status.error_reason, status.code, status.retry_after_ms) == (None, None, None)
        assert [(sample.code, sample.count) for sample in status.failures] == [("quota", 1)]


@in_virtual_time
async def test_a_provider_that_stays_away_costs_max_attempts_sends_and_leaves_a_letter_to_replay() -> None:
    async with World(PushSettings(retry=PushRetry(max_attempts=2))) as world:
        await world.register(device(1), channel="news")
        world.fcm.otherwise = lambda token: failure("unavailable")
        publish_id = await world.publish(on_channel())
        status = await world.ended(publish_id)
        assert len(world.fcm.sends) == 2
        assert (status.state, status.code) == ("dead_lettered", "push_retries_exhausted")
        assert status.error_reason == "retry attempts exhausted: unavailable"
        assert status.counters == Counters(planned=1, dead_lettered=1, retry_scheduled=2, retry_attempted=1)
        (letter,) = await world.letters()
        assert letter.replayable
        assert letter.reason == "retry attempts exhausted: unavailable"


@in_virtual_time
async def test_a_replayed_letter_takes_the_place_of_what_was_counted() -> None:
    async with World(PushSettings(retry=PushRetry(max_attempts=1))) as world:
        await world.register(device(1), channel="news")
        world.fcm.scripts["token-1"] = [failure("unavailable"), failure("unavailable")]
        publish_id = await world.publish(on_channel())
        await world.ended(publish_id)
        (letter,) = await world.letters()
        push = _push(world)
        await replay(push, APP, letter.dead_letter_id)
        status = await world.ended(publish_id)
        assert (status.state, status.counters.dead_lettered) == ("dead_lettered", 1)
        first, second = await world.letters()
        assert first.dead_letter_id == letter.dead_letter_id
        await replay(push, APP, second.dead_letter_id)
        status = await world.ended(publish_id)
        assert status.state == "succeeded"
        assert (status.counters.succeeded, status.counters.dead_lettered) == (1, 0)
        assert len(world.fcm.sends) == 3
        # Once more is one more notification, and nothing else.
        await replay(push, APP, second.dead_letter_id)
        assert (await world.ended(publish_id)).counters == status.counters
        assert len(world.fcm.sends) == 4


@in_virtual_time
async def test_some_are_lost_and_some_are_not() -> None:
    async with World(PushSettings(retry=PushRetry(max_attempts=2))) as world:
        await world.register(device(1), device(2), channel="news")
        world.fcm.otherwise = lambda token: Sent("accepted") if token == "token-1" else failure("unavailable")
        status = await world.ended(await world.publish(on_channel()))
        assert status.state == "partiallySucceeded"
        assert (status.counters.succeeded, status.counters.dead_lettered) == (1, 1)


@in_virtual_time
async def test_a_dead_token_takes_its_device_and_no_other() -> None:
    async with World() as world:
        await world.register(device(1), device(2), channel="news")
        world.fcm.scripts["token-1"] = [failure("invalid_token")]
        status = await world.ended(await world.publish(on_channel()))
        assert status.state == "partiallySucceeded"
        assert (status.code, status.counters.failed) == ("provider_token_invalid", 1)
        assert [each.id for each in await world.store.devices(APP, "", 10)] == ["device-2"]
        assert await world.store.count_subscriptions(APP, "news") == 1
        assert await world.letters() == []
        assert world.counted("token_invalidations_total") == 1


@in_virtual_time
async def test_a_device_that_has_another_token_by_now_survives_what_is_said_of_the_old_one() -> None:
    async with World() as world:
        await world.register(device(1, token="old"), channel="news")
        world.fcm.latency = lambda: 5.0
        world.fcm.scripts["old"] = [failure("invalid_token")]
        publish_id = await world.publish(on_channel())
        await until(lambda: world.fcm.sends)
        await world.register(device(1, token="new"))
        status = await world.ended(publish_id)
        assert status.counters.failed == 1
        kept = await world.store.device(APP, "device-1")
        assert kept is not None
        assert kept.recipient.token == "new"


@in_virtual_time
async def test_wrong_credentials_delete_nobody() -> None:
    async with World() as world:
        await world.register(*map(device, range(50)), channel="news")
        told = world.works.probe = _Told()
        world.fcm.otherwise = lambda token: failure("auth_failure")
        publish_id = await world.publish(on_channel())
        status = await world.ended(publish_id)
        assert (status.state, status.code) == ("failed", "provider_auth_failed")
        assert told.misconfigurations == [(publish_id, "fcm", "auth_failure")]
        assert status.counters == Counters(planned=50, dispatched=50, failed=50)
        assert [(sample.failure_class, sample.count) for sample in status.failures] == [("credential_auth", 50)]
        assert len(await world.store.devices(APP, "", 100)) == 50
        assert [(letter.reason, letter.replayable) for letter in await world.letters()] == [("auth_failure", False)]
        assert len(world.fcm.sends) == 50


@in_virtual_time
async def test_what_has_expired_is_not_sent() -> None:
    async with World() as world:
        await world.register(device(1), channel="news")
        status = await world.ended(await world.publish(on_channel(), expires_at_ms=world.clock.ms() - 1))
        assert (status.state, status.code) == ("expired", "push_expired")
        assert status.counters == Counters(planned=1, dispatched=1, expired=1)
        assert world.fcm.sends == []


@in_virtual_time
async def test_what_expires_while_its_provider_is_away_is_expired() -> None:
    async with World() as world:
        await world.register(device(1), channel="news")
        world.fcm.otherwise = lambda token: failure("unavailable")
        expires = world.clock.ms() + 2500
        status = await world.ended(await world.publish(on_channel(), expires_at_ms=expires))
        assert status.state == "expired"
        assert status.error_reason == "expired: unavailable"
        assert max(world.fcm.times("token-1")) < expires


@in_virtual_time
async def test_nothing_is_sent_before_its_time_nor_after_a_cancel() -> None:
    async with World() as world:
        await world.register(device(1), channel="news")
        due = world.clock.ms() + 3000
        waits = await world.publish(on_channel(), not_before_ms=due)
        cancelled = await world.publish(on_channel(), not_before_ms=due)
        await asyncio.sleep(1.0)
        assert (await world.status(waits)).retry_after_ms == due
        await world.cancel(cancelled)
        assert (await world.ended(waits)).state == "succeeded"
        assert (await world.ended(cancelled)).state == "cancelled"
        (sent,) = world.fcm.times("token-1")
        assert due <= sent < due + 1000
        assert (await world.status(cancelled)).counters.dispatched == 0


@in_virtual_time
async def test_a_cancel_in_the_middle_of_a_batch_stops_it() -> None:
    async with World() as world:
        await world.register(*map(device, range(200)), channel="news")
        world.fcm.latency = lambda: 1.0
        publish_id = await world.publish(on_channel())
        await until(lambda: len(world.fcm.sends) == 32)
        await world.cancel(publish_id)
        begun = len(world.fcm.sends)
        status = await world.ended(publish_id)
        assert status.state == "cancelled"
        assert len(world.fcm.sends) == begun == 32


@in_virtual_time
async def test_the_same_feedback_twice_is_counted_once() -> None:
    async with World() as world:
        await world.register(device(1), device(2), channel="news")
        publish_id = await world.publish(on_channel())
        status = await world.ended(publish_id)
        (again,) = [each for each in world.queue.followed if each.stage == "delivery_results"]
        await world.queue.put([again], world.clock.ms())
        after = await world.ended(publish_id)
        assert after.counters == status.counters
        assert world.counted("duplicate_suppressed_total") == 2


@in_virtual_time
async def test_a_failing_provider_is_left_alone_and_tried_again() -> None:
    options = PushSettings(circuit_breaker=PushCircuitBreaker(failure_threshold=5, cooldown_secs=60))
    async with World(options) as world:
        await world.register(device(1))
        began = world.clock.ms()
        world.fcm.otherwise = lambda token: (
            failure("unavailable") if world.clock.ms() < began + 30_000 else Sent("accepted")
        )
        ids = [await world.publish(Target(type="device", device_id="device-1")) for _ in range(10)]
        ends = [await world.ended(publish_id) for publish_id in ids]
        assert {status.state for status in ends} == {"succeeded"}
        assert world.counted("circuit_breaker_open_total") >= 1
        assert world.counted("circuit_breaker_deferred_total") >= 1
        assert not [at for at in world.fcm.times("token-1") if began + 10_000 < at < began + 55_000]


@in_virtual_time
async def test_an_app_whose_provider_fails_keeps_no_other_waiting() -> None:
    async with World() as world:
        for app_id in ("app-1", "app-2"):
            await world.register(*(device(f"{app_id}-{n}", app_id=app_id) for n in range(3000)), channel="news")
        await world.register(device("one", app_id="app-3"), channel="news")
        world.fcm.otherwise = lambda token: Sent("accepted") if token == "token-one" else failure("network_transport")
        world.fcm.latency = lambda: 10.0
        for app_id in ("app-1", "app-2"):
            await world.publish(on_channel(), app_id=app_id)
        await asyncio.sleep(0.5)
        publish_id = await world.publish(on_channel(), app_id="app-3")
        began = world.clock.ms()
        await until(lambda: world.fcm.times("token-one"))
        assert world.fcm.times("token-one")[0] < began + 1000
        assert (await world.status(publish_id, "app-3")).state == "dispatching"
        assert world.fcm.most_under_way <= 201


@in_virtual_time
async def test_batches_of_an_app_without_credentials_wait_for_them() -> None:
    async with World() as world:
        await world.register(device(1), channel="news")
        world.fcm.ready = lambda app_id: False
        publish_id = await world.publish(on_channel())
        await asyncio.sleep(60.0)
        assert world.fcm.sends == []
        assert (await world.status(publish_id)).state == "dispatching"
        world.fcm.ready = lambda app_id: True
        assert (await world.ended(publish_id, within=10.0)).state == "succeeded"


@in_virtual_time
async def test_many_dead_tokens_at_once_are_a_warning() -> None:
    async with World() as world:
        await world.register(*map(device, range(40)), channel="news")
        world.fcm.otherwise = lambda token: failure("invalid_token") if int(token[6:]) < 12 else Sent("accepted")
        await world.ended(await world.publish(on_channel()))
        assert world.counted("token_invalidation_guard_total") == 1
        assert len(await world.store.devices(APP, "", 100)) == 28


@in_virtual_time
async def test_what_cannot_be_rendered_fails_and_is_told() -> None:
    told = _Told()
    async with World(probe=told) as world:
        await world.register(device(1), channel="news")
        payload = Payload(title="{{ data.gone }}", body="x")
        status = await world.ended(await world.publish(on_channel(), payload=payload))
        assert (status.state, status.code) == ("failed", "invalid_input")
        assert told.ends == ["failed"]


@in_virtual_time
async def test_ends_and_dead_devices_are_told_once() -> None:
    told = _Told()
    async with World(probe=told) as world:
        await world.register(device(1), device(2), channel="news")
        world.fcm.scripts["token-1"] = [failure("invalid_token")]
        await world.ended(await world.publish(on_channel()))
        await world.ended(await world.publish(on_channel("nobody")))
    assert told.ends == ["partiallySucceeded", "failed"]
    assert told.devices == ["device-1"]


@in_virtual_time
async def test_a_stop_gives_back_what_was_not_sent_and_the_next_process_goes_on() -> None:
    async with World() as world:
        await world.register(*map(device, range(400)), channel="news")
        publish_id = await world.publish(on_channel())
        await until(lambda: len(world.fcm.sends) >= 100)
        await world.pipeline.close(5.0)
        sent = len(world.fcm.sends)
        assert 100 <= sent < 400
        world.start()
        status = await world.ended(publish_id, within=20.0)
        assert status.counters == Counters(planned=400, dispatched=400, succeeded=400)
        # What was under way has ended: nobody got it twice.
        assert len(world.fcm.sends) == 400


class _Told(PushProbe):
    def __init__(self) -> None:
        self.ends: list[str] = []
        self.devices: list[str] = []
        self.misconfigurations: list[tuple[str, Provider, str]] = []

    def completed(self, status: PublishStatus) -> None:
        self.ends.append(status.state)

    def misconfigured(self, app_id: str, publish_id: str, provider: Provider, error: OutcomeError) -> None:
        self.misconfigurations.append((publish_id, provider, error.kind))

    def invalidated(self, app_id: str, publish_id: str, provider: Provider, device_id: str) -> None:
        self.devices.append(device_id)


def _push(world: World, *providers: Provider) -> Push:
    async def ready(app_id: str) -> Mapping[Provider, Readiness]:
        return {provider: Readiness(True) for provider in providers}

    rules, options = EndpointRules(lambda host: True), push_settings(providers=providers)
    return Push(world.store, world.queue, world.clock, ready, rules, options, wake=world.pipeline.wake)


@in_virtual_time
async def test_a_clock_that_is_put_back_delays_nothing_by_an_hour() -> None:
    """By a clock that was an hour ahead one message was taken, by a process that died then, and one was produced."""
    async with World(PushSettings(repair_interval_secs=0)) as world:
        await world.pipeline.close(0.0)
        await world.register(device(1), channel="news")
        world.clock.behind = -3600.0
        taken = await world.publish(on_channel())
        assert await world.queue.lease("publish_log", 1, world.clock.ms(), world.clock.ms() + 30_000)
        world.start()
        await asyncio.sleep(1)
        world.pipeline.wake = lambda _stage: None  # type: ignore[method-assign]  # produced by another process
        produced = await world.publish(on_channel())
        del world.pipeline.wake
        world.clock.behind = 0.0
        began = world.clock.ms()
        assert (await world.ended(taken, within=60)).state == "succeeded"
        assert (await world.status(produced)).state == "succeeded"
        first, second = world.fcm.times("token-1")
        assert first <= began + 11_000
        assert second <= began + 41_000


@in_virtual_time
async def test_a_provider_that_hangs_for_one_app_closes_the_door_to_no_other() -> None:
    """What it has in hand for minutes is a reason to refuse more of the same, and nothing else."""
    breaker = PushCircuitBreaker(failure_threshold=1000)
    options = PushSettings(repair_interval_secs=0, circuit_breaker=breaker, retry=PushRetry(max_attempts=1))
    async with World(options, providers=("fcm", "apns")) as world:
        await world.register(*map(device, range(640)), channel="news")
        await world.register(device("other", app_id="app-2"), channel="news")
        world.fcm.latency = lambda: 10.0
        push = _push(world, "fcm", "apns")
        only_fcm = _push(world, "fcm")
        await world.publish(on_channel())
        await asyncio.sleep(75)
        assert (await world.queue.depths(world.clock.ms()))["delivery_jobs_fcm"].oldest_inflight_ms > 60_000
        request = PublishRequest(None, [on_channel()], Payload(title="Hello"), [])
        with pytest.raises(SockudoError, match="oldest message of this app"):
            await only_fcm.publish(APP, request)
        # With another provider for those it may reach, and another app at the same provider.
        assert (await push.publish(APP, request)).word == "accepted"
        accepted = await only_fcm.publish("app-2", request)
        status = await world.ended(accepted.status.publish_id, "app-2")
        assert status.state == "succeeded"
