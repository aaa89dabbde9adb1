"""Subscribers of a pattern that get messages as differences: each channel that they hear is a chain of its own
(spec: filters-deltas § 2.14).

A pattern is never published to, so the chains hang on the concrete channels, as if those were subscribed. A connection
joins the chain of a channel with the first message that comes to it there by the pattern, and leaves it when that
subscription ends, when an exact one to the channel comes before it, or when a channel used later needs the room.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import TYPE_CHECKING, Final, NamedTuple

from sockudo.hub.deltas import DeltaCrowd, DeltaCrowds
from sockudo.hub.fanout import Fanout
from sockudo.hub.wants import Wants
from sockudo.protocol.delta import Algorithm
from sockudo.protocol.shapes import Shape

if TYPE_CHECKING:
    from sockudo.hub.channel import Channel
    from sockudo.hub.connection import Connection
    from sockudo.hub.outgoing import Outgoing

__all__ = ["Chains", "PatternDeltas"]

_REMEMBERED: Final = 1000


class _Left(NamedTuple):
    """What stays of a chain that a connection has left: SDKs keep their bases of it."""

    number: int
    keyed: bool


class Chains:
    """The chains of one connection by concrete channel, the one used longest ago first."""

    __slots__ = ("_left", "crowds")

    def __init__(self) -> None:
        self.crowds: dict[str, DeltaCrowd] = {}
        # Bounded: a channel that was forgotten starts like one after a reconnect.
        self._left: dict[str, _Left] = {}

    def leave(self, connection: Connection, name: str) -> None:
        """Ends the chain of a channel, if there is one; what was said before is written first by `catch_up`."""
        crowd = self.crowds.pop(name, None)
        if crowd is None:
            return
        self.note(crowd.channel)
        crowd.channel.remove(connection, crowd)

    def note(self, channel: Channel) -> None:
        """The connection leaves the chain of a channel: what a later one there must not begin below is kept."""
        deltas, name = channel.delta_channel(), channel.name
        # What it came with counts as well: nothing may have been said under a number since.
        before = self._left.pop(name, _Left(0, False))
        self._left[name] = _Left(max(before.number, deltas.next_number), before.keyed or deltas.keyed)
        if len(self._left) > _REMEMBERED:
            del self._left[next(iter(self._left))]

    def catch_up(self, connection: Connection, name: str) -> None:
        """Writes what was said on the channel and would be written at the end of the turn."""
        crowd = self.crowds.get(name)
        if crowd is not None:
            crowd.catch_up(connection)

    def make_room(self, connection: Connection, wanted: int = 0) -> bool:
        """Ends the chains used longest ago until there is room for so many more; False where there is none at all.

        Channels that the connection gets differences of by their own name count as well.
        """
        most = connection.app.hub.delta_node.options.max_channel_states_per_socket - connection.deltas - wanted
        if most < 0 and wanted:
            return False
        while len(self.crowds) > max(most, 0):
            oldest = next(iter(self.crowds))
            self.catch_up(connection, oldest)
            self.leave(connection, oldest)
        return True

    def resume_from(self, channel: Channel) -> int:
        """The number that a chain of the connection on this channel has to begin at, at least.

        A channel on which it has seen conflation keys is keyed from then on (spec: filters-deltas § 2.9 S6).
        """
        deltas = channel.delta_channel()
        left = self._left.get(channel.name)
        if left is None:
            return deltas.next_number
        deltas.keyed = deltas.keyed or left.keyed
        return max(deltas.next_number, left.number)


class _HeardCrowds(DeltaCrowds):
    """Those who hear one channel by one pattern. ``channel`` stands for it without being subscribed to."""

    def __init__(self, pattern: PatternDeltas, channel: Channel, algorithm: Algorithm) -> None:
        super().__init__(channel, pattern.shape, pattern.wants, algorithm)
        self.pattern = pattern

    def crowd_of(self, connection: Connection) -> DeltaCrowd | None:
        return None if connection.chains is None else connection.chains.crowds.get(self.channel.name)

    def place(self, connection: Connection, crowd: DeltaCrowd) -> None:
        if connection.chains is not None:
            connection.chains.crowds[self.channel.name] = crowd

    def forget(self) -> None:
        super().forget()
        if self.pattern.heard.get(self.channel.name) is self:
            del self.pattern.heard[self.channel.name]
        self.channel.app.drop_delta_channel(self.channel.name)


class PatternDeltas(Fanout):
    """Everyone with one wire shape who wants a pattern's messages as differences of one kind."""

    __slots__ = ("heard",)

    def __init__(self, channel: Channel, shape: Shape, wants: Wants, key: Hashable) -> None:
        super().__init__(channel, shape, wants, key)
        # By concrete channel that somebody has a chain of.
        self.heard: dict[str, _HeardCrowds] = {}

    def hear(
        self,
        message: Outgoing,
        exclude: Collection[Connection],
        served: Collection[Connection],
        later: Collection[Connection],
    ) -> None:
        """Says the message of a channel to everyone here but ``served``.

        Of these ``exclude`` must not hear it, the others hear it by another subscription. ``later`` hear the channel by
        another subscription first, whose chain is the one that their client keeps: for them it is plain.
        """
        if not self.accepts(message):
            self._traffic.filtered += self.listeners(served)
            return
        crowds = self._crowds(message.frame.channel or "")
        if crowds is None:
            self.append(message.encoded(self.shape), served)
            return
        name = crowds.channel.name
        for connection in self.subscribers:
            if connection in served:
                continue
            if connection in later or not self._follow(connection, name, crowds):
                self._say_plain(connection, message)
        for crowd in tuple(crowds.channel.fanouts.values()):
            crowd.say(message, exclude)
        if not crowds.track.members:
            crowds.forget()

    def _crowds(self, name: str) -> _HeardCrowds | None:
        """The chain of a channel; None where the app wants no differences."""
        crowds = self.heard.get(name)
        if crowds is not None:
            return crowds
        settings, algorithm = self.channel.app.deltas.of(name), self.wants.delta
        if not settings.enabled or algorithm is None:
            return None
        if settings.algorithm in self.wants.choices:
            algorithm = settings.algorithm
        crowds = self.heard[name] = _HeardCrowds(self, self.channel.heard(name), algorithm)
        return crowds

    def _follow(self, connection: Connection, name: str, crowds: _HeardCrowds) -> bool:
        """Puts the connection on the chain of the channel, used just now; False when it has no room for one."""
        chains = connection.chains
        if chains is None:
            chains = connection.chains = Chains()
        crowd = chains.crowds.pop(name, None)
        if crowd is None:
            if not chains.make_room(connection, 1):
                return False
            crowd = crowds.join(connection, chains.resume_from(crowds.channel))
        chains.crowds[name] = crowd
        return True

    def _say_plain(self, connection: Connection, message: Outgoing) -> None:
        """Writes at once, behind what the connection has been told of the channel by any subscription."""
        app, name = self.channel.app, message.frame.channel or ""
        for channel in (app.channels.get(name), *app.patterns.matching(name)):
            fanout = None if channel is None else connection.channels.get(channel.name)
            if fanout is not None:
                fanout.catch_up(connection)
        data = message.encoded(self.shape)
        connection.write(data)
        self._traffic.messages_sent += 1
        self._traffic.bytes_sent += len(data)

    def catch_up(self, connection: Connection) -> None:
        super().catch_up(connection)
        if connection.chains is not None:
            for name in self._names(connection):
                connection.chains.catch_up(connection, name)

    def remove(self, connection: Connection) -> None:
        super().remove(connection)
        if connection.chains is not None:
            for name in self._names(connection):
                connection.chains.leave(connection, name)

    def rejoin(self, connection: Connection) -> None:
        """A subscriber has lost its bases of all that it hears by the pattern."""
        for name in self._names(connection):
            self.heard[name].rejoin(connection)

    def _names(self, connection: Connection) -> list[str]:
        """The channels that the connection has a chain of by this pattern."""
        chains = connection.chains
        if chains is None:
            return []
        return [name for name, crowd in chains.crowds.items() if self.heard.get(name) is crowd.crowds]
