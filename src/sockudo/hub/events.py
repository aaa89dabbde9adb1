"""What happens on a node, as values, and who observes it.

An event is made only while its kind has an observer: the emitter asks its list first, one truth test. Observers are
called right when it has happened, in the order in which they came, and must neither wait nor raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

from sockudo.errors import SockudoError
from sockudo.hub.channel import Channel
from sockudo.hub.connection import Connection
from sockudo.hub.presence import Cause, MemberEvent
from sockudo.protocol.names import ChannelKind

__all__ = [
    "By",
    "CacheMissed",
    "ChannelClosed",
    "ChannelForgotten",
    "ChannelOpened",
    "ClientEvent",
    "Connected",
    "ConnectionEnded",
    "ConnectionLeft",
    "EntryChanged",
    "FrameRefused",
    "MemberChanged",
    "Observers",
    "PredicateFailed",
    "SignedIn",
    "Subscribed",
    "Unsubscribed",
    "UserChanged",
    "UserWatched",
]

By = Literal["server", "backend", "client", "network"]
"""Who ended a connection."""


class Connected(NamedTuple):
    """A connection was admitted. ``client`` is its SDK and protocol."""

    connection: Connection
    client: str
    origin: str | None


class ConnectionEnded(NamedTuple):
    """The server ends a connection, of itself or for the app's backend; it is still in its channels."""

    connection: Connection
    error: SockudoError
    by: By


class ConnectionLeft(NamedTuple):
    """A connection was closed from outside; without a ``code`` it was lost. It is still in its channels.

    ``silent`` is for how many seconds nothing had come from the client.
    """

    connection: Connection
    code: int | None
    silent: float


class SignedIn(NamedTuple):
    """A connection is a user's from now on."""

    connection: Connection


class FrameRefused(NamedTuple):
    """A client asked for something and did not get it. ``what`` it was: ``subscribe``, ``signin`` or any ``frame``."""

    connection: Connection
    what: Literal["subscribe", "signin", "frame"]
    error: SockudoError
    channel: str | None
    event: str | None


class Subscribed(NamedTuple):
    """A channel has one subscription more."""

    connection: Connection
    channel: Channel


class Unsubscribed(NamedTuple):
    """A channel has one subscription less. ``user_id`` is that of the member, or of the user signed in.

    ``asked``: the client left the channel and stays connected.
    """

    connection: Connection
    channel: Channel
    user_id: str | None
    asked: bool


class MemberChanged(NamedTuple):
    """A presence member came, changed or went; in the order in which that happened."""

    channel: Channel
    member: MemberEvent


class EntryChanged(NamedTuple):
    """This node's entry of a presence channel was made or changed; ``user_info`` is None when it was removed.

    ``socket_id`` is None where no connection did it.
    """

    channel: Channel
    user_id: str
    user_info: bytes | None
    cause: Cause
    socket_id: str | None


class UserChanged(NamedTuple):
    """A user signed in on its first connection, or lost its last one."""

    app_id: str
    user_id: str
    online: bool


class UserWatched(NamedTuple):
    """A user is on the watchlist of a first connection, or of none any more."""

    app_id: str
    user_id: str
    watched: bool


class ClientEvent(NamedTuple):
    """A client event was published. ``data`` is JSON text, ``user_id`` that of the presence channel."""

    app_id: str
    channel: str
    event: str
    data: bytes
    socket_id: str
    user_id: str | None


class CacheMissed(NamedTuple):
    """A subscriber of a cache channel found nothing in it."""

    app_id: str
    channel: str


class ChannelOpened(NamedTuple):
    """A channel, a metachannel or a pattern has its first subscription."""

    app_id: str
    channel: str
    kind: ChannelKind


class ChannelClosed(NamedTuple):
    """A channel, a metachannel or a pattern has no subscription and no member left."""

    app_id: str
    channel: str
    kind: ChannelKind


class ChannelForgotten(NamedTuple):
    """The replay buffer of a channel was dropped: its stream was not needed here for long."""

    app_id: str
    channel: str


class PredicateFailed(NamedTuple):
    """An expression of a filter could not be evaluated, which counts as no match."""

    app_id: str
    reason: str
    predicate_id: str


E = TypeVar("E")


class Observers:
    """The observers of each kind of event."""

    def __init__(self) -> None:
        self._by_kind: dict[type, list[Callable[[Any], None]]] = {}

    def of(self, kind: type[E]) -> list[Callable[[E], None]]:
        """Those of one kind: a list that stays the same object, for emitters to keep. Empty without observers."""
        return self._by_kind.setdefault(kind, [])

    def add(self, kind: type[E], observer: Callable[[E], None]) -> None:
        """From now on the observer is called with every event of this kind."""
        self.of(kind).append(observer)

    def remove(self, kind: type[E], observer: Callable[[E], None]) -> None:
        """Ends what `add` began; an observer that was not added is ignored."""
        observers = self.of(kind)
        if observer in observers:
            observers.remove(observer)

    def emit(self, event: tuple[Any, ...]) -> None:
        """Calls the observers of an event that was made."""
        for observer in tuple(self.of(type(event))):
            observer(event)
