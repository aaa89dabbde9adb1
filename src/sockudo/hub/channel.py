"""A channel: who is subscribed, grouped by what they want to get, and who is a member."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from typing import TYPE_CHECKING

from sockudo.hub.deltas import DeltaCrowds
from sockudo.hub.fanout import Fanout
from sockudo.hub.outgoing import Outgoing
from sockudo.hub.pattern_deltas import PatternDeltas
from sockudo.hub.presence import Presence
from sockudo.hub.wants import EVERYTHING, Wants
from sockudo.protocol import frames
from sockudo.protocol.delta import Algorithm, DeltaChannel
from sockudo.protocol.filters import SharedPredicates
from sockudo.protocol.frame import Frame
from sockudo.protocol.names import META_PREFIX, WILDCARD, ChannelKind, channel_kind
from sockudo.protocol.shapes import Shape

if TYPE_CHECKING:
    from sockudo.hub.app_state import AppState
    from sockudo.hub.connection import Connection

__all__ = ["Channel"]


class Channel:
    """A channel that somebody is subscribed to, or that holds a presence member in its grace period."""

    __slots__ = ("_crowds", "_deltas", "_predicates", "_show_tags", "app", "fanouts", "kind", "name", "presence")

    def __init__(self, name: str, kind: ChannelKind, app: AppState) -> None:
        self.name = name
        self.kind = kind
        self.app = app
        # By what their subscribers want: nearly always one, all of V1.
        self.fanouts: dict[Hashable, Fanout] = {}
        self.presence = Presence() if kind.presence else None
        # The channel's own word on whether messages carry their tags; None leaves it to the server.
        self._show_tags = app.deltas.of(name).enable_tags
        # Filters that somebody here has; None while nobody ever had one.
        self._predicates: SharedPredicates | None = None
        # Subscribers that get differences, by their shape and what they want; None while nobody does.
        self._crowds: dict[tuple[Shape, Wants], DeltaCrowds] | None = None
        self._deltas: DeltaChannel | None = None

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
        """Whether anybody is subscribed."""
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
        """Says the frame to everyone who is subscribed now but ``exclude``, or to those on protocol V2 alone.

        Without ``compress`` nobody gets it as a difference.
        """
        fanouts = self.fanouts
        if len(fanouts) == 1 and frame.tags is None and not v2_only:
            # Nearly always: what several would share need not be kept for one.
            (fanout,) = fanouts.values()
            if type(fanout) is Fanout and fanout.predicate is None:
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

    def shared(self, wants: Wants) -> Wants:
        """The same with the very predicate that others here have who ask the same, so that it is asked once."""
        if wants.predicate is None:
            return wants
        if self._predicates is None:
            self._predicates = SharedPredicates()
        return wants._replace(predicate=self._predicates.share(wants.predicate))

    def add(self, connection: Connection, wants: Wants = EVERYTHING) -> Fanout:
        """Subscribes; the connection hears what is said from now on, together with those who want the same."""
        shape = connection.shape
        if wants.delta is not None and self.kind is not WILDCARD:
            return self._join_crowds(connection, wants, wants.delta)
        key: Hashable = shape if wants is EVERYTHING else (shape, wants.key)
        fanout = self.fanouts.get(key)
        if fanout is None:
            kind = Fanout if wants.delta is None else PatternDeltas
            fanout = self.fanouts[key] = kind(self, shape, wants, key)
        fanout.add(connection)
        return fanout

    def _join_crowds(self, connection: Connection, wants: Wants, algorithm: Algorithm) -> Fanout:
        if self._crowds is None:
            self._crowds = {}
        shape = connection.shape
        crowds = self._crowds.get((shape, wants))
        if crowds is None:
            crowds = self._crowds[shape, wants] = DeltaCrowds(self, shape, wants, algorithm)
        chains = connection.chains
        return crowds.join(connection, self.delta_channel().next_number if chains is None else chains.resume_from(self))

    def heard(self, name: str) -> Channel:
        """What stands for a channel by this name that is heard by a pattern, without being subscribed to."""
        return Channel(name, channel_kind(name), self.app)

    def delta_channel(self) -> DeltaChannel:
        """What the channel's delta tracks have in common."""
        if self._deltas is None:
            self._deltas = self.app.delta_channel(self.name)
        return self._deltas

    def forget_crowds(self, crowds: DeltaCrowds) -> None:
        """Nobody is on this track any more."""
        if self._crowds is not None:
            self._crowds = {key: other for key, other in self._crowds.items() if other is not crowds} or None

    def rejoin(self, connection: Connection) -> None:
        """A subscriber says that it cannot follow the differences any more, or has missed a message."""
        for crowds in (self._crowds or {}).values():
            crowds.rejoin(connection)

    def put(self, fanout: Fanout) -> Fanout:
        """Puts a fan-out of one subscriber in place, such as a gate."""
        self.fanouts[fanout.key] = fanout
        return fanout

    def remove(self, connection: Connection, fanout: Fanout) -> None:
        """Takes the connection out of the fan-out that it is in."""
        fanout.remove(connection)
        if not fanout.subscribers:
            self.fanouts.pop(fanout.key, None)

    # ---- the channel about this channel ----

    def tell_meta(self, event: str, **about: str | int) -> None:
        """Reports on the metachannel, if anyone is subscribed to that."""
        metachannels = self.app.metachannels
        metachannel = metachannels.get(f"{META_PREFIX}{self.name}") if metachannels else None
        if metachannel is not None:
            metachannel.append(frames.meta_event(event, self.name, **about))

    def tell_meta_of_join(self) -> None:
        """Reports one subscription more."""
        if not self.app.metachannels:
            return
        count = self.subscription_count
        if count == 1:
            self.tell_meta("channel_occupied", subscription_count=1)
        self.tell_meta("subscription_count", subscription_count=count)

    def tell_meta_of_leave(self) -> None:
        """Reports one subscription less."""
        if self.app.metachannels:
            count = self.subscription_count
            self.tell_meta("subscription_count" if count else "channel_vacated", subscription_count=count)
