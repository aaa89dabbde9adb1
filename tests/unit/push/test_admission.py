"""What a publish says by itself: times that can be kept, and that each part is checked (spec: push § 3)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from sockudo import errors
from sockudo.config.sections.push import Push as PushSettings
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.push.admission import (
    Acceptance,
    check_ready,
    check_request,
    idempotency_keys,
    regime_of,
)
from sockudo.push.bodies import PublishRequest
from sockudo.push.delivery import Readiness
from sockudo.push.recipients import FcmRecipient, Provider, RealtimeRecipient, WebRecipient
from sockudo.push.records import Override, Regime, Target
from support.push_stores import DAY, NOW, an_intent
from unit.push.nodes import RULES, a_publish, channel, push_settings

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
