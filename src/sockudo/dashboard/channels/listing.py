"""Which channels there are: searched, in order, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from sockudo.dashboard.paging import Page, Paging
from sockudo.dashboard.selection import select
from sockudo.hub.view import ChannelEntry, HubView
from sockudo.protocol.names import CHANNEL_KINDS

__all__ = ["KINDS", "MATCHES", "SORTS", "ChannelQuery", "ChannelRow", "find_channels"]

Sort = Literal["name", "subscriptions", "users"]
Match = Literal["contains", "prefix"]

KINDS: Final = tuple(kind.label for kind in CHANNEL_KINDS)
SORTS: Final[tuple[Sort, ...]] = ("name", "subscriptions", "users")
MATCHES: Final[tuple[Match, ...]] = ("contains", "prefix")


class ChannelQuery(NamedTuple):
    """What is looked for. Upper and lower case are the same in ``text``: a channel of the wrong case is found, too.

    ``app_id`` and ``kind`` of None stand for all.
    """

    app_id: str | None = None
    text: str = ""
    match: Match = "contains"
    kind: str | None = None
    sort: Sort = "name"


class ChannelRow(msgspec.Struct, frozen=True):
    """One channel of a list. ``user_count`` is None where there are no members, which is not 0 members."""

    app_id: str
    channel: str
    kind: str
    subscription_count: int
    user_count: int | None


async def find_channels(view: HubView, query: ChannelQuery, paging: Paging) -> Page[ChannelRow]:
    """A page of the channels with subscribers; metachannels and patterns are among them."""
    found = await select(view.entries(query.app_id), _key(query), paging.start, paging.per_page)
    return Page([ChannelRow(*entry) for entry in found.items], found.total, paging)


def _key(query: ChannelQuery) -> Callable[[ChannelEntry], tuple[Any, ...] | None]:
    text, kind, prefix = query.text.casefold(), query.kind, query.match == "prefix"

    def wanted(channel: ChannelEntry) -> bool:
        if kind is not None and channel.kind != kind:
            return False
        if not text:
            return True
        name = channel.name.casefold()
        return name.startswith(text) if prefix else text in name

    def by_name(channel: ChannelEntry) -> tuple[Any, ...] | None:
        return (channel.name, channel.app_id) if wanted(channel) else None

    def by_subscriptions(channel: ChannelEntry) -> tuple[Any, ...] | None:
        return (-channel.subscription_count, channel.name, channel.app_id) if wanted(channel) else None

    def by_users(channel: ChannelEntry) -> tuple[Any, ...] | None:
        users = -1 if channel.user_count is None else channel.user_count
        return (-users, channel.name, channel.app_id) if wanted(channel) else None

    return {"name": by_name, "subscriptions": by_subscriptions, "users": by_users}[query.sort]
