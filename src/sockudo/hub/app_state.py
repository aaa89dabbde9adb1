"""What one app has going on this node: its connections, channels, users and traffic."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Reversible
from typing import Final, NamedTuple

from sockudo.hub.cache import ChannelCache
from sockudo.hub.channel import Channel
from sockudo.hub.connection import Connection
from sockudo.hub.delivery import Deliveries
from sockudo.hub.events import ChannelClosed, ChannelOpened, Observers, PredicateFailed, UserChanged, UserWatched
from sockudo.hub.fanout import Listeners
from sockudo.hub.member_list import NOT_LISTED, ListedMembers
from sockudo.hub.outgoing import Outgoing
from sockudo.hub.patterns import Patterns
from sockudo.hub.rollup import Group, settle
from sockudo.hub.streams.replay import ReplayBuffers
from sockudo.hub.traffic import Traffic
from sockudo.hub.users import Users
from sockudo.protocol import frames
from sockudo.protocol.delta import ChannelDeltas, DeltaChannel
from sockudo.protocol.filters import SharedBudget
from sockudo.protocol.formats import V1_JSON
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import META, META_PREFIX, WILDCARD, ChannelKind, channel_kind, is_meta, is_wildcard, user_of

__all__ = ["AppState", "Published"]


NO_DELTA_SETTINGS = ChannelDeltas({})

_DEPARTED: Final = 200


class AppState:
    """The live state of one app. Everything else is derived from it at the moment of asking."""

    __slots__ = (
        "_delta_channels",
        "_filter_budget",
        "_observers",
        "app_id",
        "cache",
        "channels",
        "connections",
        "deltas",
        "departed",
        "hub",
        "metachannels",
        "patterns",
        "replay",
        "rolling",
        "subscription_counts",
        "traffic",
        "users",
    )

    def __init__(self, app_id: str, hub: Deliveries, observers: Observers) -> None:
        self.app_id = app_id
        self.hub = hub
        self._observers = observers
        self.connections: dict[str, Connection] = {}
        # Socket ids of the connections that ended last, newest last: what a client signs with too late is one of them.
        self.departed: deque[str] = deque(maxlen=_DEPARTED)
        # The app's settings of deltas on its channels; replaced when its record is.
        self.deltas = NO_DELTA_SETTINGS
        # By channel with subscribers of differences, by its name or by a pattern.
        self._delta_channels: dict[str, DeltaChannel] = {}
        self.channels: dict[str, Channel] = {}
        # What is subscribed to and never published to: channels about channels, and patterns.
        self.metachannels: dict[str, Channel] = {}
        self.patterns = Patterns(self)
        self.users = Users(self._user_changed, self._user_watched)
        self.cache = ChannelCache(hub.options.cache_ttl, hub.options.cache_capacity)
        self.replay = ReplayBuffers()
        # Appends to messages that are delivered together, by channel and by pace.
        self.rolling: dict[str, dict[int, Group]] = {}
        self.traffic = Traffic()
        self._filter_budget = SharedBudget()
        # Whether subscribers get their number; the app opts in.
        self.subscription_counts = False

    def _user_changed(self, user_id: str, online: bool) -> None:
        self._observers.emit(UserChanged(self.app_id, user_id, online))

    def _user_watched(self, user_id: str, watched: bool) -> None:
        self._observers.emit(UserWatched(self.app_id, user_id, watched))

    def channel(self, name: str) -> Channel:
        """The channel of this name, made when it is missing; also a metachannel or a pattern."""
        channel = self.channels.get(name)
        if channel is not None:
            return channel
        channel = self.find(name)
        if channel is None:
            if is_wildcard(name) and not is_meta(name):
                channel = Channel(name, WILDCARD, self)
                self.patterns.add(channel)
            else:
                kind, shelf = self._place(name)
                channel = shelf[name] = Channel(name, kind, self)
            if self._observers.of(ChannelOpened):
                self._observers.emit(ChannelOpened(self.app_id, name, channel.kind))
        return channel

    def find(self, name: str) -> Channel | None:
        """The channel of this name if there is one; also a metachannel or a pattern."""
        if is_wildcard(name) and not is_meta(name):
            return self.patterns.get(name)
        return self._place(name)[1].get(name)

    def everything(self) -> list[Channel]:
        """All channels, metachannels and patterns, as they are now."""
        return [*self.channels.values(), *self.metachannels.values(), *self.patterns.channels.values()]

    def _place(self, name: str) -> tuple[ChannelKind, dict[str, Channel]]:
        return (META, self.metachannels) if is_meta(name) else (channel_kind(name), self.channels)

    def predicate_failed(self, reason: str, predicate_id: str) -> None:
        """An expression could not be asked of a message, which counts as no match."""
        self.traffic.predicate_errors[reason] += 1
        self._observers.emit(PredicateFailed(self.app_id, reason, predicate_id))

    def filter_budget(self, frame: Frame) -> SharedBudget:
        """The work that is left for expressions on this frame, in all of its subscriptions."""
        self._filter_budget.begin(frame, self.hub.options.filter_work)
        return self._filter_budget

    def drop_if_empty(self, channel: Channel) -> None:
        """Forgets a channel without subscribers and members."""
        if not channel.occupied and not channel.presence:
            if channel.kind is WILDCARD:
                self.patterns.remove(channel.name)
            else:
                self._place(channel.name)[1].pop(channel.name, None)
                self.drop_delta_channel(channel.name)
            if self._observers.of(ChannelClosed):
                self._observers.emit(ChannelClosed(self.app_id, channel.name, channel.kind))

    def delta_channel(self, name: str) -> DeltaChannel:
        """What all delta tracks of a channel have in common, in all of its subscriptions."""
        found = self._delta_channels.get(name)
        if found is None:
            found = DeltaChannel(self.hub.delta_node, self.app_id, name, self.deltas.of(name))
            self._delta_channels[name] = found
        return found

    def drop_delta_channel(self, name: str) -> None:
        """Forgets it when the channel is gone and no pattern's subscribers get differences of it."""
        found = self._delta_channels.get(name)
        if found is not None and not found.members and name not in self.channels:
            del self._delta_channels[name]

    def occupied(self) -> dict[str, Channel]:
        """The channels with at least one subscriber."""
        return {name: channel for name, channel in self.channels.items() if channel.occupied}

    def connections_of(self, user_id: str) -> set[Connection]:
        """Every connection of a user: signed in as it, or not signed in and its member (spec: http-api § 8.1)."""
        found = set(self.users.connections(user_id))
        for channel in self.channels.values():
            member = channel.presence.get(user_id) if channel.presence is not None else None
            if member is not None:
                found.update(connection for connection in member.connections if connection.user is None)
        return found

    def interrupt(self, frame: Frame) -> None:
        """Delivers a frame about positions of its channel to all that get any, by the channel or by a pattern."""
        name = frame.channel or ""
        settle(self, name)
        message = Outgoing(frame, tags=False)
        user_id = user_of(name)
        for connection in () if user_id is None else self.users.connections(user_id):
            if connection.shape.format is not V1_JSON:
                connection.write(message.encoded(connection.shape))
        channel = self.channels.get(name)
        listening = () if channel is None else set(channel.subscribers())
        for place, exclude in ((channel, ()), *((pattern, listening) for pattern in self.patterns.matching(name))):
            for fanout in () if place is None else tuple(place.fanouts.values()):
                if fanout.shape.format is not V1_JSON:
                    fanout.say(message, exclude)

    # ---- messages that change ----

    def deliver_change(self, frame: Frame, whole: Frame | None, pace: int | None) -> None:
        """Delivers a version of a message to all, or to those of one pace; see `Channel.append_change`."""
        channel = self.channels.get(frame.channel or "")
        if channel is not None and channel.fanouts:
            channel.append_change(frame, whole, pace)
        if self.patterns:
            self.patterns.append_change(frame, channel, whole, pace)

    def wants_whole(self, name: str) -> bool:
        """Whether a subscriber of the channel wants all of a message's text with an append to it."""
        channel = self.channels.get(name)
        if channel is not None and channel.wants_whole:
            return True
        return bool(self.patterns) and any(pattern.wants_whole for pattern in self.patterns.matching(name))

    def paces(self, name: str) -> set[int]:
        """In which intervals those who hear a channel get appends to its messages, in milliseconds."""
        channel = self.channels.get(name)
        found = set() if channel is None else channel.paces
        for pattern in self.patterns.matching(name) if self.patterns else ():
            found |= pattern.paces
        return found

    def settle(self, channel: Listeners[Connection]) -> None:
        """Delivers what waits of a channel, or of all that a pattern may match, before someone comes or goes there."""
        for name in tuple(self.rolling) if channel.kind is WILDCARD else (channel.name,):
            settle(self, name)

    # ---- channels about channels ----

    def _about(self, name: str) -> Channel | None:
        """The metachannel of a channel, if anyone is subscribed to it."""
        return self.metachannels.get(f"{META_PREFIX}{name}") if self.metachannels else None

    def tell_meta(self, channel: str, event: str, **about: str | int) -> None:
        """Reports on a channel's metachannel, if anyone is subscribed to that."""
        metachannel = self._about(channel)
        if metachannel is not None:
            metachannel.append(frames.meta_event(event, channel, **about))

    def tell_meta_of_join(self, channel: Channel) -> None:
        """Reports one subscription more."""
        metachannel = self._about(channel.name)
        if metachannel is not None:
            count = channel.subscription_count + metachannel.elsewhere
            self._tell_meta_of_count(channel.name, count - 1, count)

    def tell_meta_of_leave(self, channel: Channel) -> None:
        """Reports one subscription less."""
        metachannel = self._about(channel.name)
        if metachannel is not None:
            count = channel.subscription_count + metachannel.elsewhere
            self._tell_meta_of_count(channel.name, count + 1, count)

    def count_elsewhere(self, name: str, count: int) -> None:
        """Reports how many subscriptions the channel of this name has on other nodes from now on."""
        metachannel, channel = self._about(name), self.channels.get(name)
        if metachannel is not None:
            known, metachannel.elsewhere = metachannel.elsewhere, count
            here = 0 if channel is None else channel.subscription_count
            self._tell_meta_of_count(name, here + known, here + count)

    def _tell_meta_of_count(self, name: str, before: int, count: int) -> None:
        if before == count:
            return
        if before == 0:
            self.tell_meta(name, "channel_occupied", subscription_count=count)
        self.tell_meta(name, "subscription_count" if count else "channel_vacated", subscription_count=count)

    # ---- questions about connections, users and messages ----

    @property
    def connection_count(self) -> int:
        """Connections of the app on this node."""
        return len(self.connections)

    def all_connections(self) -> Iterable[Connection]:
        """The connections; they must not change while they are walked."""
        return self.connections.values()

    def socket_ids(self) -> Reversible[str]:
        """Socket ids of the connections, oldest first; they must not change while they are walked."""
        return self.connections

    def connections_signed_in(self, user_id: str) -> Iterable[Connection]:
        """The connections that are signed in as the user."""
        return self.users.connections(user_id)

    def user_ids(self) -> list[str]:
        """The users who are signed in."""
        return list(self.users)

    def watched_users(self) -> Iterable[str]:
        """The users who are on a watchlist here."""
        return self.users.watched()

    def user_elsewhere(self, user_id: str, *, online: bool) -> None:
        """See `sockudo.hub.users.Users.change_elsewhere`."""
        self.users.change_elsewhere(user_id, online=online)

    def sign_in(self, connection: Connection, user_id: str, user_info: bytes, watchlist: tuple[str, ...]) -> None:
        """See `sockudo.hub.users.Users.sign_in`."""
        self.users.sign_in(connection, user_id, user_info, watchlist)

    def connection(self, socket_id: str | None) -> Connection | None:
        """The connection with this socket id, if it is there."""
        return None if socket_id is None else self.connections.get(socket_id)

    def subscription_count(self, channel: str) -> int:
        """Subscriptions of a channel by its name; patterns do not count."""
        found = self.channels.get(channel)
        return 0 if found is None else found.subscription_count

    def members(self, channel: str) -> ListedMembers:
        """The member list of a presence channel; an empty one of another channel."""
        found = self.channels.get(channel)
        return NOT_LISTED if found is None or found.presence is None else found.presence.listed()

    def matches_pattern(self, channel: str) -> bool:
        """Whether a pattern that someone is subscribed to matches the channel."""
        return bool(self.patterns) and any(True for _ in self.patterns.matching(channel))

    def subscription_of(self, connection: Connection, channel: str) -> str | None:
        """What the connection hears the channel by: its name, or a pattern that matches it; None for neither."""
        if channel in connection.channels:
            return channel
        matching = self.patterns.matching(channel) if self.patterns else ()
        return next((pattern.name for pattern in matching if pattern.name in connection.channels), None)

    def recipients(self, channel: str, exclude: str | None) -> int:
        """How many connections a message on the channel is delivered to, besides one socket."""
        count = self.subscription_count(channel)
        excluded = self.connection(exclude)
        if excluded is not None:
            count -= channel in excluded.channels
        if self.patterns:
            others = {one for pattern in self.patterns.matching(channel) for one in pattern.subscribers()}
            count += sum(channel not in one.channels and one is not excluded for one in others)
        return count


class Published(NamedTuple):
    """A message is about to be delivered. ``sender`` and ``exclude`` are sockets; a backend's message has no sender.

    ``received``: it was accepted by another node, which has an event of its own.
    """

    state: AppState
    frame: Frame
    exclude: str | None
    sender: str | None
    received: bool = False
