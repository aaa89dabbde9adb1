"""Clients of a Sockudo server: the signed HTTP API, both protocols over WebSocket, and what a backend signs.

`ApiClient` is in `sockudo.client.http` and `Socket` in `sockudo.client.socket`; importing this package loads neither
httpx nor websockets.
"""

from __future__ import annotations

from sockudo.client.auth import Credentials, authorize_channel, authorize_channels, channel_auth, user_auth
from sockudo.client.failures import ApiError, ClientError, ClosedError, UnreachableError

__all__ = [
    "ApiError",
    "ClientError",
    "ClosedError",
    "Credentials",
    "UnreachableError",
    "authorize_channel",
    "authorize_channels",
    "channel_auth",
    "user_auth",
]
