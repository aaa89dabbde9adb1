"""All providers, as the server is configured; each is loaded only where it is enabled, so that starts stay quick."""

from __future__ import annotations

from collections.abc import Mapping

from sockudo.config.sections.push import Push
from sockudo.push.delivery import Materials, PushProvider
from sockudo.push.endpoints import EndpointRules
from sockudo.push.providers.base import Surroundings
from sockudo.push.providers.realtime import PublishOnChannel, RealtimeProvider
from sockudo.push.recipients import Provider

__all__ = ["push_providers"]


def push_providers(
    settings: Push,
    rules: EndpointRules,
    materials: Materials,
    publish: PublishOnChannel,
    around: Surroundings,
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
