"""What an application's backend signs for its clients: channel authorization and user authentication.

For tests, for tools and for backends in Python. See spec: websocket § 6.3 and 8.1.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sockudo.protocol.names import META_PREFIX

__all__ = [
    "Credentials",
    "authorize_channel",
    "authorize_channels",
    "channel_auth",
    "needs_auth",
    "presence_data",
    "user_auth",
    "user_data",
]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Id, key and secret of an app. The secret never leaves through ``repr``."""

    app_id: str
    key: str
    secret: str = field(repr=False)


def needs_auth(channel: str) -> bool:
    """Whether subscribing takes an auth string: private and presence channels of every form, and what is about them."""
    return channel.removeprefix(META_PREFIX).startswith(("private-", "presence-"))


def channel_auth(credentials: Credentials, socket_id: str, channel: str, channel_data: str | None = None) -> str:
    """The auth string with which ``socket_id`` may subscribe to ``channel``.

    ``channel_data`` is the exact text that the client will send beside it; it is signed for presence channels only.
    """
    signed = f"{socket_id}:{channel}"
    if channel.startswith("presence-") and channel_data is not None:
        signed += f":{channel_data}"
    return f"{credentials.key}:{_signature(credentials, signed)}"


def user_auth(credentials: Credentials, socket_id: str, user_data: str) -> str:
    """The auth string with which ``socket_id`` may sign in as the user that the JSON text ``user_data`` describes."""
    return f"{credentials.key}:{_signature(credentials, f'{socket_id}::user::{user_data}')}"


def presence_data(user_id: str, user_info: Any = None) -> str:
    """The ``channel_data`` of a member; without ``user_info`` the member has none."""
    return _json({"user_id": user_id} if user_info is None else {"user_id": user_id, "user_info": user_info})


def user_data(user_id: str, user_info: Any = None, watchlist: Sequence[str] | None = None) -> str:
    """The ``user_data`` of a user who signs in; ``watchlist`` are the users whose presence the user follows."""
    user: dict[str, Any] = {"id": user_id}
    if user_info is not None:
        user["user_info"] = user_info
    if watchlist is not None:
        user["watchlist"] = list(watchlist)
    return _json(user)


def authorize_channel(
    credentials: Credentials, socket_id: str, channel: str, *, user_id: str | None = None, user_info: Any = None
) -> dict[str, str]:
    """What an authorization endpoint answers to a stock client: ``auth`` and, for presence, ``channel_data``.

    A metachannel takes what its channel takes. Raises ValueError for a presence channel without ``user_id``.
    """
    channel = channel.removeprefix(META_PREFIX)
    if not channel.startswith("presence-"):
        return {"auth": channel_auth(credentials, socket_id, channel)}
    if user_id is None:
        raise ValueError(f"presence channel '{channel}' needs a user_id")
    data = presence_data(user_id, user_info)
    return {"auth": channel_auth(credentials, socket_id, channel, data), "channel_data": data}


def authorize_channels(
    credentials: Credentials,
    socket_id: str,
    channels: Iterable[str],
    *,
    may: Callable[[str], bool] = lambda _: True,
    user_id: str | None = None,
    user_info: Any = None,
) -> dict[str, dict[str, Any]]:
    """What an endpoint answers to a client that asks for many channels in one request (docs/browser.md).

    ``may`` says whether the user may have a channel; of one refused the answer is ``error`` and ``status``. A presence
    channel without ``user_id`` is refused too.
    """
    refused = {"error": "forbidden", "status": 403}
    return {
        channel: authorize_channel(credentials, socket_id, channel, user_id=user_id, user_info=user_info)
        if may(channel) and (user_id is not None or not _has_members(channel))
        else dict(refused)
        for channel in channels
    }


def _has_members(channel: str) -> bool:
    return channel.removeprefix(META_PREFIX).startswith("presence-")


def _signature(credentials: Credentials, signed: str) -> str:
    return hmac.new(credentials.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
