"""The events that endpoints hear of, as JSON (spec: platform § 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sockudo.protocol.names import USER_CHANNEL_PREFIX
from sockudo.webhooks.records import Event

__all__ = [
    "app_event",
    "cache_miss",
    "channel_event",
    "client_event",
    "member_event",
    "subscription_count",
    "user_event",
]

_encode: Final = msgspec.json.Encoder().encode


def _event(name: str, channel: str, time_ms: int, **about: Any) -> Event:
    return Event(name, channel, _encode({"name": name, "channel": channel, **about}), time_ms)


def channel_event(name: str, channel: str, time_ms: int) -> Event:
    """``channel_occupied`` or ``channel_vacated``."""
    return _event(name, channel, time_ms)


def member_event(name: str, channel: str, user_id: str, time_ms: int, user_info: bytes | None = None) -> Event:
    """``member_added``, ``member_removed`` or, with the member's new ``user_info``, ``member_updated``."""
    if name != "member_updated":
        return _event(name, channel, time_ms, user_id=user_id)
    info = msgspec.Raw(b"null" if user_info is None else user_info)
    return _event(name, channel, time_ms, user_id=user_id, user_info=info)


def client_event(channel: str, event: str, data: bytes, socket_id: str, user_id: str | None, time_ms: int) -> Event:
    """A client event. ``data``, JSON text, is always a string for the endpoint: SDKs read nothing else."""
    text = msgspec.json.decode(data)
    about: dict[str, Any] = {
        "event": event,
        "data": text if isinstance(text, str) else data.decode(),
        "socket_id": socket_id,
    }
    if user_id is not None:
        about["user_id"] = user_id
    return _event("client_event", channel, time_ms, **about)


def cache_miss(channel: str, time_ms: int) -> Event:
    """A client subscribed to a cache channel that holds nothing."""
    return _event("cache_miss", channel, time_ms, data="{}")


def subscription_count(channel: str, count: int, time_ms: int) -> Event:
    """How many subscriptions a channel now has."""
    return _event("subscription_count", channel, time_ms, subscription_count=count)


def user_event(name: str, user_id: str, time_ms: int) -> Event:
    """``user_online`` or ``user_offline``, on the channel that reaches the user."""
    return _event(name, USER_CHANNEL_PREFIX + user_id, time_ms, user_id=user_id)


def app_event(name: str, about: Mapping[str, Any], time_ms: int) -> Event:
    """An event that is about no channel: ``about`` has its members."""
    return Event(name, "", _encode({"name": name, **about}), time_ms)
