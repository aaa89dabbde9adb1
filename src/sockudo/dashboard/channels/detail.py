"""One channel: what it is, who is in it, what its cache holds, and a test event for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.dashboard.paging import Page, Paging
from sockudo.errors import SockudoError
from sockudo.hub.view import FilterView, HubView
from sockudo.protocol.names import (
    META,
    META_PREFIX,
    WILDCARD,
    channel_kind,
    check_channel_name,
    check_pattern,
    is_meta,
    is_wildcard,
    user_of,
)

if TYPE_CHECKING:
    from sockudo.dashboard.board import Board

__all__ = [
    "CachedView",
    "ChannelView",
    "MemberRow",
    "SubscriberRow",
    "TestEvent",
    "channel_view",
    "members",
    "publish",
    "subscribers",
]


class CachedView(msgspec.Struct, frozen=True):
    """The event that a cache channel gives to a new subscriber, with its data as clients get it."""

    event: str
    data: str | msgspec.Raw | None
    expires_in_seconds: int


class ChannelView(msgspec.Struct, frozen=True):
    """One channel, subscribed to or not.

    ``refused`` is why a channel of this name cannot be subscribed to; None for a name that is allowed. ``user_count``
    is None for what has no members, and ``user_id`` the user of a channel to one user. ``history``,
    ``presence_history`` and ``recovery`` say what is kept of it.
    """

    app_id: str
    channel: str
    kind: str
    occupied: bool
    subscription_count: int
    user_count: int | None
    user_id: str | None
    refused: str | None
    encrypted: bool
    recovery: bool
    history: bool
    presence_history: bool
    caches: bool
    cache: CachedView | None


class MemberRow(msgspec.Struct, frozen=True):
    """A member of a presence channel. ``socket_ids`` are the first of its connections.

    ``lost``: its last connection was lost without a goodbye, and it is kept for a while in case it comes back.
    """

    user_id: str
    user_info: msgspec.Raw
    connection_count: int
    socket_ids: list[str]
    lost: bool


class SubscriberRow(msgspec.Struct, frozen=True):
    """A connection that is subscribed. ``user_id`` is that of the channel's member, else of the signed-in user."""

    socket_id: str
    user_id: str | None
    address: str
    format: str
    filter: FilterView | None
    delta: str | None


class TestEvent(msgspec.Struct, forbid_unknown_fields=True):
    """An event as an operator sends it; ``data`` is text, or JSON that becomes text (spec: http-api § 5.1)."""

    # Not a test, though pytest takes the name for one.
    __test__ = False

    name: str
    data: Any


def channel_view(board: Board, app: LiveApp, name: str) -> ChannelView:
    """What there is to say of a channel."""
    kind = META if is_meta(name) else WILDCARD if is_wildcard(name) else channel_kind(name)
    policy = None if app.streams is None or kind in (META, WILDCARD) else app.streams.of(name)
    counts = board.view.channel(app.id, name)
    return ChannelView(
        app.id,
        name,
        kind.label,
        counts.subscriptions > 0,
        counts.subscriptions,
        counts.users if kind.presence else None,
        user_of(name),
        _refusal(app, name),
        kind.encrypted,
        policy is not None and policy.recovery is not None,
        policy is not None and policy.history is not None,
        policy is not None and policy.presence_history is not None and kind.presence,
        kind.cache,
        _cached(board, app, name) if kind.cache else None,
    )


def _refusal(app: LiveApp, name: str) -> str | None:
    limit = app.limits.max_channel_name_length
    try:
        if is_wildcard(name) and not is_meta(name):
            check_pattern(name, max_length=limit)
        else:
            check_channel_name(name.removeprefix(META_PREFIX), max_length=limit, namespaces=app.namespaces)
    except SockudoError as error:
        return error.text
    return None


def _cached(board: Board, app: LiveApp, name: str) -> CachedView | None:
    now = board.clock.monotonic()
    cached = board.view.cached(app.id, name, now)
    if cached is None:
        return None
    return CachedView(cached.frame.event, cached.frame.data, max(1, int(cached.expires_at - now)))


def members(view: HubView, app_id: str, channel: str, paging: Paging) -> Page[MemberRow]:
    """A page of the members of a presence channel, in the order in which they came."""
    entries, total = view.members_page(app_id, channel, paging.start, paging.per_page)
    rows = [
        MemberRow(entry.user_id, msgspec.Raw(entry.user_info), entry.connection_count, entry.socket_ids, entry.lost)
        for entry in entries
    ]
    return Page(rows, total, paging)


def subscribers(view: HubView, app_id: str, channel: str, paging: Paging) -> Page[SubscriberRow]:
    """A page of those who are subscribed."""
    entries, total = view.subscribers_page(app_id, channel, paging.start, paging.per_page)
    rows = [
        SubscriberRow(
            entry.socket_id,
            entry.user_id,
            entry.address,
            entry.format,
            entry.subscription.filter,
            entry.subscription.delta,
        )
        for entry in entries
    ]
    return Page(rows, total, paging)


async def publish(board: Board, app: LiveApp, channel: str, event: TestEvent) -> None:
    """Publishes as the app's backend does, with every check and limit, and waits until it is stored where it has to be.

    Raises what a publish over HTTP is refused with.
    """
    if not app.enabled:
        raise errors.APP_DISABLED()
    body = msgspec.json.encode({"name": event.name, "channel": channel, "data": event.data})
    answer = board.events.publish(app, board.gateway.state(app), body, None, board.clock.monotonic())
    if isinstance(answer, asyncio.Task):
        await asyncio.wait((answer,))
        if answer.cancelled():
            raise errors.DRAINING(retry_after=1)
        answer.result()
