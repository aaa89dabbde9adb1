"""Devices that are there before the server starts: as many as it takes, all on one channel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import uvloop

from sockudo.push.recipients import FcmRecipient, Recipient, WebRecipient
from sockudo.push.records import Device, Subscription
from sockudo.push.stores.sql import sqlite_push
from sockudo.testing import BrowserKeys

__all__ = ["CHANNEL", "android", "browsers", "put"]

CHANNEL = "news"

_APP = "app-id"
_AT_ONCE = 2000


def android(count: int) -> Iterator[Recipient]:
    """Registration tokens as long as real ones."""
    return (FcmRecipient(f"{number:08}:APA91b{'x' * 134}") for number in range(count))


def browsers(count: int, url: str) -> Iterator[Recipient]:
    """Browsers with keys of their own, whose push service is at this address."""
    for number in range(count):
        keys = BrowserKeys()
        yield WebRecipient(f"{url}/wpush/{number:08}-{'x' * 120}", keys.p256dh, keys.auth)


def put(folder: Path, recipients: Iterator[Recipient]) -> None:
    """Registers and subscribes them in the embedded store of a server that does not run."""
    uvloop.run(_put(folder, list(recipients)))


async def _put(folder: Path, recipients: list[Recipient]) -> None:
    store = sqlite_push(folder)
    await store.start()
    try:
        for start in range(0, len(recipients), _AT_ONCE):
            some = [_device(start + place, each) for place, each in enumerate(recipients[start : start + _AT_ONCE])]
            await asyncio.gather(*(store.put_device(device) for device in some))
            await asyncio.gather(*(store.put_subscription(_subscription(device)) for device in some))
    finally:
        await store.close()


def _device(number: int, recipient: Recipient) -> Device:
    return Device(app_id=_APP, id=f"device-{number:08}", client_id=f"user-{number % 1000}", form_factor="phone", platform="android", timezone="Europe/Vienna", locale="de-AT", recipient=recipient)


def _subscription(device: Device) -> Subscription:
    return Subscription(app_id=_APP, channel=CHANNEL, device_id=device.id, provider=device.recipient.provider, token_hash=device.token_hash)
