"""Devices and subscriptions that are put, many at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection

from sockudo.push.ports import Change
from sockudo.push.records import Device, Subscription
from sockudo.push.stores.rows import device_of, device_row, subscription_row
from sockudo.push.stores.statements import Statements, by_app, values

__all__ = ["Putting", "now_ms", "put_devices", "put_subscriptions"]


class Putting(NamedTuple):
    """See `Devices.put_device`."""

    device: Device
    keep_secret: bool


def put_devices(sql: Statements, connection: Connection, requests: Sequence[Putting]) -> list[Change]:
    """What each has changed."""
    stored = {
        (app_id, row.device_id): device_of(row)
        for app_id, device_ids in by_app((device.app_id, device.id) for device, _ in requests)
        for row in values(sql.lock_devices, connection, app_id, device_ids)
    }
    written: dict[tuple[str, str], Device] = {}
    changes: list[Change] = []
    for device, keep_secret in requests:
        place = device.app_id, device.id
        before = written.get(place) or stored.get(place)
        if before is not None and keep_secret:
            device = replace(device, secret_hash=before.secret_hash)  # noqa: PLW2901 - it is this one from here on
        if before == device:
            changes.append("unchanged")
            continue
        changes.append("inserted" if before is None else "updated")
        written[place] = device
    if written:
        at_ms = now_ms()
        sql.save_devices.run(connection, [device_row(written[place], at_ms) for place in sorted(written)])
    return changes


def put_subscriptions(sql: Statements, connection: Connection, requests: Sequence[Subscription]) -> list[None]:
    """Of those about the same channel and device the last one counts."""
    written = {(each.app_id, each.channel, each.device_id): each for each in requests}
    at_ms = now_ms()
    sql.save_subscriptions.run(connection, [subscription_row(written[place], at_ms) for place in sorted(written)])
    return [None] * len(requests)


def now_ms() -> int:
    """For the columns that say when a row was written, which nothing reads."""
    return int(time.time() * 1000)
