"""Why somebody got no notification: for each documented failure the page has the reason, its row and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from sockudo import errors
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.push.diagnosis.findings import Explanation
from sockudo.push.diagnosis.reasons import explained
from sockudo.push.lifecycle import Step
from sockudo.push.recipients import ApnsRecipient
from sockudo.push.records import OutcomeError, Target
from unit.push.desk import SECRET, PushDesk

DEAD = OutcomeError(kind="invalid_token", failure_class="device_terminal", reason="Unregistered")


@pytest.fixture
def desk() -> PushDesk:
    return PushDesk()


async def asked(desk: PushDesk, who: str, publish_id: str | None = None) -> Explanation:
    found = await explained(desk.push, desk.app_id, who, publish_id)
    assert SECRET not in str(found.as_dict())
    return found


def rows(found: Explanation) -> list[ErrorSpec | None]:
    return [finding.row for finding in found.findings]


def texts(found: Explanation) -> str:
    return " ".join(f"{finding.text} {finding.advice}" for finding in found.findings)


async def test_nobody_has_the_id(desk: PushDesk) -> None:
    found = await asked(desk, "ghost")
    assert errors.DEVICE_NOT_FOUND in rows(found)
    assert errors.PUBLISH_NOT_FOUND in rows(found)
    assert "has not published a notification yet" in texts(found)
    assert (found.of, found.devices, found.delivered) == (None, [], False)


async def test_a_device_that_was_removed_because_its_token_was_dead(desk: PushDesk) -> None:
    await desk.publish("other", count=2)
    await desk.publish("ship", Target(type="channel", channel="news"))
    await desk.outcome("ship", "phone", "rejected", DEAD)
    found = await asked(desk, "phone")
    assert rows(found) == [errors.DEVICE_NOT_FOUND, errors.PROVIDER_TOKEN_INVALID]
    assert [reach.status.publish_id for reach in found.reaches] == ["ship"]
    assert "The device was removed for that." in found.reaches[0].why
    assert "Unregistered" in found.reaches[0].why


@pytest.mark.parametrize(
    ("kind", "step", "row"),
    [
        ("quota", "retry_scheduled", errors.PROVIDER_THROTTLED),
        ("unavailable", "retry_scheduled", errors.PROVIDER_UNAVAILABLE),
        ("auth_failure", "rejected", errors.PROVIDER_AUTH_FAILED),
        ("invalid_payload", "rejected", errors.PUSH_PAYLOAD_TOO_LARGE),
        ("provider_rejected", "rejected", errors.PROVIDER_REJECTED),
    ],
)
async def test_what_the_provider_said(desk: PushDesk, kind: str, step: str, row: ErrorSpec) -> None:
    await desk.device("phone", "news", client_id="u-91")
    await desk.publish("ship")
    await desk.outcome("ship", "phone", step, replace(DEAD, kind=kind))  # type: ignore[arg-type]
    for who in ("phone", "u-91"):
        found = await asked(desk, who)
        assert rows(found) == [row]
        assert found.findings[0].advice == row.remedy
        assert found.findings[0].publish_id == "ship"


async def test_expired_on_the_way(desk: PushDesk) -> None:
    await desk.device("phone", "news")
    await desk.publish("ship")
    await desk.outcome("ship", "phone", "expired")
    assert rows(await asked(desk, "phone")) == [errors.PUSH_EXPIRED]


@pytest.mark.parametrize(
    ("end", "row", "words"),
    [
        ("retry_expired", errors.PUSH_EXPIRED, "it expired before another one. It said: Busy."),
        ("retry_exhausted", errors.PROVIDER_THROTTLED, "it was given up after the retries. It said: Busy."),
    ],
)
async def test_a_retry_that_came_to_nothing(desk: PushDesk, end: Any, row: ErrorSpec, words: str) -> None:
    await desk.device("phone", "news")
    await desk.publish("ship")
    await desk.outcome("ship", "phone", "retry_scheduled", replace(DEAD, kind="quota", reason="Busy"))
    assert "it is tried again" in texts(await asked(desk, "phone"))
    await desk.store.take_steps(desk.app_id, "ship", [Step("end", end, "fcm", "phone")], desk.now, desk.now + 1000)
    found = await asked(desk, "phone")
    assert rows(found) == [row]
    assert words in found.findings[0].text
    assert "it is tried again" not in found.findings[0].text


async def test_a_provider_that_lacks_credentials(desk: PushDesk) -> None:
    await desk.device("phone", "news", recipient=ApnsRecipient(f"{SECRET}-x"))
    await desk.publish("ship")
    found = await asked(desk, "phone")
    assert rows(found) == [errors.CREDENTIAL_MISSING, errors.CREDENTIAL_MISSING]
    assert "APNS_TOPIC is not set" in found.findings[0].text
    assert "apns cannot send now" in found.reaches[0].why


async def test_a_device_on_no_channel_that_nothing_was_meant_for(desk: PushDesk) -> None:
    await desk.device("phone", state="FAILED", failure_count=3)
    await desk.publish("ship")
    texts = " ".join(finding.text for finding in (await asked(desk, "phone")).findings)
    assert "FAILED after 3 failures" in texts
    assert "is on no channel" in texts
    assert "None of the newest 1 publishes was meant for them" in texts


async def test_registered_after_it_was_planned(desk: PushDesk) -> None:
    await desk.publish("ship", count=1)
    await desk.outcome("ship", "tab")
    await desk.device("phone", "news")
    found = await asked(desk, "phone")
    assert rows(found) == [errors.NO_RECIPIENTS]
    assert "not among the recipients when it was planned" in found.reaches[0].why


async def test_a_publish_that_waits_for_its_time(desk: PushDesk) -> None:
    await desk.device("phone", "news")
    await desk.publish("ship", not_before_ms=desk.now + 60_000)
    found = await asked(desk, "phone")
    assert "waits for its time" in found.reaches[0].why
    assert "notBeforeMs" in (found.findings[0].advice or "")
    assert not found.delivered


async def test_a_publish_that_was_cancelled(desk: PushDesk) -> None:
    await desk.device("phone", "news")
    await desk.publish("ship", state="cancelled")
    for who in ("phone", "ship"):
        found = await asked(desk, who)
        assert "cancelled before it was sent" in texts(found)
        assert "under another id" in texts(found)
        assert not found.delivered


async def test_a_publish_over_a_quota(desk: PushDesk) -> None:
    await desk.device("phone", "news")
    await desk.publish("ship", state="quota_exceeded", error_reason="fanout_max exceeded")
    found = await asked(desk, "phone")
    assert rows(found) == [errors.PUSH_QUOTA_EXCEEDED]
    assert "fanout_max exceeded" in found.findings[0].text


async def test_the_provider_took_it(desk: PushDesk) -> None:
    await desk.device("phone", "news")
    await desk.publish("ship")
    await desk.outcome("ship", "phone")
    found = await asked(desk, "phone")
    assert found.reaches[0].reached
    assert (found.of, found.delivered) == ("device", True)
    assert "was taken by the provider" in found.findings[0].text
    assert "Look at the device" in (found.findings[0].advice or "")


async def test_one_of_two_devices_of_a_client(desk: PushDesk) -> None:
    await desk.device("phone", "news", client_id="u-91")
    await desk.device("tab", "news", client_id="u-91")
    await desk.publish("ship", Target(type="client", client_id="u-91"), count=2)
    await desk.outcome("ship", "phone", "rejected", replace(DEAD, kind="auth_failure"))
    await desk.outcome("ship", "tab")
    found = await asked(desk, "u-91")
    assert [device.id for device in found.devices] == ["phone", "tab"]
    assert not found.reaches[0].reached
    assert found.reaches[0].why.startswith("phone: fcm refused it")
    assert (await asked(desk, "tab")).reaches[0].reached


async def test_of_one_publish(desk: PushDesk) -> None:
    await desk.device("phone", "news")
    await desk.publish("ship")
    await desk.outcome("ship", "phone", "rejected", DEAD)
    await desk.publish("elsewhere", Target(type="channel", channel="sport"))
    found = await asked(desk, "phone", "elsewhere")
    assert "was not meant for them. It went to the channel sport." in found.findings[0].text
    assert "Subscribe the device" in (found.findings[0].advice or "")
    assert not found.delivered
    assert rows(await asked(desk, "phone", "ship")) == [errors.PROVIDER_TOKEN_INVALID]
    with pytest.raises(SockudoError) as refused:
        await asked(desk, "phone", "nothing")
    assert refused.value.spec is errors.PUBLISH_NOT_FOUND


async def test_the_newest_failure_of_each_kind_is_enough(desk: PushDesk) -> None:
    await desk.device("phone", "news")
    for number in range(25):
        await desk.publish(f"p-{number}")
        await desk.outcome(f"p-{number}", "phone", "rejected", replace(DEAD, kind="auth_failure"))
    found = await asked(desk, "phone")
    assert (found.looked_at, len(found.reaches), rows(found)) == (20, 20, [errors.PROVIDER_AUTH_FAILED])
    assert found.findings[0].publish_id == "p-24"


async def test_large_publishes_are_not_gone_through_for_long(desk: PushDesk) -> None:
    await desk.device("phone", "news")
    for number in range(5):
        await desk.publish(f"p-{number}")
        await desk.outcome(f"p-{number}")
    events = desk.store.events

    async def slow(*arguments: Any, **options: Any) -> Any:
        desk.clock.advance(0.02)
        return await events(*arguments, **options)

    desk.store.events = slow  # type: ignore[method-assign]
    found = await asked(desk, "phone")
    assert (found.looked_at, found.complete) == (2, False)
    whole = await explained(desk.push, desk.app_id, "phone", seconds=10)
    assert (whole.looked_at, whole.complete) == (5, True)


# ---- asked about a publish itself ----


async def test_a_publish_that_reached_everybody(desk: PushDesk) -> None:
    await desk.device("phone", "news")
    await desk.publish("ship")
    await desk.outcome("ship", "phone", "retry_scheduled", replace(DEAD, kind="quota"))
    await desk.outcome("ship", "phone", attempt=2)
    found = await asked(desk, "ship")
    assert (found.of, found.who, found.delivered, found.devices) == ("publish", "ship", True, [])
    assert {finding.kind for finding in found.findings} == {"info"}
    assert "fcm answered quota once" in texts(found)
    assert "took it for everybody: 1 of 1" in texts(found)
    assert [event.result.outcome for event in found.reaches[0].events] == ["retryable", "accepted"]


async def test_a_publish_that_failed_in_more_than_one_way(desk: PushDesk) -> None:
    for name in ("a", "b", "c", "d"):
        await desk.device(name, "news")
    await desk.publish("ship", count=4)
    await desk.outcome("ship", "a")
    await desk.outcome("ship", "b", "rejected", DEAD)
    await desk.outcome("ship", "c", "rejected", replace(DEAD, kind="auth_failure", failure_class="credential_auth"))
    await desk.outcome("ship", "d", "expired")
    found = await asked(desk, "ship")
    assert rows(found) == [errors.PROVIDER_TOKEN_INVALID, errors.PROVIDER_AUTH_FAILED, errors.PUSH_EXPIRED]
    assert "for example for device b. It said: Unregistered." in found.findings[0].text
    assert "1 of 4 expired" in found.findings[2].text
    assert not found.delivered


async def test_a_publish_to_nobody(desk: PushDesk) -> None:
    await desk.publish("ship", Target(type="client", client_id="u-0"), count=0, missing=["client:u-0"])
    for who in ("ship", "u-0"):
        found = await asked(desk, who)
        assert errors.NO_RECIPIENTS in rows(found)
        assert not found.delivered
    assert rows(await asked(desk, "ship")) == [errors.NO_RECIPIENTS]
    await desk.publish("later", count=0)
    assert rows(await asked(desk, "later")) == [errors.NO_RECIPIENTS]


async def test_a_publish_over_a_quota_or_under_way(desk: PushDesk) -> None:
    await desk.publish("much", state="quota_exceeded", error_reason="fanout_max exceeded")
    assert rows(await asked(desk, "much")) == [errors.PUSH_QUOTA_EXCEEDED]
    await desk.publish("ship", count=2)
    await desk.outcome("ship", "a")
    found = await asked(desk, "ship")
    assert "1 of 2 are settled" in texts(found)
    assert not found.delivered
    await desk.publish("later", not_before_ms=desk.now + 60_000)
    assert "waits for its time" in texts(await asked(desk, "later"))


async def test_a_device_has_precedence_over_a_publish_of_its_name(desk: PushDesk) -> None:
    await desk.device("both", "news")
    await desk.publish("both", Target(type="channel", channel="sport"))
    assert (await asked(desk, "both")).of == "device"
    assert (await asked(desk, "both", "both")).looked_at == 1


async def test_what_nothing_can_be_called(desk: PushDesk) -> None:
    for who in ("", " ", "x" * 300, "a\nb"):
        with pytest.raises(SockudoError) as refused:
            await asked(desk, who)
        assert refused.value.spec is errors.INVALID_INPUT
