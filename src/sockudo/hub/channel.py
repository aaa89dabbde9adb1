"""A channel: who is subscribed, grouped by what they want to get, and who is a member."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from typing import TYPE_CHECKING

from sockudo.hub.fanout import Fanout
from sockudo.hub.outgoing import Outgoing
from sockudo.hub.presence import Presence
from sockudo.names import ChannelKind
from sockudo.protocol.filters import Predicate
from sockudo.protocol.frame import Frame

if TYPE_CHECKING:
    from sockudo.hub.app_state import AppState
    from sockudo.hub.connection import Connection

__all__ = ["Channel"]


class Channel:
    """A channel that somebody is subscribed to, or that holds a presence member in its grace period."""

    __slots__ = ("app", "fanouts", "kind", "name", "presence")

    def __init__(self, name: str, kind: ChannelKind, app: AppState) -> None:
        self.name = name
        self.kind = kind
        self.app = app
        # By what their subscribers want: nearly always one, all of V1.
        self.fanouts: dict[Hashable, Fanout] = {}
        self.presence = Presence() if kind.presence else None

    @property
    def subscription_count(self) -> int:
        """How many connections are subscribed."""
        return sum(len(fanout.subscribers) for fanout in self.fanouts.values())

    @property
    def occupied(self) -> bool:
        """Whether anybody is subscribed."""
        return bool(self.fanouts)

    def subscribers(self) -> Iterator[Connection]:
        """Everyone who is subscribed."""
        for fanout in self.fanouts.values():
            yield from fanout.subscribers

    def append(self, frame: Frame, exclude: Collection[Connection] = (), *, v2_only: bool = False) -> None:
        """Says the frame to everyone who is subscribed now but ``exclude``, or to those on protocol V2 alone."""
        message = Outgoing(frame, tags=self.app.hub.options.show_tags)
        for fanout in self.fanouts.values():
            if fanout.shape.v2 or not v2_only:
                fanout.say(message, exclude)

    def add(self, connection: Connection, predicate: Predicate | None = None) -> Fanout:
        """Subscribes; the connection hears what is said from now on, together with those who want the same."""
        shape = connection.shape
        key: Hashable = shape if predicate is None else (shape, predicate)
        fanout = self.fanouts.get(key)
        if fanout is None:
            fanout = self.fanouts[key] = Fanout(self, shape, predicate, key)
        fanout.add(connection)
        return fanout

    def put(self, fanout: Fanout) -> Fanout:
        """Puts a fan-out of one subscriber in place, such as a gate."""
        self.fanouts[fanout.key] = fanout
        return fanout

    def remove(self, connection: Connection, fanout: Fanout) -> None:
        """Takes the connection out of the fan-out that it is in."""
        fanout.remove(connection)
        if not fanout.subscribers:
            self.fanouts.pop(fanout.key, None)
