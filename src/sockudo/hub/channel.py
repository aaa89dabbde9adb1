"""A channel: who is subscribed, grouped by what they want to get, and who is a member."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from typing import Final

from sockudo.hub.connection import Connection
from sockudo.hub.deltas import DeltaCrowd, DeltaCrowds
from sockudo.hub.fanout import ChannelApp, Fanout, Listeners
from sockudo.hub.outgoing import EVERYTHING, Outgoing, Wants
from sockudo.hub.pattern_deltas import PatternDeltas
from sockudo.hub.presence import Presence
from sockudo.protocol.delta import Algorithm
from sockudo.protocol.filters import SharedPredicates
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import WILDCARD, ChannelKind

__all__ = ["Channel"]

# Of no subclass: everyone there gets every frame whole.
_SHARED: Final[type] = Fanout


class Channel(Listeners[Connection]):
    """A channel that has subscribers, or that holds a presence member in its grace period."""

    __slots__ = ("_predicates", "_show_tags", "elsewhere", "presence")

    def __init__(self, name: str, kind: ChannelKind, app: ChannelApp) -> None:
        super().__init__(name, kind, app)
        self.presence = Presence() if kind.presence else None
        # Subscriptions on other nodes, where subscribers are shown how many there are.
        self.elsewhere = 0
        # The channel's own word on whether messages carry their tags; None leaves it to the server.
        self._show_tags = app.deltas.of(name).enable_tags
        # Filters of subscribers; None until the first one.
        self._predicates: SharedPredicates | None = None

    @property
    def subscription_count(self) -> int:
        """How many connections are subscribed."""
        fanouts = self.fanouts.values()
        # One, nearly always: lists of channels ask every channel.
        if len(fanouts) == 1:
            return len(next(iter(fanouts)).subscribers)
        return sum(len(fanout.subscribers) for fanout in fanouts)

    @property
    def occupied(self) -> bool:
        """Whether there are subscribers."""
        return bool(self.fanouts)

    def subscribers(self) -> Iterator[Connection]:
        """Everyone who is subscribed."""
        for fanout in self.fanouts.values():
            yield from fanout.subscribers

    def append(
        self,
        frame: Frame,
        exclude: Collection[Connection] = (),
        *,
        v2_only: bool = False,
        compress: bool = True,
    ) -> None:
        """Delivers the frame to all current subscribers but ``exclude``, or to those on protocol V2 alone.

        Without ``compress`` it is delivered whole.
        """
        fanouts = self.fanouts
        if len(fanouts) == 1 and frame.tags is None and not v2_only:
            # Nearly always: what several would share need not be kept for one.
            (fanout,) = fanouts.values()
            if type(fanout) is _SHARED and fanout.predicate is None:
                fanout.append(fanout.shape.encode(frame), exclude)
                return
        app, hub = self.app, self.app.hub
        tags = hub.options.show_tags if self._show_tags is None else self._show_tags
        now = hub.now() if self._deltas is not None else 0.0
        message = Outgoing(
            frame, tags=tags, compress=compress, now=now, on_error=app.predicate_failed, budget=app.filter_budget
        )
        for fanout in fanouts.values():
            if not v2_only or fanout.shape.v2:
                fanout.say(message, exclude)
        for work in message.afterwards:
            work()

    def append_change(self, frame: Frame, whole: Frame | None, pace: int | None) -> None:
        """Delivers a version of a message to those on V2, with a ``pace`` to those alone who have it.

        ``whole`` is the frame with all of the text, if it is known; it is needed where `wants_whole` says so.
        """
        shown = self.app.hub.options.show_tags if self._show_tags is None else self._show_tags
        messages = [
            Outgoing(
                each,
                tags=shown,
                compress=False,
                on_error=self.app.predicate_failed,
                budget=self.app.filter_budget,
            )
            for each in (frame, whole or frame)
        ]
        for fanout in self.fanouts.values():
            if fanout.shape.v2 and pace in (None, fanout.pace):
                fanout.say(messages[fanout.wants.whole], ())

    @property
    def paces(self) -> set[int]:
        """In which intervals subscribers get appends, in milliseconds."""
        return {fanout.pace for fanout in self.fanouts.values() if fanout.shape.v2}

    @property
    def wants_whole(self) -> bool:
        """Whether a subscriber wants all of the text with an append."""
        return any(fanout.wants.whole for fanout in self.fanouts.values())

    def shared(self, wants: Wants) -> Wants:
        """The same with the very predicate that others here have who ask the same, so that it is asked once."""
        if wants.predicate is None:
            return wants
        if self._predicates is None:
            self._predicates = SharedPredicates()
        return wants._replace(predicate=self._predicates.share(wants.predicate))

    def add(self, connection: Connection, wants: Wants = EVERYTHING) -> Fanout[Connection]:
        """Subscribes; the connection receives what is published from now on, with those who want the same."""
        shape = connection.shape
        if wants.delta is not None and self.kind is not WILDCARD:
            return self._join_crowds(connection, wants, wants.delta)
        key: Hashable = shape if wants is EVERYTHING else (shape, wants.key)
        fanout = self.fanouts.get(key)
        if fanout is None:
            fanout = Fanout(self, shape, wants, key) if wants.delta is None else PatternDeltas(self, shape, wants, key)
            self.fanouts[key] = fanout
        fanout.add(connection)
        return fanout

    def _join_crowds(self, connection: Connection, wants: Wants, algorithm: Algorithm) -> Fanout[Connection]:
        shape = connection.shape
        here = (self.fanouts.get((shape, wants.key, settled)) for settled in (True, False))
        crowds = next((crowd.crowds for crowd in here if isinstance(crowd, DeltaCrowd)), None)
        if crowds is None:
            crowds = DeltaCrowds(self, shape, wants, algorithm)
        chains = connection.chains
        return crowds.join(connection, self.delta_channel().next_number if chains is None else chains.resume_from(self))
