"""WebSocket framing of the server's side (RFC 6455 § 5): bytes in, messages out; payloads in, frames out.

Server frames are not masked, so one built frame is shared by every subscriber. A reader belongs to one connection and
keeps nothing while no frame is under way: an idle connection costs the object alone. No IO and no clock here; the
owner of the socket feeds what arrived and looks at ``failure``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from sockudo import errors
from sockudo.protocol.shapes import Framing

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "WEBSOCKET",
    "FrameReader",
    "binary_frame",
    "close_frame",
    "parse_close",
    "ping_frame",
    "pong_frame",
    "text_frame",
]

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_FIN: Final = 0x80
_RSV1: Final = 0x40
_RSV2_RSV3: Final = 0x30
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_FINAL_TEXT: Final = _FIN | TEXT

_MAX_CONTROL_PAYLOAD: Final = 125
_MAX_CLOSE_REASON: Final = 123


def _unmask_in_python(payload: bytes, mask: bytes) -> bytes:
    """``payload`` XOR the repeated 4-byte ``mask``: one big-integer operation, linear in the length."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")


_unmask: Callable[[bytes, bytes], bytes]
try:
    # Five times faster on a short frame, a hundred times on a long one; not compiled on every platform.
    from websockets.speedups import apply_mask as _unmask
except ImportError:  # pragma: no cover
    _unmask = _unmask_in_python


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 0x10000:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def text_frame(payload: bytes, *, compressed: bool = False) -> bytes:
    """A whole text message. ``payload`` is UTF-8, or with ``compressed`` the output of `deflate.compress`."""
    return _frame(_FINAL_TEXT | _RSV1 if compressed else _FINAL_TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """A whole binary message."""
    return _frame(_FIN | BINARY, payload)


def ping_frame(payload: bytes = b"") -> bytes:
    """A native Ping. ``payload`` is at most 125 bytes."""
    return _control_frame(PING, payload)


def pong_frame(payload: bytes = b"") -> bytes:
    """A native Pong, which repeats the ``payload`` of the Ping it answers (at most 125 bytes)."""
    return _control_frame(PONG, payload)


def _control_frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) > _MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a control frame carries at most {_MAX_CONTROL_PAYLOAD} bytes, not {len(payload)}")
    return _frame(_FIN | opcode, payload)


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A Close frame. Without a code the body is empty; the reason is cut to 123 bytes between two characters."""
    if code is None:
        return _frame(_FIN | CLOSE, b"")
    text = reason.encode(errors="replace")
    if len(text) > _MAX_CLOSE_REASON:
        text = text[:_MAX_CLOSE_REASON].decode(errors="ignore").encode()
    return _frame(_FIN | CLOSE, code.to_bytes(2, "big") + text)


WEBSOCKET: Final = Framing("websocket", text_frame, binary_frame, ping_frame)
"""Messages as they are, for every client that did not agree to compression."""


def parse_close(body: bytes) -> tuple[int | None, str]:
    """Code and reason of a Close frame's body; (None, "") when it is empty.

    A body of one byte or a code that may not be sent raises errors.PROTOCOL_VIOLATION (1002), a reason that is not
    UTF-8 errors.INVALID_TEXT (1007). Bodies that a `FrameReader` returned have passed these checks.
    """
    if not body:
        return None, ""
    if len(body) == 1:
        raise errors.PROTOCOL_VIOLATION("close body of one byte")
    code = int.from_bytes(body[:2], "big")
    if not _may_be_sent(code):
        raise errors.PROTOCOL_VIOLATION(f"invalid close code {code}")
    try:
        return code, body[2:].decode()
    except UnicodeDecodeError:
        raise errors.INVALID_TEXT("close reason is not UTF-8") from None


def _may_be_sent(code: int) -> bool:
    """RFC 6455 § 7.4 and the IANA registry; 1004 to 1006 and 1015 stand for things that are never on the wire."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class Inflate(Protocol):
    """What decompresses messages: `sockudo.protocol.deflate.Inflater`."""

    def inflate(self, data: bytes, max_bytes: int) -> bytes: ...


class FrameReader:
    """Turns the byte stream of one client into whole messages.

    ``max_message_bytes`` bounds every message, fragmented or inflated, and with it what the reader ever holds.
    A frame is refused by its declared length, before its payload is kept. With ``deflate``, compressed messages
    are accepted; their compressed size counts against the same bound.

    ``failure`` is None, or the close code (1002, 1007, 1009) and reason once the peer broke a rule
    (spec: websocket § 2.4). What came before it is still returned; after a failure or a Close frame, input is ignored.
    """

    __slots__ = ("_buffer", "_deaf", "_deflate", "_first", "_idle", "_limit", "_message", "_needed", "failure")

    def __init__(self, max_message_bytes: int, deflate: Inflate | None = None) -> None:
        self.failure: tuple[int, str] | None = None
        self._limit = max_message_bytes
        self._deflate = deflate
        self._idle = True
        self._deaf = False
        # The start of an incomplete frame, and how many bytes must be there before looking at it again is of use.
        self._buffer: bytearray | None = None
        self._needed = 0
        # The fragments so far, and the first byte of the first of them.
        self._message: bytearray | None = None
        self._first = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that ``data`` completes, in order of arrival, as (opcode, payload).

        TEXT is valid UTF-8; PING and PONG come out where they arrived, also between fragments; CLOSE carries its
        checked body for `parse_close`. Never raises.
        """
        if self._idle and len(data) > 5 and data[0] == _FINAL_TEXT:
            # Nearly every read is exactly one short text frame.
            size = data[1] - _MASKED
            if 0 <= size <= _MAX_CONTROL_PAYLOAD and len(data) == size + 6 and size <= self._limit:
                payload = _unmask(data[6:], data[2:6])
                if payload.isascii():
                    return [(TEXT, payload)]
        return self._feed(data)

    def _feed(self, data: bytes) -> list[tuple[int, bytes]]:
        messages: list[tuple[int, bytes]] = []
        if self._deaf:
            return messages
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return messages
            data = bytes(self._buffer)
            self._buffer = None
        try:
            self._read_frames(data, messages)
        except errors.SockudoError as refusal:
            self.failure = (refusal.spec.ws or 1002, refusal.text)
            self._deaf = True
        if self._deaf:
            self._buffer = self._message = None
        self._idle = not self._deaf and self._buffer is None and self._message is None
        return messages

    def _read_frames(self, data: bytes, messages: list[tuple[int, bytes]]) -> None:
        at, end = 0, len(data)
        while at < end and not self._deaf:
            header, size = self._measure(data, at)
            if end - at < header + size:
                self._buffer = bytearray(data[at:])
                self._needed = header + size
                return
            start = at + header
            at = start + size
            self._take(data[start - header], _unmask(data[start:at], data[start - 4 : start]), messages)

    def _measure(self, data: bytes, at: int) -> tuple[int, int]:
        """Size of the header and of the payload of the frame at ``at``; of an incomplete header, what is known."""
        if len(data) - at < 2:
            return 2, 0
        first, second = data[at], data[at + 1]
        self._check_start(first, second)
        size = second & 0x7F
        header = 6
        if size > 125:
            width = 2 if size == 126 else 8
            header += width
            if len(data) - at < header:
                return header, 0
            size = int.from_bytes(data[at + 2 : at + 2 + width], "big")
            if size < (126 if width == 2 else 0x10000):
                raise errors.PROTOCOL_VIOLATION("length is not encoded in the shortest way")
            if size >> 63:
                raise errors.PROTOCOL_VIOLATION("length has its highest bit set")
        if not first & 0x08 and size + len(self._message or b"") > self._limit:
            raise errors.MESSAGE_TOO_BIG(f"message is larger than {self._limit} bytes")
        return header, size

    def _check_start(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        if not second & _MASKED:
            raise errors.PROTOCOL_VIOLATION("frame is not masked")
        if first & _RSV2_RSV3:
            raise errors.PROTOCOL_VIOLATION("reserved bit is set")
        if first & _RSV1 and (self._deflate is None or opcode not in (TEXT, BINARY)):
            raise errors.PROTOCOL_VIOLATION("compression bit is set where it may not be")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise errors.PROTOCOL_VIOLATION(f"reserved opcode {opcode}")
            if not first & _FIN:
                raise errors.PROTOCOL_VIOLATION("control frame is fragmented")
            if second & 0x7F > _MAX_CONTROL_PAYLOAD:
                raise errors.PROTOCOL_VIOLATION("control frame is larger than 125 bytes")
        elif opcode > BINARY:
            raise errors.PROTOCOL_VIOLATION(f"reserved opcode {opcode}")
        elif opcode == CONTINUATION:
            if self._message is None:
                raise errors.PROTOCOL_VIOLATION("continuation without a message to continue")
        elif self._message is not None:
            raise errors.PROTOCOL_VIOLATION("new message inside a fragmented one")

    def _take(self, first: int, payload: bytes, messages: list[tuple[int, bytes]]) -> None:
        opcode = first & _OPCODE
        if opcode >= CLOSE:
            if opcode == CLOSE:
                parse_close(payload)
                self._deaf = True
            messages.append((opcode, payload))
            return
        if self._message is not None:
            self._message += payload
            if not first & _FIN:
                return
            first, payload = self._first, bytes(self._message)
            self._message = None
        elif not first & _FIN:
            self._first, self._message = first, bytearray(payload)
            return
        messages.append((first & _OPCODE, self._finish(first, payload)))

    def _finish(self, first: int, payload: bytes) -> bytes:
        if first & _RSV1 and self._deflate is not None:
            payload = self._deflate.inflate(payload, self._limit)
        if first & _OPCODE == TEXT and not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError:
                raise errors.INVALID_TEXT("text is not UTF-8") from None
        return payload
