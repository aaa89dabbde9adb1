"""Subscribers that get messages as differences from the ones before (spec: filters-deltas § 2).

They stand in two crowds, each a fan-out: those who may get a difference and newcomers, who get whole messages
until they can be settled; see `sockudo.protocol.delta.track`.
"""

from __future__ import annotations

from collections.abc import Collection

from sockudo.hub.connection import Connection
from sockudo.hub.fanout import Fanout, Listeners
from sockudo.hub.outgoing import Outgoing, Wants
from sockudo.hub.traffic import DeltaTraffic
from sockudo.protocol.delta import Algorithm, DeltaTrack
from sockudo.protocol.shapes import Shape

__all__ = ["DeltaCrowd", "DeltaCrowds"]


class DeltaCrowd(Fanout[Connection]):
    """One of the two crowds of a track."""

    __slots__ = ("crowds", "settled")

    def __init__(self, crowds: DeltaCrowds, shape: Shape, wants: Wants, *, settled: bool) -> None:
        super().__init__(crowds.channel, shape, wants, (shape, wants.key, settled))
        self.crowds = crowds
        self.settled = settled

    def say(self, message: Outgoing, exclude: Collection[Connection]) -> None:
        if not self.accepts(message):
            self._traffic.filtered += self.listeners(exclude)
            return
        payloads = message.delta(self.crowds.track)
        payload = payloads.settled if self.settled else payloads.newcomers
        plain = payload is message.text
        self.append(message.encoded(self.shape) if plain else self.shape.wrap(payload), exclude)
        if not plain:
            whole = message.text if self.shape.format.json else payloads.full
            self.crowds.count(len(whole), None if payload is payloads.full else len(payload), self.listeners(exclude))
        for connection in exclude:
            if not plain and connection in self.subscribers:
                # It does not have the frame that the next difference is made from.
                message.afterwards.append(lambda missed=connection: self.crowds.rejoin(missed))  # type: ignore[misc]

    def remove(self, connection: Connection) -> None:
        super().remove(connection)
        self.crowds.left(connection)

    def rejoin(self, connection: Connection) -> None:
        self.crowds.rejoin(connection)

    def move_to(self, other: DeltaCrowd, connection: Connection) -> None:
        """Moves a subscriber; what was delivered to it before has been written by then."""
        self.catch_up(connection)
        super().remove(connection)
        if not self.subscribers:
            self.channel.fanouts.pop(self.key, None)
        self.channel.put(other)
        other.add(connection)
        self.crowds.place(connection, other)

    def deliver(self, budget: int) -> int:
        written = super().deliver(budget)
        if not self.settled and not self.unfinished:
            self.crowds.settle()
        return written


class DeltaCrowds:
    """Everyone on a channel with the same wire shape who wants the same messages as differences of one kind."""

    def __init__(self, channel: Listeners[Connection], shape: Shape, wants: Wants, algorithm: Algorithm) -> None:
        self.channel = channel
        self.track = DeltaTrack(
            channel.delta_channel(), algorithm, one_base=wants.one_base, encode_base=shape.format.encode_base
        )
        channel.app.hub.tracks[self.track] = None
        self._settled = DeltaCrowd(self, shape, wants, settled=True)
        self._newcomers = DeltaCrowd(self, shape, wants, settled=False)
        self._traffic = channel.app.traffic.deltas.setdefault(channel.kind.label, DeltaTraffic())
        # The places of newcomers on the track, in the order in which they came.
        self._places: dict[Connection, int] = {}

    def crowd_of(self, connection: Connection) -> Fanout[Connection] | None:
        """Where a connection stands that hears the channel."""
        return connection.channels.get(self.channel.name)

    def place(self, connection: Connection, crowd: DeltaCrowd) -> None:
        """The connection stands there from now on."""
        connection.channels[self.channel.name] = crowd

    def forget(self) -> None:
        """The last subscriber has left."""
        self.channel.app.hub.tracks.pop(self.track, None)

    def count(self, size: int, delta_size: int | None, deliveries: int) -> None:
        """A payload of ``size`` bytes was delivered to so many: as a difference of ``delta_size``, or whole."""
        traffic = self._traffic
        traffic.original_bytes += size * deliveries
        if delta_size is None:
            traffic.whole += deliveries
        else:
            traffic.differences += deliveries
            traffic.saved_bytes += max(size - delta_size, 0) * deliveries

    def join(self, connection: Connection, above: int = 0) -> DeltaCrowd:
        """A newcomer; ``above`` is what the numbers came to where it was before."""
        self._places[connection] = self.track.join(above)
        self.channel.put(self._newcomers)
        self._newcomers.add(connection)
        return self._newcomers

    def left(self, connection: Connection) -> None:
        """A subscriber has left the channel, or wants something else from now on."""
        self._places.pop(connection, None)
        self.track.leave()
        if not self.track.members:
            self.forget()

    def rejoin(self, connection: Connection) -> None:
        """A subscriber has missed a message or lost its bases: it is a newcomer again."""
        crowd = self.crowd_of(connection)
        if crowd is self._settled:
            self._settled.move_to(self._newcomers, connection)
        elif crowd is not self._newcomers:
            return
        self._places.pop(connection, None)
        self._places[connection] = self.track.rejoin()

    def settle(self) -> None:
        """Moves the newcomers who may get differences from now on."""
        until = self.track.settle(self.channel.app.hub.now())
        for connection, place in tuple(self._places.items()):
            if place > until:
                return
            del self._places[connection]
            self._newcomers.move_to(self._settled, connection)
