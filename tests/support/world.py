"""A hub without a loop: the end of a turn is a function call, and peers remember what was written to them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from sockudo.hub import AppState, Connection, Hub, HubOptions
from sockudo.protocol.frame import Frame
from sockudo.protocol.shapes import V1_JSON, Shape

__all__ = ["Peer", "World"]


class Peer:
    """Keeps the bytes of every write, in order."""

    address = "10.0.0.7"

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
        found = []
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(data[2:10], "big"), 10
            found.append(msgspec.json.decode(data[start : start + size]))
            data = data[start + size :]
        return found

    def events(self) -> list[tuple[object, object]]:
        """(event, data) of every frame written so far."""
        return [(frame["event"], frame.get("data")) for frame in self.frames()]


class World:
    """One app on one hub, with turns of the loop and time by hand."""

    def __init__(self, options: HubOptions | None = None) -> None:
        self.turns: list[Callable[[], None]] = []
        self.time = 1000.0
        self.hub = Hub(self.turns.append, lambda: self.time, options or HubOptions())
        self.app: AppState = self.hub.app("app")
        self._count = 0

    def connect(self, shape: Shape = V1_JSON) -> tuple[Connection, Peer]:
        self._count += 1
        peer = Peer()
        connection = Connection(f"1.{self._count}", self.app, peer, shape)
        self.hub.connect(connection)
        return connection, peer

    def subscribers(self, count: int, channel: str = "news") -> list[tuple[Connection, Peer]]:
        pairs = [self.connect() for _ in range(count)]
        for connection, _ in pairs:
            self.hub.subscribe(connection, channel)
        return pairs

    def publish(self, name: str, channel: str = "news", exclude: Connection | None = None) -> None:
        self.hub.publish(self.app, Frame(name, channel, "{}"), () if exclude is None else (exclude,))

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
