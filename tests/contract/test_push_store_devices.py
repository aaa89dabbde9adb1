"""What every push store promises about devices, subscriptions, credentials and templates; memory is the definition."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from sockudo.push.ports import PushStore, StateChange, Touch
from sockudo.push.recipients import (
    ApnsRecipient,
    FcmRecipient,
    HmsRecipient,
    RealtimeRecipient,
    Recipient,
    WebRecipient,
    WnsRecipient,
    token_hash,
)
from sockudo.push.records import Credential, Device, Localized, Override, RatePolicy, Template
from support.push_stores import DAY, NOW, a_device, a_subscription

# With the store, which is open for the whole run.
pytestmark = pytest.mark.asyncio(loop_scope="session")

RECIPIENTS: list[Recipient] = [
    FcmRecipient("token"),
    ApnsRecipient("token"),
    WebRecipient("https://push.test/?a=1", "key", "secret"),
    HmsRecipient("token"),
    WnsRecipient("https://wns.test/c"),
    RealtimeRecipient("room"),
]

FULL = a_device(
    client_id="u-91",
    metadata={"build": 12, "tags": ["a", None], "unicode": "λ\0"},
    last_active_at_ms=NOW,
    state="FAILING",
    failure_count=2,
    error_reason="[REDACTED:0123456789ab]",
    rate_policy=RatePolicy(capacity=5, refill_per_second=0.5),
    secret_hash="pbkdf2-sha256$120000$c2FsdA$ZGlnZXN0",
)


async def channels_of(store: PushStore, device_id: str) -> list[str]:
    return [each.channel for each in await store.subscriptions("app", device_id=device_id, after="", limit=100)]


async def device_ids(store: PushStore, app_id: str = "app") -> list[str]:
    return [device.id for device in await store.devices(app_id, "", 100)]


# ---- devices ----


@pytest.mark.parametrize("recipient", RECIPIENTS, ids=lambda each: each.provider)
async def test_a_device_comes_back_as_it_was_put(push_store: PushStore, recipient: Recipient) -> None:
    device = replace(FULL, recipient=recipient)
    assert await push_store.put_device(device) == "inserted"
    assert await push_store.device("app", "phone") == device
    assert await push_store.device("other", "phone") is None
    assert await push_store.device("app", "Phone") is None


@pytest.mark.parametrize("metadata", [None, 0, "text", [], {"_v": 2, "data": {}}])
async def test_metadata_is_any_json(push_store: PushStore, metadata: Any) -> None:
    await push_store.put_device(replace(FULL, metadata=metadata))
    found = await push_store.device("app", "phone")
    assert found is not None
    assert found.metadata == metadata


async def test_putting_says_what_changed(push_store: PushStore) -> None:
    changes = [await push_store.put_device(device) for device in (FULL, FULL, replace(FULL, locale="en"), FULL)]
    assert changes == ["inserted", "unchanged", "updated", "updated"]


@pytest.mark.parametrize("field", ["client_id", "metadata", "rate_policy", "secret_hash", "error_reason"])
async def test_what_is_not_there_any_more_is_gone(push_store: PushStore, field: str) -> None:
    await push_store.put_device(FULL)
    device = replace(FULL, **{field: None})
    assert await push_store.put_device(device) == "updated"
    assert await push_store.device("app", "phone") == device


async def test_a_secret_can_be_kept_whatever_it_has_become(push_store: PushStore) -> None:
    """An update that has read the old hash must not bring it back after a rotation."""
    await push_store.put_device(replace(FULL, secret_hash="new"))
    late = replace(FULL, locale="en", secret_hash="old")
    assert await push_store.put_device(late, keep_secret=True) == "updated"
    found = await push_store.device("app", "phone")
    assert found is not None
    assert (found.locale, found.secret_hash) == ("en", "new")
    assert await push_store.put_device(late, keep_secret=True) == "unchanged"
    assert await push_store.put_device(replace(late, id="tablet"), keep_secret=True) == "inserted"
    assert (await push_store.devices_by_id("app", ["tablet"]))[0].secret_hash == "old"


async def test_devices_of_an_app_and_of_a_client_are_sorted_by_id(push_store: PushStore) -> None:
    ids = ["b", "a", "ab", "B", "a ", "é", "z", "a\x01"]
    for number, device_id in enumerate(ids):
        await push_store.put_device(a_device(device_id, client_id=f"u{number % 2}"))
    await push_store.put_device(a_device("a", app_id="other", client_id="u0"))
    ordered = sorted(ids)
    assert await device_ids(push_store) == ordered
    of_client = [device.id for device in await push_store.devices_of("app", "u0", "", 100)]
    assert of_client == [each for each in ordered if ids.index(each) % 2 == 0]
    assert [device.id for device in await push_store.devices("app", "a\x01", 2)] == ordered[
        ordered.index("a\x01") + 1 :
    ][:2]
    assert await push_store.devices("app", "é", 10) == []
    assert await push_store.count_devices_of("app", "u1") == 4
    assert await push_store.count_devices_of("app", "u2") == 0


async def test_a_device_that_changes_hands_belongs_to_its_new_client(push_store: PushStore) -> None:
    await push_store.put_device(a_device(client_id="u1"))
    await push_store.put_device(a_device(client_id="u2"))
    assert await push_store.devices_of("app", "u1", "", 10) == []
    assert len(await push_store.devices_of("app", "u2", "", 10)) == 1
    await push_store.put_device(a_device(client_id=None))
    assert await push_store.count_devices_of("app", "u2") == 0


async def test_many_devices_are_read_at_once(push_store: PushStore) -> None:
    ids = [f"d{number:04d}" for number in range(1500)]
    await asyncio.gather(*(push_store.put_device(a_device(device_id)) for device_id in ids))
    found = await push_store.devices_by_id("app", [*ids, "unknown", ids[0]])
    assert sorted(device.id for device in found) == ids
    assert await push_store.devices_by_id("app", []) == []
    assert await push_store.devices_by_id("other", ids[:3]) == []


async def test_stale_devices_were_active_on_a_day_before(push_store: PushStore) -> None:
    for number, at in enumerate([NOW, NOW - 1, NOW - DAY, NOW - 5 * DAY, NOW + 1]):
        await push_store.put_device(a_device(f"d{number}", last_active_at_ms=at, app_id=f"app{number % 2}"))
    stale = await push_store.stale_devices(NOW + DAY - 1, 10)
    assert [device.id for device in stale] == ["d3", "d2", "d1"]
    assert [device.id for device in await push_store.stale_devices(NOW - 1, 1)] == ["d3"]


async def test_deleting_a_device_deletes_its_subscriptions(push_store: PushStore) -> None:
    for device_id in ("phone", "tablet"):
        await push_store.put_device(a_device(device_id))
        for channel in ("news", "sport"):
            await push_store.put_subscription(a_subscription(channel, device_id))
    await push_store.put_device(a_device(app_id="other"))
    await push_store.put_subscription(a_subscription("news", "phone", "other"))
    assert await push_store.delete_device("app", "phone") is True
    assert await push_store.delete_device("app", "phone") is False
    assert await device_ids(push_store) == ["tablet"]
    assert await channels_of(push_store, "phone") == []
    assert await channels_of(push_store, "tablet") == ["news", "sport"]
    assert await push_store.count_subscriptions("other", "news") == 1


async def test_a_device_with_another_token_survives(push_store: PushStore) -> None:
    """D8: what a provider says is about the token that was sent to."""
    await push_store.put_device(a_device(token="new"))
    await push_store.put_subscription(a_subscription())
    assert await push_store.delete_device("app", "phone", token_hash=token_hash("old")) is False
    assert await channels_of(push_store, "phone") == ["news"]
    assert await push_store.delete_device("app", "phone", token_hash=token_hash("new")) is True
    assert await channels_of(push_store, "phone") == []


async def test_all_devices_of_a_client_are_deleted(push_store: PushStore) -> None:
    for number in range(5):
        await push_store.put_device(a_device(f"d{number}", client_id="u1" if number < 3 else "u2"))
        await push_store.put_subscription(a_subscription("news", f"d{number}"))
    assert await push_store.delete_devices_of("app", "u1") == 3
    assert await push_store.delete_devices_of("app", "u1") == 0
    assert await device_ids(push_store) == ["d3", "d4"]
    assert await push_store.count_subscriptions("app", "news") == 2


async def test_touches_follow_the_rule_of_states(push_store: PushStore) -> None:
    device = a_device()
    await push_store.put_device(device)

    async def touch(succeeded: bool, at: int = NOW) -> list[StateChange]:
        return await push_store.touch_devices("app", [Touch("phone", device.token_hash, at, succeeded)])

    assert await touch(False) == [StateChange("phone", "ACTIVE", "FAILING")]
    assert await touch(True) == [StateChange("phone", "FAILING", "ACTIVE")]
    assert await touch(False) == [StateChange("phone", "ACTIVE", "FAILING")]
    assert await touch(False) == []
    assert await touch(False) == [StateChange("phone", "FAILING", "FAILED")]
    assert await touch(True, NOW + 7) == []
    assert await touch(False) == []
    found = await push_store.device("app", "phone")
    assert found == replace(device, state="FAILED", failure_count=3, last_active_at_ms=NOW + 7)
    await push_store.put_device(device)
    assert await push_store.device("app", "phone") == device


async def test_touches_of_many_devices_are_one_step(push_store: PushStore) -> None:
    devices = [a_device(f"d{number:03d}") for number in range(60)]
    await asyncio.gather(*(push_store.put_device(device) for device in devices))
    touches = [Touch(each.id, each.token_hash, NOW + number, number % 2 == 0) for number, each in enumerate(devices)]
    touches += [Touch("unknown", "h", NOW, True), Touch("d000", token_hash("old"), NOW + 99, False)]
    touches += [Touch("d001", devices[1].token_hash, NOW, False)] * 2
    changes = await push_store.touch_devices("app", touches)
    assert changes[:30] == [StateChange(f"d{number:03d}", "ACTIVE", "FAILING") for number in range(1, 60, 2)]
    assert changes[30:] == [StateChange("d001", "FAILING", "FAILED")]
    found = await push_store.devices("app", "", 100)
    active = [device.last_active_at_ms for device in found if device.state == "ACTIVE"]
    assert active == [NOW + number for number in range(0, 60, 2)]
    assert await push_store.touch_devices("app", []) == []


# ---- subscriptions ----


async def test_a_subscription_is_replaced_by_its_channel_and_device(push_store: PushStore) -> None:
    await push_store.put_subscription(a_subscription())
    changed = a_subscription(client_id="u", provider="apns", token_hash="other", credential_version=3)
    await push_store.put_subscription(changed)
    assert await push_store.subscriptions("app", channel="news", after="", limit=10) == [changed]
    assert await push_store.subscriptions("app", after="", limit=10) == [changed]


async def test_both_a_channel_and_a_device_are_that_pair(push_store: PushStore) -> None:
    """D3: a caller who may see one device must not see, or delete, those of others."""
    for channel in ("news", "sport"):
        for device_id in ("a", "b"):
            await push_store.put_subscription(a_subscription(channel, device_id))
    both = await push_store.subscriptions("app", channel="news", device_id="a", after="", limit=10)
    assert both == [a_subscription("news", "a")]
    assert await push_store.subscriptions("app", channel="news", device_id="a", after="a", limit=10) == []
    assert await push_store.subscriptions("app", channel="news", device_id="c", after="", limit=10) == []
    assert await push_store.delete_subscriptions("app", channel="news", device_id="a") == 1
    assert await push_store.delete_subscriptions("app", channel="news", device_id="a") == 0
    assert await channels_of(push_store, "a") == ["sport"]
    assert await channels_of(push_store, "b") == ["news", "sport"]


async def test_subscriptions_of_a_channel_or_of_a_device_are_deleted(push_store: PushStore) -> None:
    for channel in ("news", "sport", "weather"):
        for device_id in ("a", "b"):
            await push_store.put_subscription(a_subscription(channel, device_id))
    assert await push_store.delete_subscriptions("app") == 0
    assert await push_store.delete_subscriptions("app", channel="news") == 2
    assert await push_store.delete_subscriptions("app", device_id="a") == 2
    assert await push_store.delete_subscriptions("other", device_id="b") == 0
    assert await channels_of(push_store, "b") == ["sport", "weather"]
    assert await push_store.subscribed_channels("app", "", 10) == ["sport", "weather"]


async def test_channels_are_listed_once_each(push_store: PushStore) -> None:
    names = [f"room-{number}" for number in range(620)]
    work = [push_store.put_subscription(a_subscription(name, f"d{each}")) for name in names for each in range(2)]
    await asyncio.gather(*work)
    await push_store.put_subscription(a_subscription("elsewhere", app_id="other"))
    assert await push_store.subscribed_channels("app", "", 1001) == sorted(names)
    assert await push_store.subscribed_channels("app", "room-98", 3) == ["room-99"]
    assert await push_store.subscribed_channels("app", "room-1", 2) == ["room-10", "room-100"]
    assert await push_store.subscribed_channels("nobody", "", 10) == []
    assert await push_store.count_subscriptions("app", "room-1") == 2


# ---- credentials and templates ----


def a_credential(credential_id: str = "fcm", app_id: str = "app", at: int = NOW, **fields: Any) -> Credential:
    values: dict[str, Any] = {"provider": "fcm", "material": {"serviceAccountJson": "envelope:v1:x"}, **fields}
    return Credential(app_id=app_id, credential_id=credential_id, updated_at_ms=at, **values)


async def test_credentials_are_replaced_by_their_id(push_store: PushStore) -> None:
    await push_store.put_credential(a_credential())
    changed = a_credential(version=2, provider="apns", material={"pem": "envelope:v1:y", "teamId": "T"})
    await push_store.put_credential(changed)
    await push_store.put_credential(a_credential("other"))
    assert await push_store.credential("app", "fcm") == changed
    assert await push_store.credential("app", "wns") is None
    assert await push_store.credentials("app", "", 10) == [changed, a_credential("other")]
    assert await push_store.credentials("app", "fcm", 10) == [a_credential("other")]


async def test_credentials_of_a_provider_come_newest_first(push_store: PushStore) -> None:
    old, new, other = a_credential("a"), a_credential("b", "app2", NOW + 5), a_credential("c", provider="hms")
    for credential in (new, old, other):
        await push_store.put_credential(credential)
    assert await push_store.credentials_for("fcm") == [new, old]
    await push_store.put_credential(replace(old, updated_at_ms=NOW + 9))
    assert [each.credential_id for each in await push_store.credentials_for("fcm")] == ["a", "b"]
    assert await push_store.credentials_for("wns") == []


async def test_templates(push_store: PushStore) -> None:
    template = Template(
        app_id="app",
        template_id="shipped",
        default_locale="de",
        locales={"de": Localized(title="Da {{ data.x }}", body="Ä"), "ja": Localized(title="t", body="b", icon="i")},
        provider_overrides={"apns": Override(provider="apns", payload={"aps": {"alert": "x"}})},
    )
    await push_store.put_template(replace(template, default_locale="ja"))
    await push_store.put_template(template)
    await push_store.put_template(replace(template, template_id="a"))
    assert await push_store.template("app", "shipped") == template
    assert [each.template_id for each in await push_store.templates("app", "", 10)] == ["a", "shipped"]
    assert await push_store.templates("app", "a", 10) == [template]
    assert await push_store.delete_template("app", "shipped") is True
    assert await push_store.delete_template("app", "shipped") is False
    assert await push_store.template("app", "shipped") is None


async def test_concurrent_puts_of_a_device_leave_one_of_them(push_store: PushStore) -> None:
    devices: list[Device] = [a_device(locale=f"l{number}") for number in range(20)]
    changes = await asyncio.gather(*(push_store.put_device(device) for device in devices))
    assert sorted(changes) == ["inserted"] + ["updated"] * 19
    assert await push_store.device("app", "phone") in devices
