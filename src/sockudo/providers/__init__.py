"""Providers of push notifications: FCM, APNs, Web Push, HMS, WNS, and channels of this server."""

from sockudo.providers.base import Surroundings
from sockudo.providers.credentials import check_credential
from sockudo.providers.realtime import PublishOnChannel
from sockudo.providers.selection import push_providers

__all__ = ["PublishOnChannel", "Surroundings", "check_credential", "push_providers"]
