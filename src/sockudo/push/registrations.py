"""Devices: registered by backends and by themselves, looked up, deleted (spec: push § 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from sockudo import errors
from sockudo.push.access import Access
from sockudo.push.cursors import Page, PageRequest, as_page
from sockudo.push.device_tokens import DeviceTokens
from sockudo.push.endpoints import EndpointRules
from sockudo.push.meta import audit
from sockudo.push.ports import Change, Devices
from sockudo.push.records import Device
from sockudo.push.validation import check_device, check_id

__all__ = ["Registrations", "device_view"]


def device_view(device: Device) -> dict[str, Any]:
    """A device as it is answered: no token, no endpoint, no keys, no metadata and no hash of its secret."""
    recipient = device.recipient
    return {
        "appId": device.app_id,
        "id": device.id,
        "clientId": device.client_id,
        "formFactor": device.form_factor,
        "platform": device.platform,
        "timezone": device.timezone,
        "locale": device.locale,
        "lastActiveAtMs": device.last_active_at_ms,
        "pushState": device.state,
        "pushFailureCount": device.failure_count,
        "recipient": {
            "transportType": recipient.__struct_config__.tag,
            "provider": recipient.provider,
            "tokenHash": device.token_hash,
        },
    }


class Registrations:
    """Raises what the store does, and what is named at each method."""

    def __init__(self, store: Devices, tokens: DeviceTokens, rules: EndpointRules, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._tokens = tokens
        self._rules = rules
        self._now_ms = now_ms

    async def own(self, access: Access, app_id: str, device_id: str) -> Device:
        """The device that a request of ``push-subscribe`` comes from.

        Raises errors.DEVICE_TOKEN_MISSING, errors.DEVICE_NOT_FOUND and errors.DEVICE_TOKEN_WRONG.
        """
        token = access.require_token()
        device = await self.found(app_id, device_id)
        await self._check_token(token, device)
        return device

    async def found(self, app_id: str, device_id: str) -> Device:
        """Raises errors.DEVICE_NOT_FOUND."""
        device = await self._store.device(app_id, device_id)
        if device is None:
            raise errors.DEVICE_NOT_FOUND("device not found")
        return device

    async def register(self, access: Access, device: Device, *, rotate: bool = False) -> dict[str, Any]:
        """Replaces the whole record and answers with its new state; with a token when there is a new one.

        Raises errors.INVALID_INPUT and errors.PROVIDER_TOKEN_INVALID; for a device that registers itself also
        errors.PUSH_DEVICE_UNREGISTERED and what `own` does.
        """
        if not access.admin:
            return self._registered(await self._update(access, device), device, None)
        check_device(device, self._rules)
        existing = await self._store.device(device.app_id, device.id)
        if existing is not None and not rotate:
            kept = replace(device, secret_hash=existing.secret_hash)
            return self._registered(await self._store.put_device(kept, keep_secret=True), device, None)
        token, stored = await self._tokens.make()
        # Of two who register a device for the first time at once, one gets the token that counts.
        change = await self._store.put_device(replace(device, secret_hash=stored), keep_secret=not rotate)
        return self._registered(change, device, token if rotate or change == "inserted" else None)

    async def page(self, request: PageRequest, client_id: str | None = None) -> Page:
        """Of the app, or of one of its clients."""
        if client_id is None:
            rows = await self._store.devices(request.app_id, request.after, request.ask)
        else:
            rows = await self._store.devices_of(request.app_id, client_id, request.after, request.ask)
        return as_page(request, rows, lambda device: device.id, device_view, self._now_ms())

    async def view(self, access: Access, app_id: str, device_id: str) -> dict[str, Any]:
        """Raises errors.DEVICE_NOT_FOUND, and for a device what `own` does."""
        if access.admin:
            return device_view(await self.found(app_id, device_id))
        return device_view(await self.own(access, app_id, device_id))

    async def delete(self, access: Access, app_id: str, device_id: str) -> None:
        """With its subscriptions. A backend may delete what is not there; a device must be, as `own` says."""
        if not access.admin:
            await self.own(access, app_id, device_id)
        await self._store.delete_device(app_id, device_id)

    async def delete_of(self, app_id: str, client_id: str | None) -> int:
        """Every device of a client, with their subscriptions; how many there were. Raises errors.INVALID_INPUT."""
        if client_id is None:
            raise errors.INVALID_INPUT("removeWhere requires clientId")
        check_id(client_id, "clientId")
        deleted = await self._store.delete_devices_of(app_id, client_id)
        audit("removeWhere", app_id, client_id=client_id, deleted=deleted)
        return deleted

    async def _update(self, access: Access, device: Device) -> Change:
        token = access.require_token()
        existing = await self._store.device(device.app_id, device.id)
        if existing is None:
            raise errors.PUSH_DEVICE_UNREGISTERED("device token registration requires an existing device")
        await self._check_token(token, existing)
        check_device(device, self._rules)
        return await self._store.put_device(replace(device, secret_hash=existing.secret_hash), keep_secret=True)

    async def _check_token(self, token: str, device: Device) -> None:
        if not await self._tokens.check(token, device.secret_hash):
            raise errors.DEVICE_TOKEN_WRONG("invalid deviceIdentityToken")

    def _registered(self, change: Change, device: Device, token: str | None) -> dict[str, Any]:
        answer = {"change": change, "tokenHash": device.token_hash, "device": device_view(device)}
        return answer if token is None else {**answer, "deviceIdentityToken": token}
