"""What a backend may ask about channels and members (spec: http-api § 7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.cluster.directory import Directory
from sockudo.hub import AppState
from sockudo.protocol.names import channel_kind, check_channel_name

__all__ = ["channel_state", "channel_users", "list_channels", "words"]

# Shared by all channels of a list, and never changed.
_NO_ATTRIBUTES: Final[dict[str, int]] = {}


async def list_channels(directory: Directory, app: LiveApp, prefix: str, info: str | None) -> dict[str, object]:
    """The occupied channels whose name starts with ``prefix``, with the attributes asked for (spec: http-api § 7.1)."""
    if not info:
        return {"channels": dict.fromkeys((await directory.names(app.id, prefix)).names, _NO_ATTRIBUTES)}
    wanted = words(info)
    channels = (await directory.channels(app.id, prefix)).channels
    found: dict[str, dict[str, int]] = {}
    for name, counts in channels.items():
        attributes: dict[str, int] = {}
        if "user_count" in wanted:
            if not channel_kind(name).presence:
                raise errors.INVALID_INPUT(
                    "user_count is only available for presence channels. Use filter_by_prefix=presence-"
                )
            attributes["user_count"] = counts.users
        if "subscription_count" in wanted:
            attributes["subscription_count"] = counts.subscriptions
        if attributes:
            found[name] = attributes
    return {"channels": found}


async def channel_state(
    directory: Directory,
    app: LiveApp,
    state: AppState,
    name: str,
    info: str | None,
    now: float,
    refresh: Callable[[str, str], Awaitable[None] | None] = lambda _app, _name: None,
) -> dict[str, object]:
    """One channel, occupied or not (spec: http-api § 7.2); see `EventApi.refresh_cache` for ``refresh``."""
    _check_name(app, name)
    wanted = words(info)
    kind = channel_kind(name)
    if "user_count" in wanted and not kind.presence:
        raise errors.INVALID_INPUT("user_count is only available for presence channels")
    counts = (await directory.channel(app.id, name)).counts
    reply: dict[str, object] = {"occupied": counts.subscriptions > 0}
    if "user_count" in wanted:
        reply["user_count"] = counts.users
    if "subscription_count" in wanted:
        reply["subscription_count"] = counts.subscriptions
    if "cache" in wanted and kind.cache:
        asked = refresh(app.id, name)
        if asked is not None:
            await asked
        cached = state.cache.get(name, now)
        if cached is not None:
            reply["cache"] = {"data": cached.text.decode(), "ttl": max(1, int(cached.expires_at - now))}
    return reply


async def channel_users(directory: Directory, app: LiveApp, name: str) -> dict[str, object]:
    """The distinct members of a presence channel (spec: http-api § 7.3)."""
    _check_name(app, name)
    if not channel_kind(name).presence:
        raise errors.INVALID_INPUT("Only presence channels support this endpoint")
    return {"users": [{"id": user_id} for user_id in (await directory.members(app.id, name)).users]}


def words(info: str | None) -> frozenset[str]:
    """What ``info`` asks for."""
    return frozenset(word.strip() for word in info.split(",")) if info else frozenset()


def _check_name(app: LiveApp, name: str) -> None:
    check_channel_name(name, max_length=app.limits.max_channel_name_length, namespaces=app.namespaces)
