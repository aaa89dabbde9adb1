"""What a publish says by itself: times that can be kept, and that each part is checked (spec: push § 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from sockudo import errors
from sockudo.config.sections.push import Push as PushSettings
from sockudo.config.sections.push import PushBackpressure
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Depth, Job
from sockudo.push.admission import (
    Acceptance,
    QueueReadings,
    check_pressure,
    check_ready,
    check_request,
    idempotency_keys,
    regime_of,
)
from sockudo.push.bodies import PublishRequest
from sockudo.push.delivery import Readiness
from sockudo.push.messages import PUSH_QUEUE, STAGES, Stage
from sockudo.push.recipients import ApnsRecipient, FcmRecipient, Provider, RealtimeRecipient, Recipient, WebRecipient
from sockudo.push.records import Device, Override, Regime, Target
from sockudo.testing import FakeClock
from support.push_stores import DAY, NOW, an_intent
from unit.push.nodes import RULES, a_publish, channel, push_settings
from unit.push.pipeline_world import device

BOTH = push_settings()
FCM_ONLY: dict[Provider, Readiness] = {
    "fcm": Readiness(True, "environment"),
    "apns": Readiness(False, None, "set APNS_TOPIC"),
}
NEITHER: dict[Provider, Readiness] = {"apns": Readiness(False, None, "set APNS_TOPIC"), "fcm": Readiness(False)}
RAW_FCM = Target(type="recipient", recipient=FcmRecipient("planted-token"))
RAW_REALTIME = Target(type="recipient", recipient=RealtimeRecipient("room"))
TOPIC = Target(type="providerTopic", provider="apns", topic="t")
CONDITION = Target(type="providerCondition", provider="hms", condition="c")


def refusal(request: PublishRequest) -> tuple[ErrorSpec, str]:
    with pytest.raises(SockudoError) as caught:
        check_request(request, RULES, NOW)
    return caught.value.spec, caught.value.text


@pytest.mark.parametrize(
    "times",
    [
        {},
        {"not_before_ms": NOW + 1},
        # It is sent now.
        {"not_before_ms": NOW - 1},
        {"not_before_ms": 0},
        {"expires_at_ms": NOW + 1},
        {"not_before_ms": NOW + 1, "expires_at_ms": NOW + 2},
    ],
)
def test_times_that_can_be_kept(times: dict[str, int]) -> None:
    check_request(a_publish(**times), RULES, NOW)


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ({"expires_at_ms": NOW}, f"expiresAtMs is in the past: {NOW}, and now is {NOW}"),
        (
            {"expires_at_ms": NOW // 1000 + 60},
            f"expiresAtMs is in the past: {NOW // 1000 + 60}, and now is {NOW}; it looks like seconds",
        ),
        (
            {"expires_at_ms": NOW + 5, "not_before_ms": NOW + 5},
            f"expiresAtMs ({NOW + 5}) must be after notBeforeMs ({NOW + 5})",
        ),
        (
            {"expires_at_ms": NOW + 5, "not_before_ms": NOW + 9},
            f"expiresAtMs ({NOW + 5}) must be after notBeforeMs ({NOW + 9})",
        ),
    ],
)
def test_times_that_cannot(times: dict[str, int], text: str) -> None:
    assert refusal(a_publish(**times)) == (errors.SCHEDULED_PUSH_INVALID, text)


@pytest.mark.parametrize(
    ("request_", "spec", "text"),
    [
        (a_publish(publish_id=" "), errors.INVALID_INPUT, "publishId must not be empty"),
        (a_publish(publish_id="x" * 256), errors.INVALID_INPUT, "publishId exceeds 255 bytes"),
        (a_publish(title="t" * 257), errors.INVALID_INPUT, "title exceeds 256 bytes"),
        (
            a_publish(overrides=[Override(provider="wns", payload={"type": "x"})]),
            errors.INVALID_INPUT,
            "invalid wns override: type must be toast, tile or raw",
        ),
        (
            PublishRequest(None, [], a_publish().payload, []),
            errors.INVALID_INPUT,
            "targets is invalid: must contain at least one target",
        ),
        (
            a_publish(Target(type="recipient", recipient=WebRecipient("http://x.test/secret", "p", "a"))),
            errors.PROVIDER_TOKEN_INVALID,
            "endpoint must be an https URL",
        ),
    ],
)
def test_every_part_is_looked_at(request_: Any, spec: ErrorSpec, text: str) -> None:
    assert refusal(request_) == (spec, text)


def changed(**fields: Any) -> PushSettings:
    return push_settings(**fields)


@pytest.mark.parametrize(("count", "regime"), [(0, "fastPath"), (9_999, "fastPath"), (10_000, "shardPath")])
def test_large_publishes_are_planned_in_shards(count: int, regime: Regime) -> None:
    assert regime_of(count, BOTH) == regime


@pytest.mark.parametrize(
    ("options", "ready", "targets", "regime", "spec", "text"),
    [
        (PushSettings(), {}, [channel()], "fastPath", errors.PUSH_DISABLED, "push providers are disabled"),
        (
            PushSettings(),
            {"realtime": Readiness(True)},
            [channel()],
            "fastPath",
            errors.PUSH_DISABLED,
            "push providers are disabled",
        ),
        (
            changed(dispatch_worker_count=0),
            FCM_ONLY,
            [channel()],
            "fastPath",
            errors.PUSH_DISABLED,
            "no provider delivery worker is active",
        ),
        (
            BOTH,
            NEITHER,
            [channel()],
            "fastPath",
            errors.CREDENTIAL_MISSING,
            "provider credentials are not ready (fcm: POST /apps/ID/push/credentials/fcm; apns: set APNS_TOPIC)",
        ),
        (
            BOTH,
            FCM_ONLY,
            [channel(), TOPIC],
            "fastPath",
            errors.CREDENTIAL_MISSING,
            "provider credentials are not ready (apns: set APNS_TOPIC)",
        ),
        (
            changed(providers=frozenset({"apns"})),
            {"apns": Readiness(True)},
            [RAW_FCM, CONDITION],
            "fastPath",
            errors.CREDENTIAL_MISSING,
            "provider credentials are not ready (fcm: push.fcm_enabled is off; hms: push.hms_enabled is off)",
        ),
        (
            changed(planner_worker_count=0),
            FCM_ONLY,
            [channel()],
            "fastPath",
            errors.PUSH_DISABLED,
            "push.planner_worker_count is 0",
        ),
        (
            changed(feedback_worker_count=0),
            FCM_ONLY,
            [channel()],
            "fastPath",
            errors.PUSH_DISABLED,
            "push.feedback_worker_count is 0",
        ),
        (
            changed(shard_worker_count=0),
            FCM_ONLY,
            [channel()],
            "shardPath",
            errors.PUSH_DISABLED,
            "push.shard_worker_count is 0, and the publish is a large one",
        ),
    ],
)
def test_nobody_could_send_it(
    options: PushSettings,
    ready: dict[Provider, Readiness],
    targets: list[Target],
    regime: Regime,
    spec: ErrorSpec,
    text: str,
) -> None:
    with pytest.raises(SockudoError) as caught:
        check_ready(options, ready, targets, regime)
    assert caught.value.spec is spec
    assert caught.value.spec.status == 503
    assert caught.value.text == f"push admission unavailable: {text}"
    assert "planted" not in caught.value.text


@pytest.mark.parametrize(
    ("options", "targets", "regime"),
    [
        (BOTH, [channel()], "shardPath"),
        (BOTH, [RAW_FCM], "fastPath"),
        (changed(shard_worker_count=0), [channel()], "fastPath"),
        # Nobody else is asked where a target names its provider.
        (PushSettings(), [RAW_REALTIME], "fastPath"),
    ],
)
def test_somebody_could(options: PushSettings, targets: list[Target], regime: Regime) -> None:
    check_ready(options, {**FCM_ONLY, "realtime": Readiness(True)}, targets, regime)


# ---- how often, and how much waits ----


def test_an_app_may_so_often_in_a_second() -> None:
    acceptance = Acceptance()
    assert [acceptance.check("app", 2, 10.0), acceptance.check("app", 2, 10.4)] == [1, 2]
    with pytest.raises(SockudoError) as caught:
        acceptance.check("app", 2, 10.9)
    assert caught.value.spec is errors.PUSH_RATE_LIMITED
    assert caught.value.retry_after == 1
    assert caught.value.text.startswith("push.acceptance_rate_limit exceeded: more than 2 publishes")
    acceptance.check("other", 2, 10.9)
    assert acceptance.check("app", 2, 11.0) == 1


# ---- found again ----


def test_keys_name_the_app_and_the_publish_and_what_it_says() -> None:
    intent = an_intent("ship")
    keys = idempotency_keys(intent, chosen=True)
    assert keys.names[0] == "publish-id:app:ship"
    assert keys.names[1].startswith("intent:app:")
    assert keys.until_ms == NOW + DAY
    later = replace(intent, accepted_at_ms=NOW + 5, trace=(("traceparent", "x"),))
    assert idempotency_keys(later, chosen=True).names == keys.names
    for change in ({"publish_id": "other"}, {"expires_at_ms": NOW + 9}, {"not_before_ms": 1}, {"targets": []}):
        assert idempotency_keys(replace(intent, **change), chosen=True).names[1] != keys.names[1]


def test_an_id_that_was_made_up_is_key_enough() -> None:
    assert idempotency_keys(an_intent("ship"), chosen=False).names == ["publish-id:app:ship"]


def test_keys_last_as_long_as_the_publish_matters() -> None:
    assert idempotency_keys(an_intent(expires_at_ms=NOW + 5), chosen=True).until_ms == NOW + 5
    assert idempotency_keys(an_intent(not_before_ms=NOW + 9 * DAY), chosen=True).until_ms == NOW + 10 * DAY


# ---- admission ----


_OPTIONS = PushSettings(
    backpressure=PushBackpressure(publish_log_max_lag=10, critical_queue_max_lag=20, retry_after_seconds=7)
)
_FCM: Mapping[Provider, Readiness] = {"fcm": Readiness(True), "apns": Readiness(False, None, "set APNS_TOPIC")}
_BOTH: Mapping[Provider, Readiness] = {"fcm": Readiness(True), "apns": Readiness(True)}
_OLD = Depth(ready=1, oldest_ready_ms=60_000)
_HUNG = Depth(inflight=1, oldest_inflight_ms=61_999)


class Counted(MemoryJobQueue):
    """Counts how often it is read, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__(PUSH_QUEUE)
        self.reads = 0
        self.failing = False

    async def depths(self, now_ms: int) -> dict[str, Depth]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.failing:
            raise errors.SERVICE_UNAVAILABLE("gone")
        return await super().depths(now_ms)


async def test_one_reading_for_all_who_ask_within_a_quarter_of_a_second() -> None:
    queue, clock = Counted(), FakeClock()
    readings = QueueReadings(queue, clock)
    answers: list[Mapping[str, Depth]] = await asyncio.gather(*(readings.depths() for _ in range(20)))
    assert queue.reads == 1
    assert all(answer is answers[0] for answer in answers)
    clock.advance(0.24)
    await readings.depths()
    assert queue.reads == 1
    clock.advance(0.02)
    await readings.depths()
    assert queue.reads == 2


async def test_a_failure_is_told_and_not_kept() -> None:
    queue, clock = Counted(), FakeClock()
    readings = QueueReadings(queue, clock)
    queue.failing = True
    with pytest.raises(SockudoError):
        await readings.depths()
    queue.failing = False
    assert (await readings.depths())["publish_log"] == Depth()


class _Readings(QueueReadings):
    """What is said by hand: of each stage whose its messages are. ``asked`` are the stages that were looked into."""

    def __init__(self, given: Mapping[Stage, Mapping[str, Depth]]) -> None:
        super().__init__(MemoryJobQueue(PUSH_QUEUE), FakeClock())
        self.given = given
        self.asked: list[Stage] = []

    async def depths(self) -> Mapping[str, Depth]:
        return {stage: _together(shares.values()) for stage, shares in self.given.items()}

    async def shares(self, stage: Stage) -> Mapping[str, Depth]:
        self.asked.append(stage)
        return self.given[stage]


def _together(shares: object) -> Depth:
    columns = list(zip(*shares, strict=True))  # type: ignore[call-overload]
    return Depth(*(sum(column) for column in columns[:3]), *(max(column) for column in columns[3:]))


async def _check(
    given: Mapping[Stage, Mapping[str, Depth]],
    app_id: str = "app",
    *targets: Target,
    devices: Sequence[Device] = (),
    ready: Mapping[Provider, Readiness] = _BOTH,
    options: PushSettings = _OPTIONS,
) -> None:
    await check_pressure(options, _Readings(given), app_id, targets or (channel(),), devices, ready)


async def _refused(
    given: Mapping[Stage, Mapping[str, Depth]],
    app_id: str = "app",
    *targets: Target,
    devices: Sequence[Device] = (),
    ready: Mapping[Provider, Readiness] = _BOTH,
) -> str:
    with pytest.raises(SockudoError) as caught:
        await _check(given, app_id, *targets, devices=devices, ready=ready)
    assert caught.value.spec is errors.PUSH_BACKPRESSURE
    assert caught.value.retry_after == 7
    return caught.value.text


def _raw(recipient: Recipient) -> Target:
    return Target(type="recipient", recipient=recipient)


@pytest.mark.parametrize(
    ("stage", "depth", "text"),
    [
        ("publish_log", Depth(ready=6, delayed=4), "10 messages wait"),
        ("shard_jobs", Depth(ready=20), "20 messages wait"),
        ("delivery_results", Depth(delayed=20), "20 messages wait"),
        ("dead_letters", Depth(ready=20), "20 messages wait"),
        ("shard_jobs", _OLD, "the oldest message is 60 s old"),
        ("publish_log", _HUNG, "the oldest message is 61 s old"),
    ],
)
async def test_what_all_go_through_counts_for_everybody(stage: Stage, depth: Depth, text: str) -> None:
    for app_id in ("app", "other"):
        assert await _refused({stage: {"app": depth}}, app_id) == f"push {stage} lag exceeded: {text}"


@pytest.mark.parametrize(
    ("stage", "depth", "text"),
    [
        ("retry_schedule", Depth(ready=21), "21 messages of this app wait"),
        ("retry_schedule", _OLD, "the oldest message of this app is 60 s old"),
        ("delivery_jobs_fcm", Depth(ready=15, delayed=5), "20 messages of this app wait"),
        ("delivery_jobs_fcm", _OLD, "the oldest message of this app is 60 s old"),
        ("delivery_jobs_fcm", _HUNG, "the oldest message of this app is 61 s old"),
    ],
)
async def test_what_waits_for_a_provider_counts_for_its_app(stage: Stage, depth: Depth, text: str) -> None:
    """However slow a provider is for one app: others are not refused for that."""
    given = {stage: {"app": depth, "third": Depth(ready=1)}}
    await _check(given, "other", ready=_FCM)
    await _check(given, "third", ready=_FCM)
    if "messages" in text:
        given = {stage: {"app": depth}}
    assert await _refused(given, ready=_FCM) == f"push {stage} lag exceeded: {text}"


async def test_a_slow_provider_is_no_reason_to_refuse_what_may_go_to_another() -> None:
    given: dict[Stage, Mapping[str, Depth]] = {"delivery_jobs_fcm": {"app": _OLD}}
    await _check(given)
    await _check(given, "app", _raw(ApnsRecipient("ab" * 32)))
    apple = device("apple", recipient=ApnsRecipient("ab" * 32))
    await _check(given, "app", Target(type="device", device_id="device-apple"), devices=[apple])
    # What leads nowhere else is refused.
    assert "delivery_jobs_fcm" in await _refused(given, "app", _raw(FcmRecipient("t")))
    one = Target(type="device", device_id="device-1")
    assert "delivery_jobs_fcm" in await _refused(given, "app", one, devices=[device(1)])
    assert "delivery_jobs_fcm" in await _refused(given, ready=_FCM)
    given["delivery_jobs_apns"] = {"app": _HUNG}
    assert "delivery_jobs_fcm" in await _refused(given)
    # Late in one provider's stage for this app, and in the other's for another one.
    given["delivery_jobs_apns"] = {"other": _HUNG}
    await _check(given)


async def test_a_full_stage_is_closed_to_those_with_more_than_an_equal_part() -> None:
    given: dict[Stage, Mapping[str, Depth]] = {
        "delivery_jobs_fcm": {"flood": Depth(ready=15, delayed=3), "small": Depth(ready=6), "big": Depth(delayed=7)}
    }
    assert await _refused(given, "flood") == "push delivery_jobs_fcm lag exceeded: 18 messages of this app wait"
    assert "7 messages" in await _refused(given, "big")
    await _check(given, "small")
    await _check(given, "new")
    await _check(given, "flood", _raw(ApnsRecipient("ab" * 32)))


async def test_a_stage_that_is_not_full_is_open_to_the_largest() -> None:
    await _check({"delivery_jobs_fcm": {"app": Depth(ready=19, inflight=100)}})


@pytest.mark.parametrize(
    ("stage", "depth"),
    [
        # Of a provider that cannot send for the app nothing is asked.
        ("delivery_jobs_apns", Depth(ready=1000, oldest_ready_ms=10**9)),
        # Nobody takes dead letters away: only their number counts.
        ("dead_letters", Depth(ready=19, oldest_ready_ms=10**9)),
        ("publish_log", Depth(ready=9, inflight=1000, oldest_ready_ms=59_999)),
        ("retry_schedule", Depth(delayed=19, oldest_delayed_ms=10**9)),
    ],
)
async def test_what_waits_is_not_too_much(stage: Stage, depth: Depth) -> None:
    await _check({stage: {"app": depth}}, ready=_FCM)


async def test_no_threshold_of_age_and_none_at_all() -> None:
    old = {stage: {"app": Depth(ready=1, oldest_ready_ms=10**9)} for stage in STAGES}
    await _check(old, options=PushSettings(backpressure_lag_threshold_secs=0))
    with pytest.raises(SockudoError, match="PUSH_BACKPRESSURE"):
        await _check({}, options=PushSettings(backpressure=PushBackpressure(always=True)))


async def test_whose_messages_they_are_is_asked_only_when_it_matters() -> None:
    readings = _Readings({"delivery_jobs_fcm": {"app": Depth(ready=19)}, "delivery_jobs_apns": {"other": _OLD}})
    await check_pressure(_OPTIONS, readings, "app", [channel()], [], _FCM)
    assert readings.asked == []
    await check_pressure(_OPTIONS, readings, "app", [channel()], [], _BOTH)
    assert readings.asked == ["delivery_jobs_apns"]


async def test_shares_are_read_once_a_second() -> None:
    queue, clock = MemoryJobQueue(PUSH_QUEUE), FakeClock()
    readings = QueueReadings(queue, clock)
    await queue.put([Job("retry_schedule", "one", "app", b"")], 0)
    first = await readings.shares("retry_schedule")
    assert first["app"].ready == 1
    await queue.put([Job("retry_schedule", "two", "app", b"")], 0)
    clock.advance(0.9)
    assert await readings.shares("retry_schedule") is first
    assert await readings.shares("delivery_jobs_fcm") == {}
    clock.advance(0.2)
    assert (await readings.shares("retry_schedule"))["app"].ready == 2


async def test_a_queue_that_fails_on_the_second_question() -> None:
    class Failing(_Readings):
        async def shares(self, stage: Stage) -> Mapping[str, Depth]:
            raise errors.SERVICE_UNAVAILABLE("connection to queue.internal refused")

    with pytest.raises(SockudoError) as caught:
        await check_pressure(_OPTIONS, Failing({"retry_schedule": {"app": _OLD}}), "app", [channel()], [], _FCM)
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert "internal" not in caught.value.text
