"""What a provider refuses of the server's own settings reaches the log and the inspector, once a minute."""

from __future__ import annotations

import structlog

from sockudo.inspector import Inspector
from sockudo.push.provider_refusals import ProviderRefusals
from sockudo.push.records import OutcomeError
from sockudo.testing import FakeClock

TOPIC = OutcomeError(
    kind="apns_topic_mismatch",
    failure_class="credential_auth",
    reason="DeviceTokenNotForTopic, sent with apns-topic com.example.app",
)


def test_it_is_told_once_a_minute_for_each_kind() -> None:
    clock = FakeClock(time=1_000_000.0)
    inspector = Inspector(clock.time)
    refusals = ProviderRefusals(inspector, clock.monotonic)
    with structlog.testing.capture_logs() as lines:
        for number in range(100):
            refusals.note("shop", f"p{number}", "apns", TOPIC)
        clock.advance(60)
        refusals.note("shop", "later", "apns", TOPIC)
        refusals.note("shop", "p", "webPush", OutcomeError(kind="auth_failure", failure_class="credential_auth"))
    assert [(line["log_level"], line["publish_id"]) for line in lines] == [
        ("warning", "p0"),
        ("warning", "later"),
        ("warning", "p"),
    ]
    assert "APNS_TOPIC" in lines[0]["advice"]
    assert "com.example.app" in lines[0]["reason"]
    vapid, topic = inspector.problems.groups("shop")
    assert (topic.kind, topic.error, topic.count) == ("push_refused", "provider_topic_mismatch", 2)
    assert "DeviceTokenNotForTopic, sent with apns-topic com.example.app" in (topic.last[0].text or "")
    assert vapid.error == "provider_vapid_refused"


def test_what_is_remembered_is_bounded() -> None:
    refusals = ProviderRefusals(Inspector(lambda: 0.0), lambda: 0.0)
    with structlog.testing.capture_logs():
        for number in range(3000):
            refusals.note(f"app-{number}", "p", "apns", TOPIC)
    assert len(refusals._quiet) <= 1000
