"""Whom the targets of a publish lead to now, page by page: never all at once (spec: push § 7.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from sockudo.push.delivery import DeliveryJob
from sockudo.push.ports import Devices
from sockudo.push.positions import subscription_position
from sockudo.push.records import Device, Subscription, Target

__all__ = ["CLIENT_SCOPE", "Page", "pages"]

_PAGE: Final = 1000

CLIENT_SCOPE: Final = "__sockudo_client_scope__:"
"""How the device id of a subscription begins that stands for all devices of a client (spec: push § 3)."""


class Page(NamedTuple):
    """Some recipients of the target ``origin``. Whoever stops here goes on with ``target`` behind ``cursor``; None
    where nobody may stop.
    """

    origin: int
    large: bool
    jobs: list[DeliveryJob]
    target: int
    cursor: str | None


async def pages(
    store: Devices, app_id: str, targets: Sequence[Target], index: int = 0, cursor: str = ""
) -> AsyncIterator[Page]:
    """From the target of this index on. Topics, conditions and filters lead to nobody.

    Devices are read now: one that was deleted meanwhile gets nothing.
    """
    while index < len(targets):
        target = targets[index]
        if target.type in ("device", "recipient"):
            end = _end_of_run(targets, index)
            yield Page(index, False, await _named(store, app_id, targets[index:end]), end, "")
            index = end
            continue
        if target.type == "client" and target.client_id is not None:
            async for page in _of_client(store, app_id, target.client_id, index, cursor):
                yield page
        elif target.type == "channel" and target.channel is not None:
            async for page in _of_channel(store, app_id, target.channel, index, cursor):
                yield page
        index, cursor = index + 1, ""


def _end_of_run(targets: Sequence[Target], start: int) -> int:
    """Devices and recipients that are named one after the other are looked up together."""
    end = start
    while end < len(targets) and end - start < _PAGE and targets[end].type in ("device", "recipient"):
        end += 1
    return end


async def _named(store: Devices, app_id: str, targets: Sequence[Target]) -> list[DeliveryJob]:
    ids = list(dict.fromkeys(target.device_id for target in targets if target.device_id is not None))
    found = await _devices(store, app_id, ids)
    jobs = []
    for target in targets:
        if target.recipient is not None:
            jobs.append(DeliveryJob(target.recipient))
        elif target.device_id is not None and target.device_id in found:
            jobs.append(_job(found[target.device_id]))
    return jobs


async def _of_client(
    store: Devices, app_id: str, client_id: str, index: int, cursor: str, *, halts: bool = True
) -> AsyncIterator[Page]:
    while True:
        devices = await store.devices_of(app_id, client_id, cursor, _PAGE)
        cursor = devices[-1].id if devices else cursor
        last = len(devices) < _PAGE
        place = (index + 1, "") if last else (index, cursor)
        yield Page(index, True, [_job(device) for device in devices], place[0], place[1] if halts else None)
        if last:
            return


async def _of_channel(store: Devices, app_id: str, channel: str, index: int, cursor: str) -> AsyncIterator[Page]:
    while True:
        rows = await store.subscriptions(app_id, channel=channel, after=cursor, limit=_PAGE)
        for row in rows:
            if row.client_id is not None and row.device_id.startswith(CLIENT_SCOPE):
                async for page in _of_client(store, app_id, row.client_id, index, "", halts=False):
                    yield page
        cursor = subscription_position(rows[-1], channel=channel) if rows else cursor
        last = len(rows) < _PAGE
        jobs = await _subscribed(store, app_id, rows)
        yield Page(index, True, jobs, index + 1 if last else index, "" if last else cursor)
        if last:
            return


async def _subscribed(store: Devices, app_id: str, rows: Sequence[Subscription]) -> list[DeliveryJob]:
    ids = [row.device_id for row in rows if not row.device_id.startswith(CLIENT_SCOPE)]
    found = await _devices(store, app_id, ids)
    return [_job(found[device_id]) for device_id in ids if device_id in found]


async def _devices(store: Devices, app_id: str, ids: Sequence[str]) -> dict[str, Device]:
    if not ids:
        return {}
    return {device.id: device for device in await store.devices_by_id(app_id, ids)}


def _job(device: Device) -> DeliveryJob:
    return DeliveryJob(device.recipient, device.id)
