"""One channel: what it is, who is in it, what its cache holds, and a test event for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.cluster.items import Request
from sockudo.cluster.nodes import Nodes, ask_all
from sockudo.dashboard.everywhere import Part, Row, encode_rows, page_of_all
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
    "ListMembers",
    "ListSubscribers",
    "MemberRow",
    "ShowChannel",
    "SubscriberRow",
    "TestEvent",
    "channel_view",
    "members",
    "own_channel",
    "own_members",
    "own_subscribers",
    "publish",
    "subscribers",
]


class CachedView(msgspec.Struct, frozen=True):
    """The event that a cache channel gives to a new subscriber, with its data as clients get it."""

    event: str
    data: str | msgspec.Raw | None
    expires_in_seconds: int


class ChannelView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One channel, subscribed to or not.

    ``refused`` is why a channel of this name cannot be subscribed to; None for a name that is allowed. ``user_count``
    is None for what has no members, and ``user_id`` the user of a channel to one user. ``history``,
    ``presence_history`` and ``recovery`` say what is kept of it. ``nodes`` has the subscriptions of each node, and
    ``complete`` is False when one did not answer, where there can be several.
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
    complete: bool | None = None
    nodes: dict[str, int] | None = None


class _Own(msgspec.Struct):
    """What a node has of a channel: of its cached event the name, the data as text or as JSON text, and the life."""

    subscriptions: int
    users: int
    event: str | None = None
    text: str | None = None
    json: str | None = None
    expires_in_seconds: int = 0

    @property
    def cache(self) -> CachedView | None:
        """The cached event."""
        if self.event is None:
            return None
        data = self.text if self.json is None else msgspec.Raw(self.json.encode())
        return CachedView(self.event, data, self.expires_in_seconds)


class ShowChannel(Request, frozen=True, tag="show_channel"):
    """Asks a node what it has of a channel; the answer is JSON text."""

    reply: ClassVar = bytes

    app_id: str
    name: str


class ListSubscribers(Part, frozen=True, tag="list_subscribers"):
    """Asks a node for its connections that are subscribed to a channel, in the order in which they came."""

    app_id: str
    name: str


class ListMembers(Part, frozen=True, tag="list_members"):
    """Asks a node for the members of a presence channel by its own connections, in the order in which they came."""

    app_id: str
    name: str


class MemberRow(Row, frozen=True, kw_only=True):
    """A member of a presence channel. ``socket_ids`` are the first of its connections.

    ``lost``: its last connection was lost without a goodbye, and it is kept for a while in case it comes back.
    """

    user_id: str
    user_info: msgspec.Raw
    connection_count: int
    socket_ids: list[str]
    lost: bool


class SubscriberRow(Row, frozen=True, kw_only=True):
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


async def channel_view(board: Board, app: LiveApp, name: str) -> ChannelView:
    """What there is to say of a channel, on all nodes."""
    kind = META if is_meta(name) else WILDCARD if is_wildcard(name) else channel_kind(name)
    policy = None if app.streams is None or kind in (META, WILDCARD) else app.streams.of(name)
    answered = await ask_all(board.nodes, ShowChannel(app.id, name), _Own)
    parts: list[_Own] = [part for _, part in answered.values]
    subscriptions = sum(part.subscriptions for part in parts)
    return ChannelView(
        app.id,
        name,
        kind.label,
        subscriptions > 0,
        subscriptions,
        max((part.users for part in parts), default=0) if kind.presence else None,
        user_of(name),
        _refusal(app, name),
        kind.encrypted,
        policy is not None and policy.recovery is not None,
        policy is not None and policy.history is not None,
        policy is not None and policy.presence_history is not None and kind.presence,
        kind.cache,
        next((part.cache for part in parts if part.cache is not None), None) if kind.cache else None,
        answered.complete,
        {node: part.subscriptions for node, part in answered.values} if board.nodes.several else None,
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


async def members(nodes: Nodes, app_id: str, channel: str, paging: Paging) -> Page[MemberRow]:
    """A page of the members of a presence channel; a user with connections to several nodes is there once for each."""
    return await page_of_all(nodes, paging, lambda start, count: ListMembers(start, count, app_id, channel), MemberRow)


async def subscribers(nodes: Nodes, app_id: str, channel: str, paging: Paging) -> Page[SubscriberRow]:
    """A page of those who are subscribed."""
    return await page_of_all(
        nodes, paging, lambda start, count: ListSubscribers(start, count, app_id, channel), SubscriberRow
    )


# ---- what a node answers ----


def own_channel(view: HubView, now: float, asked: ShowChannel) -> bytes:
    """What this node has of a channel."""
    own = _Own(*view.channel(asked.app_id, asked.name))
    cached = view.cached(asked.app_id, asked.name, now)
    if cached is not None:
        data = cached.frame.data
        own.event, own.expires_in_seconds = cached.frame.event, max(1, int(cached.expires_at - now))
        if isinstance(data, msgspec.Raw):
            own.json = bytes(data).decode()
        else:
            own.text = data
    return msgspec.json.encode(own)


def own_members(view: HubView, asked: ListMembers) -> bytes:
    """Members by connections of this node."""
    entries, total = view.members_page(asked.app_id, asked.name, asked.start, asked.count)
    rows = [
        MemberRow(
            user_id=entry.user_id,
            user_info=msgspec.Raw(entry.user_info),
            connection_count=entry.connection_count,
            socket_ids=entry.socket_ids,
            lost=entry.lost,
        )
        for entry in entries
    ]
    return encode_rows(rows, total)


def own_subscribers(view: HubView, asked: ListSubscribers) -> bytes:
    """Connections of this node."""
    entries, total = view.subscribers_page(asked.app_id, asked.name, asked.start, asked.count)
    rows = [
        SubscriberRow(
            socket_id=entry.socket_id,
            user_id=entry.user_id,
            address=entry.address,
            format=entry.format,
            filter=entry.subscription.filter,
            delta=entry.subscription.delta,
        )
        for entry in entries
    ]
    return encode_rows(rows, total)


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
