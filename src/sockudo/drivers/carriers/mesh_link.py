"""One connection between two workers: frames in and out, joined per turn of the loop, and bounded.

A frame is its length, a letter, and what the letter says: ``H`` the name of the sender's socket, ``S`` topics that it
subscribes to and ends, with a number, ``O`` that everything up to that number is in force, ``P`` a payload with its
topic, ``L`` that payloads were dropped before this place, ``B`` that the sender leaves.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

import msgspec

__all__ = ["MAX_PAYLOAD", "WAITING", "Link", "LinkOwner", "payload_frame"]

MAX_PAYLOAD: Final = 8 * 1024 * 1024
WAITING: Final = 16 * 1024 * 1024
"""Bytes that wait for one worker; past them the oldest payloads are dropped."""

_LONGEST_FRAME: Final = MAX_PAYLOAD + 2**16 + 3
_AT_ONCE: Final = 1024 * 1024
"""What the transport takes before frames wait here, where they can still be dropped."""
_TOPICS_A_FRAME: Final = 10_000

_HEAD: Final = struct.Struct("!IB")
_PAYLOAD: Final = struct.Struct("!IBH")
_NUMBER: Final = struct.Struct("!Q")
_TOPIC: Final = struct.Struct("!H")

_HELLO, _TOPICS, _OK, _ITEM, _LOST, _BYE = b"HSOPLB"


class LinkOwner(Protocol):
    """What a link tells its mesh. ``dropped`` counts payloads that were not sent because too much waited."""

    dropped: int

    def greeted(self, link: Link, peer: str) -> None:
        """The peer sent its name; its first frame."""

    def announced(self, link: Link, number: int, added: Sequence[str], ended: Sequence[str]) -> None:
        """The peer subscribed to topics, and ended others; with a ``number`` it wants that confirmed."""

    def confirmed(self, link: Link, number: int) -> None:
        """What was announced up to this number is in force at the peer."""

    def arrived(self, topic: bytes, payload: bytes) -> None:
        """A payload of the peer."""

    def lossy(self, link: Link) -> None:
        """The peer had to drop payloads."""

    def ended(self, link: Link) -> None:
        """The connection is closed; ``link.left`` says whether the peer announced it."""


def payload_frame(topic: str, payload: bytes) -> bytes:
    """A payload as it goes to every link."""
    name = topic.encode()
    return _PAYLOAD.pack(3 + len(name) + len(payload), _ITEM, len(name)) + name + payload


def _frame(kind: int, body: bytes = b"") -> bytes:
    return _HEAD.pack(1 + len(body), kind) + body


class Link(asyncio.Protocol):
    """``peer`` is the name that the other side gave, None before it did; ``wants`` are its topics; ``dialed`` says that
    this side made the connection.

    ``settled`` is True once both sides know what the other one wants.
    """

    def __init__(self, owner: LinkOwner, own_name: str, *, dialed: bool) -> None:
        self.peer: str | None = None
        self.wants: set[str] = set()
        self.known = self.in_force = False
        self.left = False
        self.closed = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._own_name = own_name
        self.dialed = dialed
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._turn: list[bytes] = []
        self._paused = False
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lossy = False

    @property
    def settled(self) -> bool:
        return self.known and self.in_force

    # ---- what goes out ----

    def hello(self) -> None:
        self.send(_frame(_HELLO, self._own_name.encode()))

    def announce(self, number: int, added: Sequence[str], ended: Sequence[str] = ()) -> None:
        """Announces a change of this side's topics; it is confirmed with the number."""
        for start in range(0, len(added), _TOPICS_A_FRAME):
            self._topics(0, added[start : start + _TOPICS_A_FRAME], ())
        self._topics(number, (), ended)

    def _topics(self, number: int, added: Sequence[str], ended: Sequence[str]) -> None:
        self.send(_frame(_TOPICS, _NUMBER.pack(number) + msgspec.msgpack.encode((added, ended))))

    def confirm(self, number: int) -> None:
        """What the peer announced up to this number holds for every payload from here on."""
        self.send(_frame(_OK, _NUMBER.pack(number)))

    def send(self, frame: bytes) -> None:
        """Sends a frame at the end of this turn, or when the peer has read what it was sent before."""
        if self._paused:
            self._wait(frame)
            return
        if not self._turn:
            asyncio.get_running_loop().call_soon(self.flush)
        self._turn.append(frame)

    def flush(self) -> None:
        """Writes what was sent in this turn."""
        turn, self._turn = self._turn, []
        if not turn or self._transport is None:
            return
        if self._paused:
            for frame in turn:
                self._wait(frame)
        else:
            self._transport.write(b"".join(turn))

    def _wait(self, frame: bytes) -> None:
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > WAITING:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        kept: list[bytes] = []
        while self._waiting_bytes > WAITING and self._waiting:
            frame = self._waiting.popleft()
            if frame[4] != _ITEM:
                # Without them the sides would not know any more what the other one wants.
                kept.append(frame)
                continue
            self._waiting_bytes -= len(frame)
            self._owner.dropped += 1
            self._lossy = True
        self._waiting.extendleft(reversed(kept))

    def leave(self) -> None:
        """Says goodbye behind everything that waits, and closes when all of it is written."""
        self.flush()
        if self._transport is not None:
            self._transport.write(b"".join((*self._waiting, _frame(_BYE))))
            self._transport.close()

    def abort(self) -> None:
        """Closes at once; what waits is lost."""
        if self._transport is not None:
            self._transport.abort()

    # ---- the transport's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_AT_ONCE)
        if self.dialed:
            self.hello()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._waiting.clear()
        if not self.closed.done():
            self.closed.set_result(None)
        self._owner.ended(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._write_waiting()

    def _write_waiting(self) -> None:
        if self._transport is None:
            return
        if self._lossy:
            self._lossy = False
            self._transport.write(_frame(_LOST))
        while self._waiting and not self._paused:
            part: list[bytes] = []
            size = 0
            while self._waiting and size < _AT_ONCE:
                part.append(self._waiting.popleft())
                size += len(part[-1])
            self._waiting_bytes -= size
            self._transport.write(b"".join(part))

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        arrived = self._owner.arrived
        while end - at >= 5:
            length, kind = _HEAD.unpack_from(data, at)
            if length > _LONGEST_FRAME:
                self.abort()
                return
            after = at + 4 + length
            if after > end:
                break
            if kind == _ITEM:
                body = at + 7 + _TOPIC.unpack_from(data, at + 5)[0]
                arrived(data[at + 7 : body], data[body:after])
            else:
                self._control(kind, data[at + 5 : after])
            at = after
        self._rest = data[at:] if at else data

    def _control(self, kind: int, body: bytes) -> None:
        handler = _CONTROLS.get(kind)
        # What a newer version adds is ignored.
        if handler is not None:
            handler(self, body)

    def _hello(self, body: bytes) -> None:
        self._owner.greeted(self, body.decode())

    def _announced(self, body: bytes) -> None:
        added, ended = msgspec.msgpack.decode(body[8:], type=tuple[list[str], list[str]])
        self._owner.announced(self, _NUMBER.unpack_from(body)[0], added, ended)

    def _confirmed(self, body: bytes) -> None:
        self._owner.confirmed(self, _NUMBER.unpack(body)[0])

    def _on_lost(self, _body: bytes) -> None:
        self._owner.lossy(self)

    def _bye(self, _body: bytes) -> None:
        self.left = True


_CONTROLS: Final[dict[int, Callable[[Link, bytes], None]]] = {
    _HELLO: Link._hello,
    _TOPICS: Link._announced,
    _OK: Link._confirmed,
    _LOST: Link._on_lost,
    _BYE: Link._bye,
}
