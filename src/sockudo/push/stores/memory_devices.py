"""Devices, subscriptions, credentials and templates in dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest

from msgspec.structs import replace

from sockudo.push.paging import PairPosition, pair_after
from sockudo.push.ports import Change, StateChange, Touch
from sockudo.push.recipients import Provider
from sockudo.push.records import Credential, Device, Subscription, Template
from sockudo.push.stores.rules import day_of, touched
from sockudo.push.stores.sorted_map import Shelves

__all__ = ["MemoryDevices", "MemorySettings"]


class MemoryDevices:
    """See `sockudo.push.ports.Devices`."""

    def __init__(self) -> None:
        super().__init__()
        self._devices: Shelves[str, Device] = Shelves()
        self._of_client: Shelves[str, Device] = Shelves()
        self._apps: dict[str, None] = {}
        self._of_channel: Shelves[str, Subscription] = Shelves()
        self._of_device: Shelves[str, Subscription] = Shelves()
        self._subscriptions: Shelves[PairPosition, Subscription] = Shelves()
        self._channels: Shelves[str, str] = Shelves()

    async def put_device(self, device: Device, *, keep_secret: bool = False) -> Change:
        before = self._devices[device.app_id].get(device.id)
        if before is not None and keep_secret:
            device = replace(device, secret_hash=before.secret_hash)
        self._put(before, device)
        if before is None:
            return "inserted"
        return "unchanged" if before == device else "updated"

    async def device(self, app_id: str, device_id: str) -> Device | None:
        return self._devices[app_id].get(device_id)

    async def devices(self, app_id: str, after: str, limit: int) -> list[Device]:
        return self._devices[app_id].after(after, limit)

    async def devices_of(self, app_id: str, client_id: str, after: str, limit: int) -> list[Device]:
        return self._of_client[app_id, client_id].after(after, limit)

    async def devices_by_id(self, app_id: str, device_ids: Sequence[str]) -> list[Device]:
        devices = self._devices[app_id]
        found = (devices.get(device_id) for device_id in dict.fromkeys(device_ids))
        return [device for device in found if device is not None]

    async def stale_devices(self, before_ms: int, limit: int) -> list[Device]:
        day = day_of(before_ms)
        every = (device for app_id in self._apps for device in self._devices[app_id].values())
        stale = (device for device in every if device.last_active_at_ms < day)
        return nsmallest(limit, stale, key=lambda device: (device.last_active_at_ms, device.app_id, device.id))

    async def count_devices_of(self, app_id: str, client_id: str) -> int:
        return len(self._of_client[app_id, client_id])

    async def delete_device(self, app_id: str, device_id: str, *, token_hash: str | None = None) -> bool:
        device = self._devices[app_id].get(device_id)
        if device is None or token_hash not in (None, device.token_hash):
            return False
        self._drop(device)
        return True

    async def delete_devices_of(self, app_id: str, client_id: str) -> int:
        devices = self._of_client[app_id, client_id].values()
        for device in devices:
            self._drop(device)
        return len(devices)

    async def touch_devices(self, app_id: str, touches: Sequence[Touch]) -> list[StateChange]:
        changes = []
        for touch in touches:
            before = self._devices[app_id].get(touch.device_id)
            if before is None:
                continue
            after = touched(before, touch)
            self._put(before, after)
            if after.state != before.state:
                changes.append(StateChange(touch.device_id, before.state, after.state))
        return changes

    async def put_subscription(self, subscription: Subscription) -> None:
        app_id, channel, device_id = subscription.app_id, subscription.channel, subscription.device_id
        if self._of_channel.put((app_id, channel), device_id, subscription):
            self._channels.put(app_id, channel, channel)
        self._of_device.put((app_id, device_id), channel, subscription)
        self._subscriptions.put(app_id, _pair(subscription), subscription)

    async def subscriptions(
        self, app_id: str, *, channel: str | None = None, device_id: str | None = None, after: str, limit: int
    ) -> list[Subscription]:
        if channel is not None and device_id is not None:
            found = self._of_channel[app_id, channel].get(device_id)
            return [found] if found is not None and device_id > after and limit > 0 else []
        if channel is not None:
            return self._of_channel[app_id, channel].after(after, limit)
        if device_id is not None:
            return self._of_device[app_id, device_id].after(after, limit)
        return self._subscriptions[app_id].after(pair_after(after), limit)

    async def delete_subscriptions(
        self, app_id: str, *, channel: str | None = None, device_id: str | None = None
    ) -> int:
        if channel is not None and device_id is not None:
            found = self._of_channel[app_id, channel].get(device_id)
            gone = [] if found is None else [found]
        elif channel is not None:
            gone = self._of_channel[app_id, channel].values()
        elif device_id is not None:
            gone = self._of_device[app_id, device_id].values()
        else:
            gone = []
        for subscription in gone:
            self._unsubscribe(subscription)
        return len(gone)

    async def subscribed_channels(self, app_id: str, after: str, limit: int) -> list[str]:
        return self._channels[app_id].after(after, limit)

    async def count_subscriptions(self, app_id: str, channel: str) -> int:
        return len(self._of_channel[app_id, channel])

    async def _delete_devices(self, app_id: str, limit: int) -> int:
        devices = self._devices[app_id].after(None, limit)
        for device in devices:
            self._drop(device)
        subscriptions = self._subscriptions[app_id].after(None, limit - len(devices))
        for subscription in subscriptions:
            self._unsubscribe(subscription)
        return len(devices) + len(subscriptions)

    def _put(self, before: Device | None, device: Device) -> None:
        if before is not None and before.client_id is not None and before.client_id != device.client_id:
            self._of_client.pop((device.app_id, before.client_id), device.id)
        self._devices.put(device.app_id, device.id, device)
        self._apps[device.app_id] = None
        if device.client_id is not None:
            self._of_client.put((device.app_id, device.client_id), device.id, device)

    def _drop(self, device: Device) -> None:
        if self._devices.pop(device.app_id, device.id):
            del self._apps[device.app_id]
        if device.client_id is not None:
            self._of_client.pop((device.app_id, device.client_id), device.id)
        for subscription in self._of_device[device.app_id, device.id].values():
            self._unsubscribe(subscription)

    def _unsubscribe(self, subscription: Subscription) -> None:
        app_id, channel, device_id = subscription.app_id, subscription.channel, subscription.device_id
        if self._of_channel.pop((app_id, channel), device_id):
            self._channels.pop(app_id, channel)
        self._of_device.pop((app_id, device_id), channel)
        self._subscriptions.pop(app_id, _pair(subscription))


class MemorySettings:
    """See `sockudo.push.ports.Settings`."""

    def __init__(self) -> None:
        super().__init__()
        self._credentials: Shelves[str, Credential] = Shelves()
        self._for_provider: dict[tuple[str, str], Credential] = {}
        self._templates: Shelves[str, Template] = Shelves()

    async def put_credential(self, credential: Credential) -> None:
        self._credentials.put(credential.app_id, credential.credential_id, credential)
        self._for_provider[credential.app_id, credential.credential_id] = credential

    async def credential(self, app_id: str, credential_id: str) -> Credential | None:
        return self._credentials[app_id].get(credential_id)

    async def credentials(self, app_id: str, after: str, limit: int) -> list[Credential]:
        return self._credentials[app_id].after(after, limit)

    async def credentials_for(self, provider: Provider) -> list[Credential]:
        found = [each for each in self._for_provider.values() if each.provider == provider]
        return sorted(found, key=lambda each: (-each.updated_at_ms, each.app_id, each.credential_id))

    def _delete_settings(self, app_id: str, limit: int) -> int:
        credentials = self._credentials[app_id].after(None, limit)
        for credential in credentials:
            self._credentials.pop(app_id, credential.credential_id)
            del self._for_provider[app_id, credential.credential_id]
        templates = self._templates[app_id].after(None, limit - len(credentials))
        for template in templates:
            self._templates.pop(app_id, template.template_id)
        return len(credentials) + len(templates)

    async def put_template(self, template: Template) -> None:
        self._templates.put(template.app_id, template.template_id, template)

    async def template(self, app_id: str, template_id: str) -> Template | None:
        return self._templates[app_id].get(template_id)

    async def templates(self, app_id: str, after: str, limit: int) -> list[Template]:
        return self._templates[app_id].after(after, limit)

    async def delete_template(self, app_id: str, template_id: str) -> bool:
        there = template_id in self._templates[app_id]
        self._templates.pop(app_id, template_id)
        return there


def _pair(subscription: Subscription) -> PairPosition:
    return PairPosition(f"{subscription.channel}:{subscription.device_id}", subscription.channel)
