"""Spans of batches: whose part they are and what they tell."""

from __future__ import annotations

from sockudo.config.sections.push import Push as PushSettings
from sockudo.config.sections.push import PushRetry
from sockudo.push.delivery import Sent
from sockudo.push.recipients import FcmRecipient
from sockudo.push.records import Target
from support.traces import RecordingTracer, traceparent
from support.virtual_time import in_virtual_time
from support.waiting import until
from unit.push.pipeline_world import APP, World, device, failure, on_channel

_TRACE = "0af7651916cd43dd8448eb211c80319c"
_CAUSE = (("traceparent", traceparent(_TRACE)),)
_SPAN = "send push batch"


def _traced(world: World) -> RecordingTracer:
    tracer = RecordingTracer()
    world.works.tracer = tracer
    return tracer


@in_virtual_time
async def test_a_batch_is_a_part_of_what_published_it() -> None:
    async with World() as world:
        tracer = _traced(world)
        await world.register(*map(device, range(3)), channel="news")
        await world.ended(await world.publish(on_channel(), publish_id="p-1", trace=_CAUSE))
        span = tracer.only(_SPAN)
        assert (span.kind, span.trace, span.parent) == ("client", _TRACE, "b7ad6b7169203331")
        assert span.attributes == {
            "messaging.system": "sockudo",
            "messaging.destination.name": "push.fcm",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.message.id": "p-1",
            "messaging.batch.message_count": 3,
            "sockudo.app_id": APP,
            "sockudo.push.provider": "fcm",
            "sockudo.push.batch_id": "fast-batch-fcm-1",
            "sockudo.push.attempt": 1,
            "sockudo.push.accepted": 3,
        }
        assert (span.error, span.failed) == (None, False)


@in_virtual_time
async def test_each_attempt_has_a_span_in_the_same_trace() -> None:
    async with World(PushSettings(retry=PushRetry(jitter_ratio_percent=0))) as world:
        tracer = _traced(world)
        await world.register(device(1), channel="news")
        world.fcm.scripts["token-1"] = [failure("unavailable")]
        await world.ended(await world.publish(on_channel(), trace=_CAUSE))
        first, second = tracer.named(_SPAN)
        assert first.trace == second.trace == _TRACE
        assert [each.attributes["sockudo.push.attempt"] for each in (first, second)] == [1, 2]
        assert (first.error, first.failed, first.attributes["sockudo.push.retryable"]) == ("unavailable", True, 1)
        assert (second.error, second.attributes["sockudo.push.accepted"]) == (None, 1)


@in_virtual_time
async def test_one_that_reached_somebody_has_not_failed() -> None:
    async with World() as world:
        tracer = _traced(world)
        await world.register(*map(device, range(3)), channel="news")
        world.fcm.scripts["token-0"] = [failure("invalid_token")]
        await world.ended(await world.publish(on_channel()))
        span = tracer.only(_SPAN)
        assert (span.error, span.failed) == ("invalid_token", False)
        assert (span.attributes["sockudo.push.accepted"], span.attributes["sockudo.push.rejected"]) == (2, 1)


@in_virtual_time
async def test_what_was_broken_off_says_so_and_how_much_is_left() -> None:
    async with World() as world:
        tracer = _traced(world)
        await world.register(device(1), channel="news")
        world.fcm.latency = lambda: 60.0
        await world.publish(on_channel())
        await until(lambda: world.fcm.sends)
        await world.pipeline.close(0.0)
        span = tracer.only(_SPAN)
        assert (span.error, span.failed, span.attributes["sockudo.push.deferred"]) == ("cancelled", True, 1)


@in_virtual_time
async def test_no_token_is_in_a_span() -> None:
    async with World() as world:
        tracer = _traced(world)
        world.fcm.otherwise = lambda token: Sent("accepted", f"about-{token}")
        await world.ended(await world.publish(Target(type="recipient", recipient=FcmRecipient("secret-token"))))
        assert "secret-token" not in str(tracer.only(_SPAN))
