"""One connection as the domain sees it: who it is, what it listens to, and where its bytes go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockudo.hub.ports import Peer

if TYPE_CHECKING:
    from sockudo.hub.app_state import AppState
    from sockudo.hub.channel import Channel
    from sockudo.hub.users import User

__all__ = ["Connection"]


class Connection:
    """A connected client.

    ``write`` is called once per delivery on the hot path, so it is the transport's own method while the peer keeps up;
    whoever watches the peer's buffer replaces it while it does not.
    """

    __slots__ = ("app", "channels", "members", "peer", "socket_id", "user", "write")

    def __init__(self, socket_id: str, app: AppState, peer: Peer) -> None:
        self.socket_id = socket_id
        self.app = app
        self.peer = peer
        self.write = peer.write
        self.channels: dict[str, Channel] = {}
        # User ids by presence channel; most connections are in none.
        self.members: dict[str, str] | None = None
        self.user: User | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.socket_id}>"

    def catch_up(self) -> None:
        """Writes everything that was said to this connection so far, ahead of the turn's end.

        Called before something that must come after it: a goodbye, a second acknowledgement.
        """
        for channel in self.channels.values():
            channel.catch_up(self)
