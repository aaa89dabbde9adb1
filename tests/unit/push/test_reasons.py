"""Why somebody got no notification: for each documented failure the page has the reason, its row and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from sockudo import errors
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.push.reasons import Explanation, explained
from sockudo.push.recipients import ApnsRecipient
from sockudo.push.records import OutcomeError, Target
from support.push_desk import SECRET, PushDesk

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


async def test_nobody_has_the_id(desk: PushDesk) -> None:
    found = await asked(desk, "ghost")
    assert errors.DEVICE_NOT_FOUND in rows(found)
    assert found.devices == []


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
    assert "waits for its time" in (await asked(desk, "phone")).reaches[0].why


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
    assert "was not meant for them" in (await asked(desk, "phone", "elsewhere")).findings[0].text
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
