"""Quotas of a publish and rates of devices: 0 lets nobody through, None is no limit (spec: push § 5, step 11)."""

from __future__ import annotations

import pytest

from sockudo.push.audience import audience
from sockudo.push.quotas import DeviceRates, Quotas, exceeded
from sockudo.push.records import RatePolicy, Target
from sockudo.push.stores import MemoryPushStore
from support.push_service import channel, device
from support.push_stores import a_device, a_subscription


@pytest.fixture
async def store() -> MemoryPushStore:
    made = MemoryPushStore()
    await made.put_device(a_device("slow", rate_policy=RatePolicy(capacity=2, refill_per_second=1)))
    await made.put_device(a_device("free"))
    for name in ("slow", "free"):
        await made.put_subscription(a_subscription("news", name))
    return made


async def reason(
    store: MemoryPushStore, quotas: Quotas, *targets: Target, rates: DeviceRates | None = None, now: float = 0.0
) -> str | None:
    found = await audience(store, "app", targets)
    return await exceeded(quotas, rates or DeviceRates(), store, "app", targets, found, now)


@pytest.mark.parametrize(
    ("quotas", "text"),
    [
        (Quotas(), None),
        (Quotas(fanout_max=2, delivery_daily=2, ceilings={"fcm": 2, "apns": 0}), None),
        (Quotas(fanout_max=1), "fanout_max exceeded: 2 recipients, at most 1"),
        (Quotas(fanout_max=0, delivery_daily=0), "fanout_max exceeded: 2 recipients, at most 0"),
        (Quotas(delivery_daily=1), "delivery_quota_daily exceeded: 2 recipients, at most 1"),
        (Quotas(ceilings={"apns": 0, "fcm": 1}), "provider ceiling of fcm exceeded: at most 1 recipients"),
    ],
)
async def test_the_first_quota_that_is_exceeded(store: MemoryPushStore, quotas: Quotas, text: str | None) -> None:
    assert await reason(store, quotas, channel()) == text


async def test_nobody_is_never_too_many(store: MemoryPushStore) -> None:
    assert await reason(store, Quotas(fanout_max=0, delivery_daily=0, ceilings={"fcm": 0}), channel("empty")) is None


async def test_a_device_has_a_rate_of_its_own_as_a_target_only(store: MemoryPushStore) -> None:
    rates = DeviceRates()
    for _ in range(2):
        assert await reason(store, Quotas(), device("slow"), device("free"), rates=rates) is None
    assert (
        await reason(store, Quotas(), device("slow"), rates=rates, now=0.9) == "pushRatePolicy of device slow exceeded"
    )
    assert await reason(store, Quotas(), device("free"), channel(), rates=rates, now=0.9) is None
    assert await reason(store, Quotas(), device("slow"), rates=rates, now=1.0) is None


async def test_a_publish_that_is_refused_takes_nothing_of_other_devices(store: MemoryPushStore) -> None:
    policy = RatePolicy(capacity=1, refill_per_second=1)
    await store.put_device(a_device("a", rate_policy=policy))
    await store.put_device(a_device("b", rate_policy=policy))
    rates = DeviceRates()
    assert await reason(store, Quotas(), device("b"), rates=rates) is None
    assert await reason(store, Quotas(), device("a"), device("b"), rates=rates) is not None
    assert await reason(store, Quotas(), device("a"), rates=rates) is None
