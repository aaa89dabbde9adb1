"""A hub without a loop: the end of a turn is a function call, and peers remember what was written to them."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import msgspec

from sockudo.hub import AppState, Connection, Hub, HubOptions
from sockudo.protocol.formats import V1_JSON, Format
from sockudo.protocol.frames import Frame
from sockudo.protocol.framing import WEBSOCKET
from sockudo.protocol.shapes import Framing
from support.wire import server_frames

__all__ = ["Peer", "Sockets", "World"]


class Peer:
    """Keeps the bytes of every write, in order."""

    address = "10.0.0.7"
    framing: Framing = WEBSOCKET

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed: tuple[int, str] | None = None

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def buffered(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def frames(self) -> list[dict[str, object]]:
        """Every frame written so far, decoded, and forgets them."""
        data = b"".join(self.writes)
        self.writes.clear()
        return [msgspec.json.decode(payload) for _, payload in server_frames(data)]

    def events(self) -> list[tuple[object, object]]:
        """(event, data) of every frame written so far."""
        return [(frame["event"], frame.get("data")) for frame in self.frames()]


class Sockets:
    """Writes to many peers at once; ``taken`` says how many of so many bytes a socket takes."""

    def __init__(self, taken: Callable[[int], int]) -> None:
        self.peers: dict[int, Peer] = {}
        self.writes = 0
        self._taken = taken
        self._opened = 0

    def open(self, peer: Peer) -> int:
        """A number under which the peer is written to, and that nobody else ever has."""
        self._opened += 1
        self.peers[self._opened] = peer
        return self._opened

    def write(self, descriptors: array[int], data: bytes) -> list[tuple[int, int]]:
        self.writes += 1
        refused = []
        for place, descriptor in enumerate(descriptors):
            taken = 0 if descriptor == -1 else self._taken(len(data))
            if taken:
                self.peers[descriptor].writes.append(data[:taken])
            if taken != len(data):
                refused.append((place, taken))
        return refused


class World:
    """One app on one hub, with turns of the loop and time by hand.

    With ``sockets`` what many hear goes there, past the connections.
    """

    def __init__(self, options: HubOptions | None = None, sockets: Sockets | None = None) -> None:
        self.turns: list[Callable[[], None]] = []
        self.time = 1000.0
        self.hub = Hub(self.turns.append, lambda: self.time, options or HubOptions())
        self.app: AppState = self.hub.app("app")
        self.hub.bulk = self.sockets = sockets
        self._count = 0

    def connect(self, shape: Format = V1_JSON) -> tuple[Connection, Peer]:
        self._count += 1
        peer = Peer()
        connection = Connection(f"1.{self._count}", self.app.app_id, peer, shape)
        self.hub.connect(connection)
        if self.sockets is not None:
            connection.use_descriptor(self.sockets.open(peer))
        return connection, peer

    def subscribers(self, count: int, channel: str = "news") -> list[tuple[Connection, Peer]]:
        pairs = [self.connect() for _ in range(count)]
        for connection, _ in pairs:
            self.hub.subscribe(connection, channel)
        return pairs

    def publish(self, name: str, channel: str = "news", exclude: Connection | None = None) -> None:
        self.hub.publish(self.app, Frame(name, channel, "{}"), exclude and exclude.socket_id)

    def turn(self) -> int:
        """Ends one turn of the loop; returns how many functions had been scheduled for it."""
        due, self.turns[:] = list(self.turns), []
        for function in due:
            function()
        return len(due)

    def settle(self) -> int:
        """Turns until nothing is scheduled; returns how many that took."""
        count = 0
        while self.turn():
            count += 1
            assert count < 1000
        return count
