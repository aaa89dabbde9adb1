"""Which channels there are: searched, in order, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from sockudo.cluster.nodes import Nodes, ask_all
from sockudo.dashboard.everywhere import Part, Rows, encode_rows
from sockudo.dashboard.paging import Page, Paging, Turns, select
from sockudo.hub.view import ChannelEntry, HubView
from sockudo.protocol.names import CHANNEL_KINDS

__all__ = ["KINDS", "MATCHES", "SORTS", "ChannelQuery", "ChannelRow", "ListChannels", "find_channels", "own_channels"]

# Channels that a node sends where they have to be merged with those of others.
_MOST: Final = 10_000

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


class ListChannels(Part, frozen=True, tag="list_channels"):
    """Asks a node for its channels with subscribers; metachannels and patterns are among them."""

    query: ChannelQuery


async def find_channels(nodes: Nodes, query: ChannelQuery, paging: Paging) -> Page[ChannelRow]:
    """A page of the channels of all nodes; of several nodes each sends its first 10,000."""
    if len(nodes.names()) == 1:
        answered = await ask_all(nodes, ListChannels(paging.start, paging.per_page, query), Rows[ChannelRow])
        [(_, part)] = answered.values
        return Page(part.rows, part.total, paging, answered.complete)
    answered = await ask_all(nodes, ListChannels(0, _MOST, query), Rows[ChannelRow])
    merged: dict[tuple[str, str], ChannelRow] = {}
    turns, complete = Turns(), answered.complete
    for _, part in answered.values:
        complete = complete and part.total == len(part.rows)
        for row in part.rows:
            known = merged.get((row.app_id, row.channel))
            merged[row.app_id, row.channel] = row if known is None else _sum(known, row)
        await turns.next()
    found = await select(list(merged.values()), _key(query), paging.start, paging.per_page)
    return Page(found.items, found.total, paging, complete)


async def own_channels(view: HubView, asked: ListChannels) -> bytes:
    """What this node answers."""
    found = await select(view.entries(asked.query.app_id), _key(asked.query), asked.start, asked.count)
    return encode_rows([ChannelRow(*entry) for entry in found.items], found.total)


def _sum(one: ChannelRow, other: ChannelRow) -> ChannelRow:
    """Of two nodes: each that has subscribers knows the users of all."""
    users = None if one.user_count is None else max(one.user_count, other.user_count or 0)
    return ChannelRow(one.app_id, one.channel, one.kind, one.subscription_count + other.subscription_count, users)


def _key(query: ChannelQuery) -> Callable[[ChannelEntry | ChannelRow], tuple[Any, ...] | None]:
    text, kind, prefix = query.text.casefold(), query.kind, query.match == "prefix"

    def wanted(channel: ChannelEntry | ChannelRow) -> bool:
        if kind is not None and channel.kind != kind:
            return False
        if not text:
            return True
        name = _name(channel).casefold()
        return name.startswith(text) if prefix else text in name

    def by_name(channel: ChannelEntry | ChannelRow) -> tuple[Any, ...] | None:
        return (_name(channel), channel.app_id) if wanted(channel) else None

    def by_subscriptions(channel: ChannelEntry | ChannelRow) -> tuple[Any, ...] | None:
        return (-channel.subscription_count, _name(channel), channel.app_id) if wanted(channel) else None

    def by_users(channel: ChannelEntry | ChannelRow) -> tuple[Any, ...] | None:
        users = -1 if channel.user_count is None else channel.user_count
        return (-users, _name(channel), channel.app_id) if wanted(channel) else None

    return {"name": by_name, "subscriptions": by_subscriptions, "users": by_users}[query.sort]


def _name(channel: ChannelEntry | ChannelRow) -> str:
    return channel.name if isinstance(channel, ChannelEntry) else channel.channel
