"""What the rest of the server may know of the hub: values, never its live objects.

The counts that only grow (`Traffic`) are shared as they are, for reading. Pages have a start and a length; what they
are taken from is walked no further than to their end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple, overload

import msgspec

from sockudo.cluster.directory import NOTHING, ChannelCounts
from sockudo.hub.cache import CachedEvent
from sockudo.hub.channel import Channel
from sockudo.hub.connection import Connection
from sockudo.hub.fanout import Fanout
from sockudo.hub.gate import Gate
from sockudo.hub.hub import Hub
from sockudo.hub.traffic import Traffic

__all__ = [
    "AppCounts",
    "ChannelEntries",
    "ChannelEntry",
    "FilterView",
    "HubView",
    "MemberEntry",
    "SubscriberEntry",
    "SubscriptionEntry",
    "shown_user",
    "subscription_entry",
]

_SOCKETS_OF_MEMBER = 20


class AppCounts(NamedTuple):
    """What an app has on this node. Channels are those with subscribers; members are distinct users of each."""

    connections: int = 0
    signed_in: int = 0
    users: int = 0
    channels: int = 0
    subscriptions: int = 0
    presence_channels: int = 0
    presence_subscriptions: int = 0
    presence_members: int = 0


class ChannelEntry(NamedTuple):
    """One channel, metachannel or pattern; ``user_count`` is None where there are no members."""

    app_id: str
    name: str
    kind: str
    subscription_count: int
    user_count: int | None


class MemberEntry(NamedTuple):
    """A member of a presence channel by connections of this node; ``socket_ids`` are the first of them.

    ``lost``: the last connection was lost without a goodbye, and the member is kept for a while. ``user_info`` is JSON
    text.
    """

    user_id: str
    user_info: bytes
    connection_count: int
    socket_ids: list[str]
    lost: bool


class FilterView(msgspec.Struct, frozen=True):
    """Which messages a subscription wants: by event name, by tags in their normal form, by an expression.

    ``given_up``: the expression took too long too often, and matches nothing any more.
    """

    id: str
    events: list[str]
    tags: Any
    expression: str | None
    given_up: bool


class SubscriptionEntry(msgspec.Struct, frozen=True):
    """``user_id`` is that of the member of a presence channel; ``delta`` the format of differences, None for none.

    ``catching_up``: the past is being sent, and what is published now is held back until then.
    """

    channel: str
    kind: str
    user_id: str | None
    filter: FilterView | None
    delta: str | None
    catching_up: bool


class SubscriberEntry(NamedTuple):
    """A connection that is subscribed. ``user_id`` is that of the channel's member, else of the signed-in user."""

    socket_id: str
    user_id: str | None
    address: str
    format: str
    subscription: SubscriptionEntry


class ChannelEntries(Sequence[ChannelEntry]):
    """All channels at one moment; an entry is made when it is asked for, and shows the state at that moment."""

    def __init__(self, channels: list[Channel]) -> None:
        self._channels = channels

    def __len__(self) -> int:
        return len(self._channels)

    @overload
    def __getitem__(self, place: int) -> ChannelEntry: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[ChannelEntry]: ...
    def __getitem__(self, place: int | slice) -> ChannelEntry | Sequence[ChannelEntry]:
        if isinstance(place, slice):
            return [_entry(channel) for channel in self._channels[place]]
        return _entry(self._channels[place])


class HubView:
    """The hub as values; its counts, channels and members are this node's half of the `Directory`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    # ---- of the node ----

    def totals(self) -> tuple[int, int]:
        """Connections and channels of all apps."""
        states = self._hub.apps.values()
        return self._hub.connection_count(), sum(len(state.channels) for state in states)

    def traffic(self) -> list[tuple[str, Traffic]]:
        """What has passed on each app."""
        return [(app_id, state.traffic) for app_id, state in self._hub.apps.items()]

    def connection_counts(self) -> list[tuple[str, int]]:
        """Connections of each app."""
        return [(app_id, len(state.connections)) for app_id, state in self._hub.apps.items()]

    # ---- of an app ----

    def connection_count(self, app_id: str) -> int:
        """Connections of one app."""
        state = self._hub.apps.get(app_id)
        return 0 if state is None else len(state.connections)

    def counts(self, app_id: str) -> AppCounts:
        """Everything that an app has, counted; takes a look at each connection and each channel."""
        state = self._hub.apps.get(app_id)
        if state is None:
            return AppCounts()
        channels = [channel for channel in state.channels.values() if channel.occupied]
        presence = [(channel, channel.presence) for channel in channels if channel.presence is not None]
        return AppCounts(
            connections=len(state.connections),
            signed_in=sum(connection.user is not None for connection in state.connections.values()),
            users=len(state.users),
            channels=len(channels),
            subscriptions=sum(channel.subscription_count for channel in channels),
            presence_channels=len(presence),
            presence_subscriptions=sum(channel.subscription_count for channel, _ in presence),
            presence_members=sum(len(members) for _, members in presence),
        )

    def occupied_kinds(self, app_id: str) -> Counter[str]:
        """How many channels of each kind have subscribers."""
        state = self._hub.apps.get(app_id)
        return (
            Counter() if state is None else Counter(one.kind.label for one in state.channels.values() if one.occupied)
        )

    def names(self, app_id: str, prefix: str = "") -> Sequence[str]:
        """The names of occupied channels that start with ``prefix``."""
        state = self._hub.apps.get(app_id)
        if state is None:
            return ()
        occupied = [name for name, channel in state.channels.items() if channel.fanouts]
        return [name for name in occupied if name.startswith(prefix)] if prefix else occupied

    def channels(self, app_id: str, prefix: str = "") -> dict[str, ChannelCounts]:
        """The occupied channels whose name starts with ``prefix``."""
        state = self._hub.apps.get(app_id)
        if state is None:
            return {}
        return {
            name: _counts(channel)
            for name, channel in state.channels.items()
            if channel.occupied and name.startswith(prefix)
        }

    def entries(self, app_id: str | None = None) -> ChannelEntries:
        """All channels, metachannels and patterns, of one app or of all."""
        states = [state for state in self._hub.apps.values() if app_id in (None, state.app_id)]
        return ChannelEntries([channel for state in states for channel in state.everything()])

    # ---- of a channel ----

    def channel(self, app_id: str, name: str) -> ChannelCounts:
        """The counts of one channel. A channel that only holds a member in its grace period counts that."""
        channel = self._channel(app_id, name)
        return NOTHING if channel is None else _counts(channel)

    def members(self, app_id: str, name: str) -> Sequence[str]:
        """The users of a presence channel, in the order in which they came."""
        channel = self._channel(app_id, name)
        return () if channel is None or channel.presence is None else tuple(channel.presence.infos())

    def members_page(self, app_id: str, name: str, start: int, length: int) -> tuple[list[MemberEntry], int]:
        """Members by connections of this node, in the order in which they came, and how many there are."""
        channel = self._channel(app_id, name)
        members = () if channel is None else channel.presence or ()
        page = [
            MemberEntry(
                member.user_id,
                member.user_info,
                len(member.connections),
                [connection.socket_id for connection in islice(member.connections, _SOCKETS_OF_MEMBER)],
                not member.connections,
            )
            for member in islice(members, start, start + length)
        ]
        return page, len(members)

    def subscribers_page(self, app_id: str, name: str, start: int, length: int) -> tuple[list[SubscriberEntry], int]:
        """Connections that are subscribed, and how many there are."""
        channel = self._channel(app_id, name)
        if channel is None:
            return [], 0
        page = [_subscriber(channel, connection) for connection in islice(channel.subscribers(), start, start + length)]
        return page, channel.subscription_count

    def cached(self, app_id: str, name: str, now: float) -> CachedEvent | None:
        """The event that a cache channel gives to a new subscriber."""
        state = self._hub.apps.get(app_id)
        return None if state is None else state.cache.get(name, now)

    def _channel(self, app_id: str, name: str) -> Channel | None:
        state = self._hub.apps.get(app_id)
        return None if state is None else state.find(name)


def subscription_entry(connection: Connection, fanout: Fanout[Connection]) -> SubscriptionEntry:
    """The subscription that puts the connection there."""
    channel, wants = fanout.channel, fanout.wants
    predicate = wants.predicate
    shown = None
    if predicate is not None:
        events, tags, expression = msgspec.json.decode(predicate.text)
        shown = FilterView(predicate.id, events, tags, expression, predicate.tripped)
    return SubscriptionEntry(
        channel.name,
        channel.kind.label,
        connection.members.get(channel.name) if connection.members is not None else None,
        shown,
        None if wants.delta is None else str(wants.delta),
        isinstance(fanout, Gate),
    )


def shown_user(connection: Connection) -> str | None:
    """The signed-in user, else that of a presence channel; None for neither."""
    if connection.user is not None:
        return connection.user.user_id
    return next(iter(connection.members.values()), None) if connection.members else None


def _counts(channel: Channel) -> ChannelCounts:
    return ChannelCounts(channel.subscription_count, 0 if channel.presence is None else channel.presence.user_count)


def _entry(channel: Channel) -> ChannelEntry:
    return ChannelEntry(
        channel.app.app_id,
        channel.name,
        channel.kind.label,
        channel.subscription_count,
        None if channel.presence is None else len(channel.presence),
    )


def _subscriber(channel: Channel, connection: Connection) -> SubscriberEntry:
    subscription = subscription_entry(connection, connection.channels[channel.name])
    user_id = subscription.user_id if subscription.user_id is not None else shown_user(connection)
    return SubscriberEntry(connection.socket_id, user_id, connection.peer.address, connection.shape.label, subscription)
