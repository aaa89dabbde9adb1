"""All providers, as the server is configured, and channels of this server as the sixth (spec: push § 8).

Each is loaded only where it is enabled, so that starts stay quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sockudo.config.sections.push import Push
from sockudo.errors import SockudoError
from sockudo.push.delivery import Materials, PublishOnChannel, PushProvider, Readiness, Sent
from sockudo.push.endpoints import EndpointRules
from sockudo.push.providers.answers import accepted, failed
from sockudo.push.providers.base import Surroundings
from sockudo.push.recipients import Provider, Recipient

__all__ = ["RealtimeProvider", "push_providers"]


class RealtimeProvider:
    """A `PushProvider` that needs no account."""

    def __init__(self, publish: PublishOnChannel) -> None:
        self._publish = publish

    async def send(
        self, app_id: str, payload: Mapping[str, Any], recipient: Recipient, *, expires_at_ms: int | None
    ) -> Sent:
        try:
            message_id = await self._publish(app_id, recipient.token, payload)
        except SockudoError as error:
            return failed(_kind(error), error.spec.code)
        return accepted(message_id)

    async def readiness(self, app_id: str) -> Readiness:
        return Readiness(ready=True, source="this server")

    async def close(self) -> None:
        return None


def _kind(error: SockudoError) -> str:
    status = error.spec.status or 500
    if status == 429:
        return "quota"
    return "unavailable" if status >= 500 else "invalid_payload"


def push_providers(
    settings: Push, rules: EndpointRules, materials: Materials, publish: PublishOnChannel, around: Surroundings
) -> Mapping[Provider, PushProvider]:
    """Those that are enabled, and ``realtime``. Closing them leaves ``around.http`` open.

    ``materials`` finds stored credentials, ``publish`` is how ``realtime`` delivers, ``rules`` hold for the addresses
    that browsers and Windows have brought along.
    """
    found: dict[Provider, PushProvider] = {}
    if settings.fcm_enabled:
        from sockudo.push.providers.fcm import FcmProvider

        found["fcm"] = FcmProvider(settings.fcm, materials, around)
    if settings.apns_enabled:
        from sockudo.push.providers.apns import ApnsProvider

        found["apns"] = ApnsProvider(settings.apns, materials, around)
    if settings.webpush_enabled:
        from sockudo.push.providers.webpush import WebPushProvider

        found["webPush"] = WebPushProvider(settings.webpush, rules, materials, around)
    if settings.hms_enabled:
        from sockudo.push.providers.hms import HmsProvider

        found["hms"] = HmsProvider(settings.hms, materials, around)
    if settings.wns_enabled:
        from sockudo.push.providers.wns import WnsProvider

        found["wns"] = WnsProvider(settings.wns, rules, materials, around)
    found["realtime"] = RealtimeProvider(publish)
    return found
