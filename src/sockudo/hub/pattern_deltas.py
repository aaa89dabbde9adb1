"""Subscribers of a pattern that get messages as differences: each channel that they hear is a chain of its own
(spec: filters-deltas § 2.14).

A pattern is never published to, so the chains hang on the concrete channels, as if those were subscribed. A connection
joins the chain of a channel with the first message that comes to it there by the pattern, and leaves it when that
subscription ends, when an exact one to the channel comes before it, or when a channel used later needs the room.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable

from sockudo.hub.connection import Chains, Connection
from sockudo.hub.deltas import DeltaCrowds
from sockudo.hub.fanout import Fanout, Listeners
from sockudo.hub.outgoing import Outgoing, Wants
from sockudo.protocol.delta import Algorithm
from sockudo.protocol.names import channel_kind
from sockudo.protocol.shapes import Shape

__all__ = ["PatternDeltas"]


class _MatchedCrowds(DeltaCrowds):
    """Those who hear one channel by one pattern. ``channel`` stands for it without being subscribed to."""

    def __init__(self, pattern: PatternDeltas, channel: Listeners[Connection], algorithm: Algorithm) -> None:
        super().__init__(channel, pattern.shape, pattern.wants, algorithm)
        self.pattern = pattern

    def crowd_of(self, connection: Connection) -> Fanout[Connection] | None:
        return None if connection.chains is None else connection.chains.crowds.get(self.channel.name)

    def place(self, connection: Connection, crowd: Fanout[Connection]) -> None:
        if connection.chains is not None:
            connection.chains.crowds[self.channel.name] = crowd

    def forget(self) -> None:
        super().forget()
        if self.pattern.matched.get(self.channel.name) is self:
            del self.pattern.matched[self.channel.name]
        self.channel.app.drop_delta_channel(self.channel.name)


class PatternDeltas(Fanout[Connection]):
    """Everyone with one wire shape who wants a pattern's messages as differences of one kind."""

    __slots__ = ("matched",)

    def __init__(self, channel: Listeners[Connection], shape: Shape, wants: Wants, key: Hashable) -> None:
        super().__init__(channel, shape, wants, key)
        # By concrete channel with a chain of frames.
        self.matched: dict[str, _MatchedCrowds] = {}

    def hear(
        self,
        message: Outgoing,
        exclude: Collection[Connection],
        served: Collection[Connection],
        later: Collection[Connection],
        matching: Iterable[Listeners[Connection]],
    ) -> None:
        """Delivers the message of a channel to everyone here but ``served``.

        Of these ``exclude`` must not hear it, the others hear it by another subscription. ``later`` hear the channel by
        another subscription first, whose chain is the one that their client keeps: for them it is plain. ``matching``
        are the patterns that match the channel.
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
                self._say_plain(connection, message, (name, *(pattern.name for pattern in matching)))
        for crowd in tuple(crowds.channel.fanouts.values()):
            crowd.say(message, exclude)
        if not crowds.track.members:
            crowds.forget()

    def _crowds(self, name: str) -> _MatchedCrowds | None:
        """The chain of a channel; None where the app wants no differences."""
        crowds = self.matched.get(name)
        if crowds is not None:
            return crowds
        settings, algorithm = self.channel.app.deltas.of(name), self.wants.delta
        if not settings.enabled or algorithm is None:
            return None
        if settings.algorithm in self.wants.choices:
            algorithm = settings.algorithm
        crowds = self.matched[name] = _MatchedCrowds(
            self, Listeners(name, channel_kind(name), self.channel.app), algorithm
        )
        return crowds

    def _follow(self, connection: Connection, name: str, crowds: _MatchedCrowds) -> bool:
        """Puts the connection on the chain of the channel, used just now; False when it has no room for one."""
        chains = connection.chains
        if chains is None:
            chains = connection.chains = Chains()
        crowd = chains.crowds.pop(name, None)
        if crowd is None:
            if not chains.make_room(connection, self._hub.delta_node.options.max_channel_states_per_socket, 1):
                return False
            crowd = crowds.join(connection, chains.resume_from(crowds.channel))
        chains.crowds[name] = crowd
        return True

    def _say_plain(self, connection: Connection, message: Outgoing, heard_by: Iterable[str]) -> None:
        """Writes at once, behind what the connection got of the channel by any subscription."""
        for name in heard_by:
            fanout = connection.channels.get(name)
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
            self.matched[name].rejoin(connection)

    def _names(self, connection: Connection) -> list[str]:
        """The channels that the connection has a chain of by this pattern."""
        chains = connection.chains
        if chains is None:
            return []
        return [
            name
            for name, crowd in chains.crowds.items()
            if (crowds := self.matched.get(name)) is not None and crowds.channel is crowd.channel
        ]
