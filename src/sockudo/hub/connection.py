"""One connection as the domain sees it: who it is, what it listens to, and where its bytes go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockudo.hub.ports import Peer
from sockudo.protocol.formats import V1_JSON, Format
from sockudo.protocol.frame import Frame
from sockudo.protocol.names import WILDCARD, ChannelKind
from sockudo.protocol.shapes import shape_of

if TYPE_CHECKING:
    from sockudo.hub.app_state import AppState
    from sockudo.hub.fanout import Fanout
    from sockudo.hub.pattern_deltas import Chains
    from sockudo.hub.users import User
    from sockudo.hub.wants import Wants

__all__ = ["Connection"]


class Connection:
    """A connected client.

    ``write`` is the transport's own method while the peer keeps up; whoever watches the peer's buffer replaces it while
    it does not. ``descriptor`` is the socket that takes what is written to many at once, past ``write``; -1 while
    nothing may go past it.
    """

    __slots__ = (
        "app",
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

    def __init__(self, socket_id: str, app: AppState, peer: Peer, wire_format: Format = V1_JSON) -> None:
        self.socket_id = socket_id
        self.app = app
        self.peer = peer
        self.shape = shape_of(wire_format, peer.framing)
        self.write = peer.write
        self.descriptor = -1
        # By channel name: those it shares its deliveries with.
        self.channels: dict[str, Fanout] = {}
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
        """Writes everything that was said to this connection so far, ahead of the turn's end.

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
