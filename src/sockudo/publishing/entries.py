"""This node's side of the rosters: its hub's members, counts and users go out, those of other nodes come in
(spec: platform § 10.5)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from sockudo.cluster.items import patterns_topic
from sockudo.cluster.ports import Bus, Membership, NodeChange
from sockudo.hub import Channel, Hub
from sockudo.hub.events import (
    ChannelClosed,
    ChannelOpened,
    EntryChanged,
    Subscribed,
    Unsubscribed,
    UserChanged,
    UserWatched,
)
from sockudo.protocol.names import META, USER_CHANNEL_PREFIX, WILDCARD, ChannelKind
from sockudo.publishing.metachannels import place_about
from sockudo.publishing.roster_items import COUNT, RosterChange
from sockudo.publishing.rosters import SCRUB_SECONDS, Reason, Rosters
from sockudo.publishing.topics import Place, Topics, user_place

__all__ = ["HubEntries", "LocalEntries"]

# Counts up to this are sent at the end of the turn, larger ones once a second.
_COUNT_AT_ONCE: Final = 100
# Members of another node that are reported to subscribers in one turn.
_MEMBERS: Final = 250
_SIGNED_IN: Final = b"1"
# Channels that are counted for other nodes alone, and the seconds after which they count as unused.
_MOST_WANTED: Final = 20_000
_WANTED_FOR: Final = 3 * SCRUB_SECONDS
# Seconds that a first subscriber waits for other nodes, and that what was made ready for it is kept.
_READY_WITHIN: Final = 2.0
_KEPT_READY: Final = 1.0


_T = TypeVar("_T")

Slice = tuple[Channel, str, Mapping[str, bytes], Collection[str]]
"""Some changes of members of a channel, on one node: what it put, and who it removed."""


def _members(entries: Mapping[str, _T]) -> Mapping[str, _T]:
    """The entries without that of the count."""
    if COUNT not in entries:
        return entries
    return {user_id: value for user_id, value in entries.items() if user_id != COUNT}


def _batches(keys: Iterable[str], most: int) -> Iterator[tuple[str, ...]]:
    left = iter(keys)
    while some := tuple(islice(left, most)):
        yield some


class HubEntries:
    """The entries of this node, read from its hub. ``counted`` says whether the channels of an app are counted."""

    def __init__(self, hub: Hub, counted: Callable[[str], bool], now: Callable[[], float]) -> None:
        self._hub = hub
        self._counted = counted
        self._now = now
        # Channels that are counted all the same, as another node asks for it, and until when unless it asks again.
        self._wanted: dict[Place, float] = {}

    def want_count(self, place: Place) -> bool:
        now = self._now()
        counted = self.counts(place)
        if len(self._wanted) >= _MOST_WANTED and place not in self._wanted:
            self._wanted = {each: until for each, until in self._wanted.items() if until > now}
        if len(self._wanted) < _MOST_WANTED or place in self._wanted:
            self._wanted[place] = now + _WANTED_FOR
        return not counted and self.count(place) > 0

    def counts(self, place: Place) -> bool:
        """Whether the subscriptions of a channel are counted for other nodes."""
        return self._counted(place.app_id) or self._wanted.get(place, 0.0) > self._now()

    def channel(self, place: Place) -> Channel | None:
        """The channel of a place, if it is open here."""
        state = self._hub.find(place.app_id)
        return None if state is None else state.find(place.name)

    def has_roster(self, app_id: str, kind: ChannelKind) -> bool:
        """Whether channels of this kind have a roster."""
        return kind.presence or (kind is not META and kind is not WILDCARD and self._counted(app_id))

    def entries(self, place: Place) -> dict[str, bytes]:
        if place.name.startswith(USER_CHANNEL_PREFIX):
            return {COUNT: _SIGNED_IN} if self._is_signed_in(place) else {}
        channel = self.channel(place)
        if channel is None:
            return {}
        found = {member.user_id: member.user_info for member in channel.presence or ()}
        count = self.count(place)
        return found | {COUNT: b"%d" % count} if count else found

    def any(self, place: Place) -> bool:
        if place.name.startswith(USER_CHANNEL_PREFIX):
            return self._is_signed_in(place)
        channel = self.channel(place)
        return channel is not None and bool(channel.presence or self.count(place))

    def info(self, place: Place, user_id: str) -> bytes | None:
        channel = self.channel(place)
        member = channel.presence.get(user_id) if channel is not None and channel.presence is not None else None
        return None if member is None else member.user_info

    def count(self, place: Place) -> int:
        if place.name.startswith(USER_CHANNEL_PREFIX):
            return int(self._is_signed_in(place))
        channel = self.channel(place)
        return channel.subscription_count if channel is not None and self.counts(place) else 0

    def _is_signed_in(self, place: Place) -> bool:
        state = self._hub.find(place.app_id)
        return state is not None and bool(state.connections_signed_in(place.name.removeprefix(USER_CHANNEL_PREFIX)))


class LocalEntries:
    """Tells other nodes of what changes here, and the hub of what changes there, once this node is joined with any."""

    def __init__(
        self, bus: Bus, membership: Membership, topics: Topics, rosters: Rosters, hub: Hub, own: HubEntries
    ) -> None:
        self._bus = bus
        self._membership = membership
        self._topics = topics
        self._rosters = rosters
        self._hub = hub
        self._own = own
        self._joined = False
        self._counts: dict[Place, None] = {}
        # How many members are reported to subscribers here in one turn, and what waits for the next ones.
        self.members_in_turn = _MEMBERS
        self._untold: dict[Place, deque[Slice]] = {}
        self._timers: set[asyncio.Handle] = set()
        rosters.changed.append(self._changed_elsewhere)
        membership.watch(self._nodes_changed)
        self._join()

    def close(self) -> None:
        """Ends what waits for its time."""
        for timer in self._timers:
            timer.cancel()
        self._untold.clear()

    def _nodes_changed(self, _change: NodeChange) -> None:
        self._join()

    def _join(self) -> None:
        if self._joined or (self._bus.alone and not self._bus.networked):
            return
        self._joined = True
        observers = self._hub.observers
        observers.add(ChannelOpened, self._opened)
        observers.add(ChannelClosed, self._closed)
        observers.add(EntryChanged, self._entry_changed)
        observers.add(Subscribed, self._count_changed)
        observers.add(Unsubscribed, self._count_changed)
        observers.add(UserChanged, self._user_changed)
        observers.add(UserWatched, self._user_watched)
        for state in self._hub.states():
            for channel in state.everything():
                self._opened(ChannelOpened(state.app_id, channel.name, channel.kind))
                place = Place(state.app_id, channel.name)
                if self._own.any(place):
                    self._rosters.change_own(place, self._own.entries(place), {})
            for user_id in state.user_ids():
                self._user_changed(UserChanged(state.app_id, user_id, online=True))
            for user_id in state.watched_users():
                self._user_watched(UserWatched(state.app_id, user_id, watched=True))

    # ---- before a subscription ----

    def prepare(self, app_id: str, name: str, kind: ChannelKind) -> Callable[[], Awaitable[None]] | None:
        """What has to end before a subscription here is acknowledged; None for nothing, as nearly always.

        From its end on what any node publishes there arrives, and of a presence channel all members are known. A node
        that cannot be reached is waited for no longer than two seconds.
        """
        if not self._joined or self._bus.alone or self._membership.deaf:
            return None
        place = place_about(app_id, name) if kind is META else Place(app_id, name)
        topic = patterns_topic(app_id) if kind is WILDCARD else place.topic
        # Inside a process a subscription holds at once.
        in_force = not self._bus.networked or (topic in self._topics and self._topics.confirmed(topic) is None)
        roster = place if kind.presence or kind is META else None
        reason: Reason = "meta" if kind is META else "prepared"
        if in_force and (roster is None or self._rosters.knows(roster, reason if kind is META else None)):
            return None
        return partial(self._prepared, topic, roster, reason)

    async def _prepared(self, topic: str, roster: Place | None, reason: Reason) -> None:
        confirmed = self._topics.want(topic)
        if roster is not None:
            self._rosters.watch(roster, reason)
        try:
            async with asyncio.timeout(_READY_WITHIN):
                if confirmed is not None:
                    await asyncio.shield(confirmed)
                completed = self._rosters.completed(roster) if roster is not None else None
                if completed is not None:
                    await completed
        except TimeoutError:
            # What is missing comes later, as a change.
            pass
        finally:
            self._later(_KEPT_READY, lambda: self._release(topic, roster, reason))

    def _release(self, topic: str, roster: Place | None, reason: Reason) -> None:
        self._topics.unwant(topic)
        if roster is not None:
            self._rosters.unwatch(roster, reason)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    # ---- what changes here ----

    def _opened(self, event: ChannelOpened) -> None:
        if not self._own.has_roster(event.app_id, event.kind):
            return
        place = Place(event.app_id, event.channel)
        self._rosters.watch(place, "local")
        channel = self._own.channel(place)
        if channel is None:
            return
        for node_id, entries in self._rosters.views(place):
            self._hub.fill_elsewhere(channel, node_id, _members(entries))
        channel.elsewhere = self._rosters.count_elsewhere(place)

    def _closed(self, event: ChannelClosed) -> None:
        if self._own.has_roster(event.app_id, event.kind):
            place = Place(event.app_id, event.channel)
            self._untold.pop(place, None)
            self._rosters.unwatch(place, "local")

    def _entry_changed(self, event: EntryChanged) -> None:
        channel, user_id = event.channel, event.user_id
        place = Place(channel.app.app_id, channel.name)
        sockets = {} if event.socket_id is None else {user_id: event.socket_id}
        if event.user_info is None:
            self._rosters.change_own(place, {}, {user_id: event.cause}, sockets)
        else:
            self._rosters.change_own(place, {user_id: event.user_info}, {}, sockets)

    def _count_changed(self, event: Subscribed | Unsubscribed) -> None:
        channel = event.channel
        place = Place(channel.app.app_id, channel.name)
        if channel.kind is META or channel.kind is WILDCARD or not self._own.counts(place) or place in self._counts:
            return
        self._counts[place] = None
        if channel.subscription_count <= _COUNT_AT_ONCE:
            self._hub.deliver_after(lambda: self._tell_count(place))
        else:
            self._later(1.0, lambda: self._tell_count(place))

    def _tell_count(self, place: Place) -> None:
        self._counts.pop(place, None)
        count = self._own.count(place)
        if count:
            self._rosters.change_own(place, {COUNT: b"%d" % count}, {})
        else:
            self._rosters.change_own(place, {}, {COUNT: "disconnect"})

    def _user_changed(self, event: UserChanged) -> None:
        place = user_place(event.app_id, event.user_id)
        if event.online:
            self._topics.want(place.topic)
            self._rosters.change_own(place, {COUNT: _SIGNED_IN}, {})
        else:
            self._rosters.change_own(place, {}, {COUNT: "disconnect"})
            self._topics.unwant(place.topic)

    def _user_watched(self, event: UserWatched) -> None:
        place = user_place(event.app_id, event.user_id)
        if event.watched:
            self._rosters.watch(place, "local")
        else:
            self._rosters.unwatch(place, "local")

    # ---- what changes elsewhere ----

    def _changed_elsewhere(self, place: Place, change: RosterChange) -> None:
        state = self._hub.find(place.app_id)
        if state is None:
            return
        if place.name.startswith(USER_CHANNEL_PREFIX):
            user_id = place.name.removeprefix(USER_CHANNEL_PREFIX)
            state.user_elsewhere(user_id, online=self._rosters.is_present(place, COUNT))
            return
        channel = state.find(place.name)
        if channel is None:
            return
        if channel.presence is not None:
            self._change_members(place, channel, change)
        if COUNT in change.put or COUNT in change.removed:
            self._hub.count_elsewhere(channel, self._rosters.count_elsewhere(place))

    def _change_members(self, place: Place, channel: Channel, change: RosterChange) -> None:
        put, removed = _members(change.put), _members(change.removed)
        most = self.members_in_turn
        if place not in self._untold and len(put) + len(removed) <= most:
            self._hub.change_elsewhere(channel, change.node_id, put, removed)
            return
        # All at once would be a frame for each of thousands, times thousands of subscribers.
        slices: list[Slice] = [
            (channel, change.node_id, {key: put[key] for key in some}, ()) for some in _batches(put, most)
        ]
        slices += [(channel, change.node_id, {}, some) for some in _batches(removed, most)]
        untold = self._untold.get(place)
        if untold is None:
            self._untold[place] = deque(slices)
            self._tell_slice(place, self._untold[place])
        else:
            untold.extend(slices)

    def _tell_slice(self, place: Place, untold: deque[Slice]) -> None:
        if self._untold.get(place) is not untold:
            return
        if not untold:
            del self._untold[place]
            return
        self._hub.change_elsewhere(*untold.popleft())
        asyncio.get_running_loop().call_soon(self._tell_slice, place, untold)
