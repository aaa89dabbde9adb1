"""Whom a publish would reach now: counted at admission, found one by one at planning (spec: push § 5, step 2); and how
large it may be (step 11).
"""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from sockudo.base.windows import KeyedWindows
from sockudo.config.sections.push import Push as PushSettings
from sockudo.push.ports import Devices
from sockudo.push.recipients import PROVIDERS, ROUTE_NAMES, Provider
from sockudo.push.records import Device, Target

__all__ = [
    "MOST",
    "Audience",
    "DeviceRates",
    "Seen",
    "audience",
    "exceeded",
    "named_providers",
    "providers_of",
    "seen_id",
]


_PAGE: Final = 1000

_RATE_SECONDS: Final = 1


class Audience(NamedTuple):
    """``missing`` are the targets without a recipient, as their kind and id; ``devices`` those that targets name.

    ``lost`` is the id of a device when there is no target but devices that do not exist.
    """

    total: int
    missing: list[str]
    devices: list[Device]
    lost: str | None


async def audience(store: Devices, app_id: str, targets: Sequence[Target]) -> Audience:
    """Counts devices, devices of clients and subscriptions of channels; any other target counts as one."""
    ids = list(dict.fromkeys(target.device_id for target in targets if target.device_id is not None))
    devices = await store.devices_by_id(app_id, ids) if ids else []
    known = {device.id for device in devices}
    counts: dict[tuple[str, str], int] = {}
    total = 0
    missing: dict[str, None] = {}
    for target in targets:
        name = target.device_id or target.client_id or target.channel
        if name is None or target.type not in ("device", "client", "channel"):
            total += 1
            continue
        key = target.type, name
        if key not in counts:
            counts[key] = int(name in known) if target.type == "device" else await _count(store, app_id, *key)
        total += counts[key]
        if not counts[key]:
            missing[f"{target.type}:{name}"] = None
    lost = ids[0] if not known and ids and all(target.type == "device" for target in targets) else None
    return Audience(total, list(missing), devices, lost)


async def _count(store: Devices, app_id: str, kind: str, name: str) -> int:
    if kind == "client":
        return await store.count_devices_of(app_id, name)
    return await store.count_subscriptions(app_id, name)


def named_providers(targets: Sequence[Target]) -> list[Provider]:
    """The provider of each target that names one itself."""
    named = (target.provider if target.recipient is None else target.recipient.provider for target in targets)
    return [provider for provider in named if provider is not None]


async def providers_of(
    store: Devices, app_id: str, targets: Sequence[Target], devices: Sequence[Device], ceilings: Mapping[Provider, int]
) -> Counter[Provider]:
    """How many recipients each provider has; counting ends once one of the ceilings is passed."""
    found: Counter[Provider] = Counter(named_providers(targets))
    by_id = {device.id: device for device in devices}
    for target in targets:
        if target.device_id in by_id and target.type == "device":
            found[by_id[target.device_id].recipient.provider] += 1
    for target in targets:
        name = target.client_id if target.type == "client" else target.channel
        if name is None or target.type not in ("client", "channel"):
            continue
        after = ""
        while not any(found[provider] > most for provider, most in ceilings.items()):
            page, after = await _page(store, app_id, target.type, name, after)
            found.update(page)
            if len(page) < _PAGE:
                break
    return found


async def _page(store: Devices, app_id: str, kind: str, name: str, after: str) -> tuple[list[Provider], str]:
    if kind == "client":
        devices = await store.devices_of(app_id, name, after, _PAGE)
        return [device.recipient.provider for device in devices], devices[-1].id if devices else after
    rows = await store.subscriptions(app_id, channel=name, after=after, limit=_PAGE)
    return [row.provider for row in rows], rows[-1].device_id if rows else after


# ---- quotas ----


class DeviceRates:
    """How many notifications a device that has a rate policy is sent in a second, in this process."""

    def __init__(self) -> None:
        self._windows = KeyedWindows(_RATE_SECONDS)

    def over(self, devices: Sequence[Device], now: float) -> Device | None:
        """The first device that has reached its limit; otherwise each is counted once more. ``now`` is monotonic."""
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
    options: PushSettings,
    rates: DeviceRates,
    store: Devices,
    app_id: str,
    targets: Sequence[Target],
    found: Audience,
    now: float,
) -> str | None:
    """The first quota that the publish is over, in words for its status; None when it may go."""
    count = found.total
    if options.fanout_max is not None and count > options.fanout_max:
        return f"fanout_max exceeded: {count} recipients, at most {options.fanout_max}"
    daily = options.delivery_quota_daily
    if daily is not None and count > daily:
        return f"delivery_quota_daily exceeded: {count} recipients, at most {daily}"
    limits = ((provider, getattr(options.quotas, ROUTE_NAMES[provider])) for provider in PROVIDERS)
    ceilings = {provider: most for provider, most in limits if most is not None}
    if ceilings and count:
        by_provider = await providers_of(store, app_id, targets, found.devices, ceilings)
        for provider, most in ceilings.items():
            if by_provider[provider] > most:
                return f"provider ceiling of {ROUTE_NAMES[provider]} exceeded: at most {most} recipients"
    device = rates.over(found.devices, now) if found.devices else None
    return None if device is None else f"pushRatePolicy of device {device.id} exceeded"


# ---- each once ----


_PARTS: Final = 256
_FIRST_ROOM: Final = 16
MOST: Final = 4_194_304
"""Recipients of one publish that are remembered; a later one is compared with the others of its step alone."""


def seen_id(step: int) -> str:
    """Under which a publish keeps whom the steps before this one have seen; steps count from 1 here, without a gap."""
    return f"seen-{step}"


class Seen:
    """A set of recipients in about 20 bytes each: 64 bits of a digest, in many small tables, so that none takes long
    to grow.

    Two of a million recipients are mixed up with a chance of one to thirty million.
    """

    __slots__ = ("_counts", "_tables", "count", "fresh")

    def __init__(self) -> None:
        # Made as they are needed: most publishes have few recipients, and there may be many publishes.
        self._tables: dict[int, array[int]] = {}
        self._counts: Counter[int] = Counter()
        self.count = 0
        # What came since it was last taken.
        self.fresh = array("Q")

    def add(self, provider: Provider, token: str) -> bool:
        """True for a recipient that was not there."""
        digest = sha256(f"{provider}\0{token}".encode("utf-8", "surrogatepass")).digest()
        value = int.from_bytes(digest[:8], "little") or 1
        if not self._put(value):
            return False
        self.fresh.append(value)
        return True

    def take_fresh(self) -> str:
        """The new ones as text, for `restore`."""
        text = b64encode(self.fresh.tobytes()).decode("ascii")
        self.fresh = array("Q")
        return text

    def restore(self, text: str) -> None:
        """Restores the state of another set."""
        values = array("Q")
        values.frombytes(b64decode(text))
        for value in values:
            self._put(value)

    def _put(self, value: int) -> bool:
        part = value & (_PARTS - 1)
        table = self._tables.get(part)
        if table is None:
            table = self._tables[part] = array("Q", bytes(8 * _FIRST_ROOM))
        mask = len(table) - 1
        place = (value >> 8) & mask
        while table[place]:
            if table[place] == value:
                return False
            place = (place + 1) & mask
        if self.count >= MOST:
            # Bounded: what is not kept cannot be found again.
            return True
        table[place] = value
        self.count += 1
        self._counts[part] += 1
        if self._counts[part] * 2 > len(table):
            self._grow(part)
        return True

    def _grow(self, part: int) -> None:
        old = self._tables[part]
        table = array("Q", bytes(16 * len(old)))
        mask = len(table) - 1
        for value in old:
            if value:
                place = (value >> 8) & mask
                while table[place]:
                    place = (place + 1) & mask
                table[place] = value
        self._tables[part] = table
