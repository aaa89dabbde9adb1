"""Whom a publish reaches now, in numbers and by provider (spec: push § 5, steps 2 and 11)."""

from __future__ import annotations

import pytest

from sockudo.config.sections.push import Push as PushSettings
from sockudo.config.sections.push import PushQuotas
from sockudo.push import audience as module
from sockudo.push.audience import DeviceRates, Seen, audience, exceeded, named_providers, providers_of
from sockudo.push.recipients import ApnsRecipient, FcmRecipient
from sockudo.push.records import RatePolicy, Target
from sockudo.push.stores.sql import MemoryPushStore
from support.push_stores import a_device, a_subscription
from unit.push.nodes import channel, device

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


@pytest.fixture
async def store_of_quotas() -> MemoryPushStore:
    made = MemoryPushStore()
    await made.put_device(a_device("slow", rate_policy=RatePolicy(capacity=2, refill_per_second=1)))
    await made.put_device(a_device("free"))
    for name in ("slow", "free"):
        await made.put_subscription(a_subscription("news", name))
    return made


async def reason(
    store_of_quotas: MemoryPushStore,
    quotas: PushQuotas,
    *targets: Target,
    rates: DeviceRates | None = None,
    now: float = 0.0,
) -> str | None:
    found = await audience(store_of_quotas, "app", targets)
    return await exceeded(
        PushSettings(quotas=quotas), rates or DeviceRates(), store_of_quotas, "app", targets, found, now
    )


@pytest.mark.parametrize(
    ("quotas", "text"),
    [
        (PushQuotas(), None),
        (PushQuotas(fanout_max=2, delivery_daily=2, fcm=2, apns=0), None),
        (PushQuotas(fanout_max=1), "fanout_max exceeded: 2 recipients, at most 1"),
        (PushQuotas(fanout_max=0, delivery_daily=0), "fanout_max exceeded: 2 recipients, at most 0"),
        (PushQuotas(delivery_daily=1), "delivery_quota_daily exceeded: 2 recipients, at most 1"),
        (PushQuotas(apns=0, fcm=1), "provider ceiling of fcm exceeded: at most 1 recipients"),
    ],
)
async def test_the_first_quota_that_is_exceeded(
    store_of_quotas: MemoryPushStore, quotas: PushQuotas, text: str | None
) -> None:
    assert await reason(store_of_quotas, quotas, channel()) == text


async def test_nobody_is_never_too_many(store_of_quotas: MemoryPushStore) -> None:
    assert await reason(store_of_quotas, PushQuotas(fanout_max=0, delivery_daily=0, fcm=0), channel("empty")) is None


async def test_a_device_has_a_rate_of_its_own_as_a_target_only(store_of_quotas: MemoryPushStore) -> None:
    rates = DeviceRates()
    for _ in range(2):
        assert await reason(store_of_quotas, PushQuotas(), device("slow"), device("free"), rates=rates) is None
    assert (
        await reason(store_of_quotas, PushQuotas(), device("slow"), rates=rates, now=0.9)
        == "pushRatePolicy of device slow exceeded"
    )
    assert await reason(store_of_quotas, PushQuotas(), device("free"), channel(), rates=rates, now=0.9) is None
    assert await reason(store_of_quotas, PushQuotas(), device("slow"), rates=rates, now=1.0) is None


async def test_a_publish_that_is_refused_takes_nothing_of_other_devices(store_of_quotas: MemoryPushStore) -> None:
    policy = RatePolicy(capacity=1, refill_per_second=1)
    await store_of_quotas.put_device(a_device("a", rate_policy=policy))
    await store_of_quotas.put_device(a_device("b", rate_policy=policy))
    rates = DeviceRates()
    assert await reason(store_of_quotas, PushQuotas(), device("b"), rates=rates) is None
    assert await reason(store_of_quotas, PushQuotas(), device("a"), device("b"), rates=rates) is not None
    assert await reason(store_of_quotas, PushQuotas(), device("a"), rates=rates) is None


# ---- each once ----


def test_each_is_new_once_also_when_there_are_many() -> None:
    seen = Seen()
    assert all(seen.add("fcm", f"token-{number}") for number in range(20_000))
    assert not any(seen.add("fcm", f"token-{number}") for number in range(20_000))
    assert seen.count == 20_000


def test_providers_have_tokens_of_their_own() -> None:
    seen = Seen()
    assert seen.add("fcm", "token")
    assert seen.add("hms", "token")


def test_what_was_kept_is_known_again() -> None:
    first, second = Seen(), Seen()
    for number in range(100):
        first.add("fcm", f"token-{number}")
    second.restore(first.take_fresh())
    for number in range(100, 200):
        first.add("fcm", f"token-{number}")
    second.restore(first.take_fresh())
    assert not any(second.add("fcm", f"token-{number}") for number in range(200))
    assert second.add("fcm", "token-200")


def test_it_takes_no_more_room_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 100)
    seen = Seen()
    assert all(seen.add("fcm", f"token-{number}") for number in range(200))
    assert seen.count == 100
    assert not seen.add("fcm", "token-99")
    assert seen.add("fcm", "token-150")
