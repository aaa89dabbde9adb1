"""Before a publish is kept: who could send it, how often, and by what it is found again (spec: push § 5)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from sockudo import errors
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.push.admission import (
    Acceptance,
    AdmissionOptions,
    check_ready,
    idempotency_keys,
    regime_of,
)
from sockudo.push.delivery import Readiness
from sockudo.push.recipients import FcmRecipient, Provider, RealtimeRecipient
from sockudo.push.records import Regime, Target
from support.push_service import channel
from support.push_stores import DAY, NOW, an_intent

BOTH = AdmissionOptions(providers=frozenset({"fcm", "apns"}))
FCM_ONLY: dict[Provider, Readiness] = {
    "fcm": Readiness(True, "environment"),
    "apns": Readiness(False, None, "set APNS_TOPIC"),
}
NEITHER: dict[Provider, Readiness] = {"apns": Readiness(False, None, "set APNS_TOPIC"), "fcm": Readiness(False)}
RAW_FCM = Target(type="recipient", recipient=FcmRecipient("planted-token"))
RAW_REALTIME = Target(type="recipient", recipient=RealtimeRecipient("room"))
TOPIC = Target(type="providerTopic", provider="apns", topic="t")
CONDITION = Target(type="providerCondition", provider="hms", condition="c")


def changed(**fields: Any) -> AdmissionOptions:
    return AdmissionOptions(**{"providers": BOTH.providers, **fields})


@pytest.mark.parametrize(("count", "regime"), [(0, "fastPath"), (9_999, "fastPath"), (10_000, "shardPath")])
def test_large_publishes_are_planned_in_shards(count: int, regime: Regime) -> None:
    assert regime_of(count, BOTH) == regime


@pytest.mark.parametrize(
    ("options", "ready", "targets", "regime", "spec", "text"),
    [
        (AdmissionOptions(), {}, [channel()], "fastPath", errors.PUSH_DISABLED, "push providers are disabled"),
        (
            AdmissionOptions(),
            {"realtime": Readiness(True)},
            [channel()],
            "fastPath",
            errors.PUSH_DISABLED,
            "push providers are disabled",
        ),
        (
            changed(dispatch_workers=0),
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
        (changed(refusal="for a reason"), FCM_ONLY, [channel()], "fastPath", errors.PUSH_DISABLED, "for a reason"),
        (
            changed(planner_workers=0),
            FCM_ONLY,
            [channel()],
            "fastPath",
            errors.PUSH_DISABLED,
            "push.planner_worker_count is 0",
        ),
        (
            changed(feedback_workers=0),
            FCM_ONLY,
            [channel()],
            "fastPath",
            errors.PUSH_DISABLED,
            "push.feedback_worker_count is 0",
        ),
        (
            changed(shard_workers=0),
            FCM_ONLY,
            [channel()],
            "shardPath",
            errors.PUSH_DISABLED,
            "push.shard_worker_count is 0, and the publish is a large one",
        ),
    ],
)
def test_nobody_could_send_it(
    options: AdmissionOptions,
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
        (changed(shard_workers=0), [channel()], "fastPath"),
        # Nobody else is asked where a target names its provider.
        (AdmissionOptions(), [RAW_REALTIME], "fastPath"),
    ],
)
def test_somebody_could(options: AdmissionOptions, targets: list[Target], regime: Regime) -> None:
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
