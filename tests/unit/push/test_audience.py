"""Whom a publish reaches now, in numbers and by provider (spec: push § 5, steps 2 and 11)."""

from __future__ import annotations

import pytest

from sockudo.push.audience import audience, named_providers, providers_of
from sockudo.push.recipients import ApnsRecipient, FcmRecipient
from sockudo.push.records import Target
from sockudo.push.stores import MemoryPushStore
from support.push_service import channel, device
from support.push_stores import a_device, a_subscription

CLIENT = Target(type="client", client_id="ana")
RAW = Target(type="recipient", recipient=FcmRecipient("t"))
TOPIC = Target(type="providerTopic", provider="hms", topic="t")


@pytest.fixture
async def store() -> MemoryPushStore:
    made = MemoryPushStore()
    for number in range(3):
        await made.put_device(a_device(f"d{number}", client_id="ana" if number else None))
        await made.put_subscription(a_subscription("news", f"d{number}"))
    await made.put_device(a_device("apple", recipient=ApnsRecipient("a")))
    await made.put_subscription(a_subscription("news", "apple", provider="apns"))
    await made.put_device(a_device("elsewhere", app_id="other", client_id="ana"))
    return made


async def test_each_kind_is_counted(store: MemoryPushStore) -> None:
    found = await audience(store, "app", [device("d0"), device("ghost"), CLIENT, channel(), RAW, TOPIC])
    assert found.total == 1 + 0 + 2 + 4 + 1 + 1
    assert found.missing == ["device:ghost"]
    assert [each.id for each in found.devices] == ["d0"]
    assert found.lost is None


async def test_what_reaches_nobody_is_named_once(store: MemoryPushStore) -> None:
    nobody = Target(type="client", client_id="bob")
    found = await audience(store, "app", [channel("empty"), nobody, nobody, channel("news"), channel("empty")])
    assert found.total == 4
    assert found.missing == ["channel:empty", "client:bob"]
    assert found.lost is None


async def test_nothing_but_devices_that_do_not_exist(store: MemoryPushStore) -> None:
    assert (await audience(store, "app", [device("ghost"), device("elsewhere")])).lost == "ghost"
    assert (await audience(store, "app", [device("ghost"), channel("empty")])).lost is None
    assert (await audience(store, "app", [device("ghost"), device("d0")])).lost is None


async def test_providers_are_counted_for_their_ceilings(store: MemoryPushStore) -> None:
    targets = [device("d0"), device("apple"), device("ghost"), CLIENT, channel(), RAW, TOPIC]
    found = await audience(store, "app", targets)
    counted = await providers_of(store, "app", targets, found.devices, {"fcm": 1000, "apns": 1000})
    assert counted == {"fcm": 1 + 2 + 3 + 1, "apns": 1 + 1, "hms": 1}
    assert named_providers(targets) == ["fcm", "hms"]


async def test_counting_reads_every_page_and_ends_when_it_knows_enough(
    store: MemoryPushStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2500):
        await store.put_subscription(a_subscription("large", f"d{number:04}"))
    assert await providers_of(store, "app", [channel("large")], [], {"fcm": 10**6}) == {"fcm": 2500}
    asked: list[str] = []
    whole = store.subscriptions

    async def counted(*args: object, **fields: object) -> object:
        asked.append("page")
        return await whole(*args, **fields)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "subscriptions", counted)
    assert (await providers_of(store, "app", [channel("large"), channel("large")], [], {"fcm": 10}))["fcm"] > 10
    assert asked == ["page"]
