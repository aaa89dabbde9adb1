"""What a backend may ask about channels and members (spec: http-api § 7)."""

from __future__ import annotations

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.base.names import channel_kind, check_channel_name
from sockudo.hub import AppState, Channel

__all__ = ["channel_state", "channel_users", "list_channels"]


def list_channels(state: AppState, prefix: str, info: str | None) -> dict[str, object]:
    """The occupied channels whose name starts with ``prefix``, with the attributes asked for (spec: http-api § 7.1)."""
    wanted = _words(info)
    found: dict[str, dict[str, int]] = {}
    for name, channel in state.occupied().items():
        if not name.startswith(prefix):
            continue
        presence = channel.presence
        if "user_count" in wanted and presence is None:
            raise errors.INVALID_INPUT(
                "user_count is only available for presence channels. Use filter_by_prefix=presence-"
            )
        attributes: dict[str, int] = {}
        if "user_count" in wanted and presence is not None:
            attributes["user_count"] = len(presence)
        if "subscription_count" in wanted:
            attributes["subscription_count"] = channel.subscription_count
        if attributes or not info:
            found[name] = attributes
    return {"channels": found}


def channel_state(app: LiveApp, state: AppState, name: str, info: str | None, now: float) -> dict[str, object]:
    """One channel, occupied or not (spec: http-api § 7.2)."""
    _check_name(app, name)
    wanted = _words(info)
    channel = state.channels.get(name)
    reply: dict[str, object] = {"occupied": channel is not None and channel.occupied}
    kind = channel_kind(name)
    if "user_count" in wanted:
        if not kind.presence:
            raise errors.INVALID_INPUT("user_count is only available for presence channels")
        reply["user_count"] = _members(channel)
    if "subscription_count" in wanted:
        reply["subscription_count"] = channel.subscription_count if channel is not None else 0
    if "cache" in wanted and kind.cache:
        cached = state.cache.get(name, now)
        if cached is not None:
            reply["cache"] = {"data": cached.text.decode(), "ttl": max(1, int(cached.expires_at - now))}
    return reply


def channel_users(app: LiveApp, state: AppState, name: str) -> dict[str, object]:
    """The distinct members of a presence channel (spec: http-api § 7.3)."""
    _check_name(app, name)
    if not channel_kind(name).presence:
        raise errors.INVALID_INPUT("Only presence channels support this endpoint")
    channel = state.channels.get(name)
    members = channel.presence if channel is not None else None
    return {"users": [{"id": member.user_id} for member in members or ()]}


def _check_name(app: LiveApp, name: str) -> None:
    check_channel_name(name, max_length=app.limits.max_channel_name_length, namespaces=app.namespaces)


def _members(channel: Channel | None) -> int:
    return len(channel.presence or ()) if channel is not None else 0


def _words(info: str | None) -> frozenset[str]:
    return frozenset(word.strip() for word in info.split(",")) if info else frozenset()
