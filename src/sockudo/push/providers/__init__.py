"""Providers of push notifications: FCM, APNs, Web Push, HMS, WNS, and channels of this server."""

from sockudo.push.providers.base import Surroundings
from sockudo.push.providers.credentials import check_credential
from sockudo.push.providers.selection import push_providers

__all__ = ["Surroundings", "check_credential", "push_providers"]
