"""One connection as the domain sees it: who it is, what it listens to, and where its bytes go."""

from __future__ import annotations

from typing import Final, NamedTuple

from sockudo.hub.fanout import Fanout, Listeners, Receiver
from sockudo.hub.outgoing import Wants
from sockudo.hub.ports import Peer
from sockudo.protocol.formats import V1_JSON, Format
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import WILDCARD, ChannelKind
from sockudo.protocol.shapes import shape_of

__all__ = ["Chains", "Connection", "User"]

_REMEMBERED: Final = 1000


class Connection(Receiver):
    """A connected client."""

    __slots__ = (
        "app_id",
        "chains",
        "channels",
        "deltas",
        "descriptor",
        "filters",
        "members",
        "peer",
        "shape",
        "socket_id",
        "user",
        "wildcards",
        "write",
    )

    def __init__(self, socket_id: str, app_id: str, peer: Peer, wire_format: Format = V1_JSON) -> None:
        self.write = peer.write
        self.descriptor = -1
        self.socket_id = socket_id
        self.app_id = app_id
        self.peer = peer
        self.shape = shape_of(wire_format, peer.framing)
        # By channel name: those it shares its deliveries with.
        self.channels: dict[str, Fanout[Connection]] = {}
        # How many of them have a filter, and get differences by their own name: what limits are compared with.
        self.filters = self.deltas = 0
        # The patterns among them, oldest first; most connections have none.
        self.wildcards: list[str] | None = None
        # Of what comes as differences by patterns.
        self.chains: Chains | None = None
        # User ids by presence channel; most connections are in none.
        self.members: dict[str, str] | None = None
        self.user: User | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.socket_id}>"

    def use_descriptor(self, descriptor: int) -> None:
        """From this moment on bytes may go to this socket past ``write``, or to none any more (-1)."""
        self.descriptor = descriptor
        for fanout in self.channels.values():
            fanout.forget_descriptors()
        for crowd in () if self.chains is None else self.chains.crowds.values():
            crowd.forget_descriptors()

    @property
    def patterns(self) -> int:
        """How many patterns it is subscribed to."""
        return 0 if self.wildcards is None else len(self.wildcards)

    def count(self, kind: ChannelKind, wants: Wants, step: int) -> None:
        """A subscription that wants this has come (1) or gone (-1)."""
        if wants.predicate is not None:
            self.filters += step
        if wants.delta is not None and kind is not WILDCARD:
            self.deltas += step

    def end_chain(self, channel: str) -> None:
        """Called before it subscribes to a channel by its name: what came by a pattern comes first, and no more."""
        for pattern in self.wildcards or ():
            self.channels[pattern].catch_up(self)
        if self.chains is not None:
            self.chains.leave(self, channel)

    def lost_base(self, name: str) -> bool:
        """The client cannot follow the deltas of a channel, or of all that it gets by a pattern, any more.

        False when it gets none there.
        """
        fanout = self.channels.get(name)
        if fanout is None and self.chains is not None:
            fanout = self.chains.crowds.get(name)
        if fanout is None or fanout.wants.delta is None:
            return False
        fanout.rejoin(self)
        return True

    def catch_up(self) -> None:
        """Writes everything that was delivered to this connection so far, ahead of the turn's end.

        Called before something that must come after it: a goodbye, a second acknowledgement.
        """
        for fanout in self.channels.values():
            fanout.catch_up(self)

    def send(self, frame: Frame) -> None:
        """Writes a frame for this connection alone, in its shape."""
        self.write(self.shape.encode(frame))

    def user_of(self, channel: str | None) -> str | None:
        """Who this is: the member of that presence channel, else the user that it is signed in as."""
        if channel is not None and self.members is not None and channel in self.members:
            return self.members[channel]
        return self.user.user_id if self.user is not None else None


class User:
    """A signed-in user with at least one connection.

    ``user_info`` is JSON text as the newest sign-in gave it; ``watchlists`` holds what each connection watches.
    """

    __slots__ = ("connections", "user_id", "user_info", "watchlists")

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.user_info = b"{}"
        self.connections: dict[Connection, None] = {}
        self.watchlists: dict[Connection, tuple[str, ...]] = {}


class _Left(NamedTuple):
    """What stays of a chain that a connection has left: SDKs keep their bases of it."""

    number: int
    keyed: bool


class Chains:
    """The chains of one connection by concrete channel, the one used longest ago first."""

    __slots__ = ("_left", "crowds")

    def __init__(self) -> None:
        self.crowds: dict[str, Fanout[Connection]] = {}
        # Bounded: a channel that was forgotten starts like one after a reconnect.
        self._left: dict[str, _Left] = {}

    def leave(self, connection: Connection, name: str) -> None:
        """Ends the chain of a channel, if there is one; what was delivered before is written first by `catch_up`."""
        crowd = self.crowds.pop(name, None)
        if crowd is None:
            return
        self.note(crowd.channel)
        crowd.channel.remove(connection, crowd)

    def note(self, channel: Listeners[Connection]) -> None:
        """The connection leaves the chain of a channel: what a later one there must not begin below is kept."""
        deltas, name = channel.delta_channel(), channel.name
        # What it came with counts as well: nothing may have been published under a number since.
        before = self._left.pop(name, _Left(0, False))
        self._left[name] = _Left(max(before.number, deltas.next_number), before.keyed or deltas.keyed)
        if len(self._left) > _REMEMBERED:
            del self._left[next(iter(self._left))]

    def catch_up(self, connection: Connection, name: str) -> None:
        """Writes what was published on the channel and would be written at the end of the turn."""
        crowd = self.crowds.get(name)
        if crowd is not None:
            crowd.catch_up(connection)

    def make_room(self, connection: Connection, limit: int, wanted: int = 0) -> bool:
        """Ends the chains used longest ago until ``wanted`` more fit in ``limit``; False where there is no room at all.

        Channels that the connection gets differences of by their own name count as well.
        """
        most = limit - connection.deltas - wanted
        if most < 0 and wanted:
            return False
        while len(self.crowds) > max(most, 0):
            oldest = next(iter(self.crowds))
            self.catch_up(connection, oldest)
            self.leave(connection, oldest)
        return True

    def resume_from(self, channel: Listeners[Connection]) -> int:
        """The number that a chain of the connection on this channel has to begin at, at least.

        A channel on which it has seen conflation keys is keyed from then on (spec: filters-deltas § 2.9 S6).
        """
        deltas = channel.delta_channel()
        left = self._left.get(channel.name)
        if left is None:
            return deltas.next_number
        deltas.keyed = deltas.keyed or left.keyed
        return max(deltas.next_number, left.number)
