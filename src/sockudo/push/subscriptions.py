"""Devices on channels (spec: push § 2.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sockudo import errors
from sockudo.push.access import Access
from sockudo.push.bodies import SubscriptionRequest
from sockudo.push.cursors import Page, PageRequest, as_page
from sockudo.push.ports import Devices
from sockudo.push.positions import subscription_position
from sockudo.push.records import Subscription
from sockudo.push.registrations import Registrations
from sockudo.push.validation import check_id, check_subscription

__all__ = ["Subscriptions", "subscription_view"]


def subscription_view(subscription: Subscription) -> dict[str, Any]:
    """A subscription as it is answered; what it does not have is left out."""
    view = {
        "appId": subscription.app_id,
        "channel": subscription.channel,
        "deviceId": subscription.device_id,
        "clientId": subscription.client_id,
        "provider": subscription.provider,
        "tokenHash": subscription.token_hash,
        "credentialVersion": subscription.credential_version,
    }
    return {name: value for name, value in view.items() if value is not None}


class Subscriptions:
    """Raises what the store does, and what is named at each method. A device reaches its own alone."""

    def __init__(self, store: Devices, registrations: Registrations, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._registrations = registrations
        self._now_ms = now_ms

    async def put(self, access: Access, app_id: str, wanted: SubscriptionRequest) -> dict[str, Any]:
        """Provider and hash come from the device where they are not given.

        Raises errors.INVALID_INPUT and errors.DEVICE_NOT_FOUND; for a device what `Registrations.own` does.
        """
        provider, token_hash = wanted.provider, wanted.token_hash
        if not access.admin:
            device = await self._registrations.own(access, app_id, wanted.device_id)
            provider, token_hash = provider or device.recipient.provider, token_hash or device.token_hash
        elif provider is None or token_hash is None:
            check_id(wanted.device_id, "deviceId")
            device = await self._registrations.found(app_id, wanted.device_id)
            provider = provider or device.recipient.provider
            token_hash = device.token_hash if token_hash is None else token_hash
        subscription = Subscription(
            app_id=app_id,
            channel=wanted.channel,
            device_id=wanted.device_id,
            client_id=wanted.client_id,
            provider=provider,
            token_hash=token_hash,
            credential_version=wanted.credential_version,
        )
        check_subscription(subscription)
        await self._store.put_subscription(subscription)
        return subscription_view(subscription)

    async def check_reach(self, access: Access, app_id: str, device_id: str | None, verb: str) -> None:
        """A device must name itself. Raises errors.PUSH_CAPABILITY and what `Registrations.own` does."""
        if access.admin:
            return
        if device_id is None:
            raise errors.PUSH_CAPABILITY(f"push-subscribe can only {verb} its own device subscriptions")
        await self._registrations.own(access, app_id, device_id)

    async def page(self, request: PageRequest, channel: str | None, device_id: str | None) -> Page:
        """Of a channel, of a device, of all; with both only that pair."""
        rows = await self._store.subscriptions(
            request.app_id, channel=channel, device_id=device_id, after=request.after, limit=request.ask
        )
        return as_page(
            request,
            rows,
            lambda row: subscription_position(row, channel=channel, device_id=device_id),
            subscription_view,
            self._now_ms(),
        )

    async def delete(self, app_id: str, channel: str | None, device_id: str | None) -> int:
        """How many there were. Raises errors.INVALID_INPUT unless a channel, a device or both are named."""
        if channel is None and device_id is None:
            raise errors.INVALID_INPUT("delete requires channel or deviceId")
        for value, field in ((channel, "channel"), (device_id, "deviceId")):
            if value is not None:
                check_id(value, field)
        return await self._store.delete_subscriptions(app_id, channel=channel, device_id=device_id)

    async def channels(self, request: PageRequest) -> Page:
        """Names of channels with a subscription."""
        rows = await self._store.subscribed_channels(request.app_id, request.after, request.ask)
        return as_page(request, rows, str, str, self._now_ms())
