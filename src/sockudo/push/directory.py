"""What is kept for push besides publishes, in one place: devices, subscriptions, credentials, templates
(spec: push § 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.push.access import Access, DeviceTokens
from sockudo.push.bodies import SubscriptionRequest
from sockudo.push.credentials import CredentialCheck, Credentials
from sockudo.push.endpoints import EndpointRules
from sockudo.push.paging import Page, PageRequest, as_page, subscription_position
from sockudo.push.ports import Change, Devices, PushStore, Settings
from sockudo.push.records import Device, Subscription, Template
from sockudo.push.removals import Removals
from sockudo.push.secrecy import Envelopes
from sockudo.push.telemetry import audit
from sockudo.push.validation import check_device, check_id, check_subscription, check_template

__all__ = [
    "Directory",
    "Registrations",
    "Subscriptions",
    "Templates",
    "device_view",
    "subscription_view",
    "template_view",
]

# ---- devices ----


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
        """With its subscriptions. A backend may delete what is not there; a device must exist, see `own`."""
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


# ---- devices on channels ----


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


# ---- templates ----


def template_view(template: Template) -> dict[str, Any]:
    """A template as it is answered, which is also how it is sent."""
    view: dict[str, Any] = msgspec.to_builtins(template)
    return view


class Templates:
    """Raises what the store does, and what is named at each method."""

    def __init__(self, store: Settings, rules: EndpointRules, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._rules = rules
        self._now_ms = now_ms

    async def put(self, template: Template) -> dict[str, Any]:
        """Replaces the one of that id. Raises errors.INVALID_INPUT."""
        check_template(template, self._rules)
        await self._store.put_template(template)
        return template_view(template)

    async def view(self, app_id: str, template_id: str) -> dict[str, Any]:
        """Raises errors.TEMPLATE_NOT_FOUND."""
        template = await self._store.template(app_id, template_id)
        if template is None:
            raise errors.TEMPLATE_NOT_FOUND("template not found")
        return template_view(template)

    async def page(self, request: PageRequest) -> Page:
        rows = await self._store.templates(request.app_id, request.after, request.ask)
        return as_page(request, rows, lambda template: template.template_id, template_view, self._now_ms())

    async def delete(self, app_id: str, template_id: str) -> None:
        """One that is not there is deleted, too."""
        await self._store.delete_template(app_id, template_id)


# ---- all of it ----


class Directory:
    """The store is opened and closed by its maker; close this one before it. ``removals`` is notified of apps that are
    removed, and is run by its maker.
    """

    def __init__(
        self,
        store: PushStore,
        rules: EndpointRules,
        envelopes: Envelopes,
        clock: Clock,
        check_credential: CredentialCheck,
        *,
        tokens: DeviceTokens | None = None,
        removals: Removals | None = None,
    ) -> None:
        self.clock = clock
        self._tokens = tokens or DeviceTokens()
        self.devices = Registrations(store, self._tokens, rules, self.now_ms)
        self.subscriptions = Subscriptions(store, self.devices, self.now_ms)
        self.credentials = Credentials(store, envelopes, clock, check_credential)
        self.removals = removals
        self.templates = Templates(store, rules, self.now_ms)

    def now_ms(self) -> int:
        """The time of day in milliseconds."""
        return int(self.clock.time() * 1000)

    def close(self) -> None:
        """Calling it twice does no harm."""
        self._tokens.close()
