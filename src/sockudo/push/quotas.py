"""How large a publish may be, and how much a device gets at once (spec: push § 5, step 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sockudo.base.windows import KeyedWindows
from sockudo.push.audience import Audience, providers_of
from sockudo.push.ports import Devices
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.records import Device, Target

__all__ = ["DeviceRates", "Quotas", "exceeded"]

_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class Quotas:
    """Recipients of one publish at most, in all and by provider; None is no limit, 0 lets nobody through."""

    fanout_max: int | None = None
    delivery_daily: int | None = None
    ceilings: Mapping[Provider, int] = field(default_factory=dict)


class DeviceRates:
    """How many notifications a device that has a rate policy is sent in a second, in this process."""

    def __init__(self) -> None:
        self._windows = KeyedWindows(_SECONDS)

    def over(self, devices: Sequence[Device], now: float) -> Device | None:
        """The first device that has had enough; otherwise each of them has had one more. ``now`` is monotonic."""
        windows = []
        for device in devices:
            if device.rate_policy is None:
                continue
            window = self._windows.window(f"{device.app_id}\0{device.id}", now)
            if window.count + 1 > device.rate_policy.capacity:
                return device
            windows.append(window)
        for window in windows:
            window.count += 1
        return None


async def exceeded(
    quotas: Quotas,
    rates: DeviceRates,
    store: Devices,
    app_id: str,
    targets: Sequence[Target],
    found: Audience,
    now: float,
) -> str | None:
    """The first quota that the publish is over, in words for its status; None when it may go."""
    count = found.total
    if quotas.fanout_max is not None and count > quotas.fanout_max:
        return f"fanout_max exceeded: {count} recipients, at most {quotas.fanout_max}"
    if quotas.delivery_daily is not None and count > quotas.delivery_daily:
        return f"delivery_quota_daily exceeded: {count} recipients, at most {quotas.delivery_daily}"
    if quotas.ceilings and count:
        by_provider = await providers_of(store, app_id, targets, found.devices, quotas.ceilings)
        for provider, most in quotas.ceilings.items():
            if by_provider[provider] > most:
                return f"provider ceiling of {ROUTE_NAMES[provider]} exceeded: at most {most} recipients"
    device = rates.over(found.devices, now) if found.devices else None
    return None if device is None else f"pushRatePolicy of device {device.id} exceeded"
