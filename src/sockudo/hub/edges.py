"""What comes and goes on the whole server, each reported once: what webhooks and presence history observe.

Of a node alone it is what its hub emits. Joined nodes decide together which of them reports, see
`sockudo.publishing.recorders`; then `shared` is set, and what happens here alone is not reported from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from sockudo.hub.channel import Channel
from sockudo.hub.events import MemberChanged, Observers, Subscribed, Unsubscribed, UserChanged
from sockudo.hub.presence import MemberEvent
from sockudo.protocol.names import META, WILDCARD

__all__ = [
    "ChannelCounted",
    "ChannelOccupied",
    "ChannelVacated",
    "Edges",
    "MemberReported",
    "UserReported",
]


class ChannelOccupied(NamedTuple):
    """A channel has its first subscription."""

    app_id: str
    channel: str


class ChannelVacated(NamedTuple):
    """A channel has no subscription left, and a presence channel no member in its grace period."""

    app_id: str
    channel: str


class ChannelCounted(NamedTuple):
    """A channel that is not a presence channel has so many subscriptions now."""

    app_id: str
    channel: str
    subscriptions: int


class MemberReported(NamedTuple):
    """A presence member came, changed or went; in the order in which that happened."""

    app_id: str
    channel: str
    member: MemberEvent


class UserReported(NamedTuple):
    """A user signed in on its first connection, or lost its last one."""

    app_id: str
    user_id: str
    online: bool


E = TypeVar("E")


class Edges:
    """The observers of what is reported. Costs nothing while there are none."""

    def __init__(self, observers: Observers) -> None:
        self.shared = False
        self._observers = observers
        self._reported = Observers()
        self._translators: dict[type, Callable[[Any], None]] = {
            Subscribed: self._subscribed,
            Unsubscribed: self._unsubscribed,
            MemberChanged: self._member_changed,
            UserChanged: self._user_changed,
        }
        self._observed = 0
        # Presence channels without a subscription, whose last members are in their grace period.
        self._vacating: set[Channel] = set()

    def add(self, kind: type[E], observer: Callable[[E], None]) -> None:
        """From now on the observer is called with every event of this kind: one of those here, or of the hub."""
        if kind not in _REPORTED:
            self._observers.add(kind, observer)
            return
        self._reported.add(kind, observer)
        self._observed += 1
        if self._observed == 1:
            for happened, translator in self._translators.items():
                self._observers.add(happened, translator)

    def remove(self, kind: type[E], observer: Callable[[E], None]) -> None:
        """Ends what `add` began."""
        if kind not in _REPORTED:
            self._observers.remove(kind, observer)
            return
        self._reported.remove(kind, observer)
        self._observed -= 1
        if self._observed == 0:
            for happened, translator in self._translators.items():
                self._observers.remove(happened, translator)
            self.close()

    def close(self) -> None:
        """Reports as vacated what only waits for the end of a grace period."""
        for channel in self._vacating:
            self.emit(ChannelVacated(channel.app.app_id, channel.name))
        self._vacating.clear()

    @property
    def observed(self) -> bool:
        """Whether anything that is reported has an observer."""
        return self._observed > 0

    def emit(self, event: tuple[Any, ...]) -> None:
        """Calls the observers of something that is to be reported."""
        self._reported.emit(event)

    # ---- what the hub emits ----

    def _subscribed(self, event: Subscribed) -> None:
        channel = event.channel
        if self.shared or channel.kind in (META, WILDCARD):
            return
        app_id, count = channel.app.app_id, channel.subscription_count
        if count == 1 and channel in self._vacating:
            self._vacating.discard(channel)
        elif count == 1:
            self.emit(ChannelOccupied(app_id, channel.name))
        if channel.presence is None:
            self.emit(ChannelCounted(app_id, channel.name, count))

    def _unsubscribed(self, event: Unsubscribed) -> None:
        channel = event.channel
        if self.shared or channel.kind in (META, WILDCARD):
            return
        app_id, count = channel.app.app_id, channel.subscription_count
        if channel.presence is None:
            self.emit(ChannelCounted(app_id, channel.name, count))
        if not count and channel.presence:
            self._vacating.add(channel)
        elif not count:
            self.emit(ChannelVacated(app_id, channel.name))

    def _member_changed(self, event: MemberChanged) -> None:
        channel, member = event
        # An update of a member is reported by the node that took it.
        if self.shared and member.kind != "member_updated":
            return
        self.emit(MemberReported(channel.app.app_id, channel.name, member))
        if member.kind == "member_removed" and channel in self._vacating and not channel.presence:
            self._vacating.discard(channel)
            self.emit(ChannelVacated(channel.app.app_id, channel.name))

    def _user_changed(self, event: UserChanged) -> None:
        if not self.shared:
            self.emit(UserReported(*event))


_REPORTED = frozenset({ChannelOccupied, ChannelVacated, ChannelCounted, MemberReported, UserReported})
