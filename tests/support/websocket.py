"""A WebSocket client that can break every rule: for tests of what the server answers, frame by frame."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

from support.raw import Address, RawConnection, request_bytes
from support.server import DEFAULT_APP, ServerProcess
from support.signing import Credentials, channel_auth, user_auth
from support.wire import BINARY, JSON, TEXT, Event, Wire, compact

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Connect",
    "Event",
    "Frame",
    "WebSocket",
    "compact",
    "frame",
    "handshake",
]

CONTINUATION, CLOSE, PING, PONG = 0, 8, 9, 10

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MASK = b"\x37\xfa\x21\x3d"
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Frame(NamedTuple):
    """A frame of the server; `fin` and the reserved bits are checked when it is read."""

    opcode: int
    payload: bytes


def frame(payload: bytes | str, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A frame as a client sends it; ``rsv`` are the three reserved bits. The mask is always the same."""
    data = payload.encode() if isinstance(payload, str) else payload
    head = bytearray([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if len(data) < 126:
        head.append(bit | len(data))
    elif len(data) < 0x10000:
        head += bytes([bit | 126]) + len(data).to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + len(data).to_bytes(8, "big")
    if not masked:
        return bytes(head) + data
    repeated = (_MASK * (len(data) // 4 + 1))[: len(data)]
    hidden = int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")
    return bytes(head) + _MASK + hidden.to_bytes(len(data), "big")


def handshake(target: str, headers: Mapping[str, str | None] | None = None, *, method: str = "GET") -> bytes:
    """A handshake request; a header of the value None is left out."""
    chosen: dict[str, str | None] = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": _KEY,
        **(headers or {}),
    }
    return request_bytes(method, target, {name: value for name, value in chosen.items() if value is not None})


class WebSocket(RawConnection):
    """A connection past its 101, whose greeting is still to be read.

    ``protocol`` and ``wire`` are its version and format, ``params`` further parameters of its URL; ``query`` replaces
    all of these, and ``target`` the path with them. ``accepted`` are the headers of the 101.
    """

    def __init__(
        self,
        server: Address,
        *,
        app: Credentials = DEFAULT_APP,
        protocol: int = 7,
        wire: Wire = JSON,
        params: str = "client=test&version=1",
        query: str | None = None,
        target: str | None = None,
        headers: Mapping[str, str | None] | None = None,
        early: bytes = b"",
        receive_buffer: int | None = None,
    ) -> None:
        super().__init__(server, receive_buffer=receive_buffer)
        self.app = app
        self.wire = wire
        self.prefix = "sockudo" if protocol == 2 else "pusher"
        self.socket_id = ""
        self._pings = itertools.count(1)
        chosen = f"protocol={protocol}&{params}" if wire is JSON else f"protocol={protocol}&format={wire}&{params}"
        try:
            self.send(handshake(target or f"/app/{app.key}?{query or chosen}", headers) + early)
            self.accepted = self.answer()
            assert self.accepted.status == 101, self.accepted
            expected = base64.b64encode(hashlib.sha1((_KEY + _GUID).encode()).digest()).decode()
            assert self.accepted.header("sec-websocket-accept") == expected
        except BaseException:
            self.close()
            raise

    def greeting(self) -> Self:
        """Takes the first frame, which names the connection."""
        greeting = self.event()
        assert greeting["event"] == f"{self.prefix}:connection_established", greeting
        self.socket_id = json.loads(greeting["data"])["socket_id"]
        return self

    # ---- out ----

    def say(self, event: str, data: object = None, channel: str | None = None) -> None:
        """Sends one frame of the protocol; data of None is left out."""
        message: Event = {"event": event}
        if channel is not None:
            message["channel"] = channel
        if data is not None:
            message["data"] = data
        self.send(frame(self.wire.encode(message), self.wire.opcode))

    def say_text(self, text: str | bytes) -> None:
        self.send(frame(text))

    # ---- in ----

    def frame(self) -> Frame:
        """The next frame, whatever it is. What a server must never send fails here."""
        first, second = self.read(2)
        assert first & 0xF0 == 0x80, f"not one whole frame: {first:#x}"
        assert second < 128, "the server masked a frame"
        size = second
        if size == 126:
            size = int.from_bytes(self.read(2), "big")
        elif size == 127:
            size = int.from_bytes(self.read(8), "big")
        return Frame(first & 0x0F, self.read(size))

    def text(self) -> str:
        """The next frame, which has to be text."""
        found = self.frame()
        assert found.opcode == TEXT, f"text was due, not {found}"
        return found.payload.decode()

    def event(self) -> Event:
        """The next frame, which has to be in the connection's format."""
        return self._decoded(self.frame())

    def _decoded(self, found: Frame) -> Event:
        assert found.opcode == self.wire.opcode, f"a frame in {self.wire} was due, not {found}"
        return self.wire.decode(found.payload)

    def until_pong(self) -> list[Event]:
        """Everything that the server says before it answers two Pings: what has not come by then, does not.

        Two, since what was published is written at the end of the server's turn, and the first Ping may come before it.
        """
        found: list[Event] = []
        for _ in range(2):
            mark = b"fence %d" % next(self._pings)
            self.send(frame(mark, PING))
            while (next_frame := self.frame()) != Frame(PONG, mark):
                found.append(self._decoded(next_frame))
        return found

    def hears_nothing(self) -> None:
        heard = self.until_pong()
        assert heard == []

    def refused(self, code: int, text: str) -> None:
        """The next frame is exactly this error."""
        assert self.event() == {"event": f"{self.prefix}:error", "data": {"code": code, "message": text}}

    def closed(self, code: int | None, reason: str = "") -> None:
        """The next frame is this close frame; answers it, after which the server ends the connection."""
        due = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
        found = self.frame()
        assert found == Frame(CLOSE, due), found
        self.send(frame(due[:2], CLOSE))
        self.assert_closed()

    def ended(self, code: int, reason: str) -> None:
        """An error frame and a close frame that say the same, and nothing after them."""
        self.refused(code, reason)
        self.closed(code, reason)

    # ---- the protocol's usual steps ----

    def auth(self, channel: str, channel_data: str | None = None) -> str:
        return channel_auth(self.app, self.socket_id, channel, channel_data)

    def subscribe(self, channel: str, user_id: object = None, user_info: object = None, **options: Any) -> Event:
        """Subscribes, signed if the channel needs it, and returns the acknowledgement. ``options`` go with it."""
        data = {**self.subscription(channel, user_id, user_info), **options}
        self.say(f"{self.prefix}:subscribe", data)
        return self.joined(channel)

    def joined(self, channel: str) -> Event:
        """The next frame, which acknowledges a subscribe."""
        acknowledgement = self.event()
        assert acknowledgement["event"] == f"{self.prefix}_internal:subscription_succeeded", acknowledgement
        assert acknowledgement["channel"] == channel, acknowledgement
        return acknowledgement

    def subscription(self, channel: str, user_id: object = None, user_info: object = None) -> Event:
        """The data of a subscribe frame that the server accepts."""
        data: Event = {"channel": channel}
        subject = channel.removeprefix("[meta]")
        if subject.startswith("presence-"):
            member = {"user_id": user_id} if user_info is None else {"user_id": user_id, "user_info": user_info}
            data["channel_data"] = compact(member)
        if subject.startswith(("private-", "presence-")):
            data["auth"] = self.auth(subject, data.get("channel_data"))
        return data

    def sign_in(self, user_id: str, **fields: Any) -> None:
        """Signs in and takes the acknowledgement."""
        user_data = compact({"id": user_id, **fields})
        signed = {"auth": user_auth(self.app, self.socket_id, user_data), "user_data": user_data}
        self.say(f"{self.prefix}:signin", signed)
        assert self.event() == {"event": f"{self.prefix}:signin_success", "data": {"user_data": user_data}}


class Connect(Protocol):
    """The fixture `connect`: opens a WebSocket to the module's server, or another.

    The greeting has been taken, unless ``greeted`` is false.
    """

    def __call__(self, *, server: ServerProcess = ..., greeted: bool = True, **fields: Any) -> WebSocket: ...
