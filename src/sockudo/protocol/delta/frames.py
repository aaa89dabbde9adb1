"""The two shapes of frames with delta metadata in each wire format (spec: filters-deltas § 2.6 and 2.13)."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable

import msgspec

from sockudo.protocol.binary import kind_and_text
from sockudo.protocol.delta.settings import Algorithm
from sockudo.protocol.frames import Frame

__all__ = ["BinaryDeltaFrames", "DeltaFrames", "EncodeBase", "reduced_text"]

EncodeBase = Callable[[Frame, int | None, str | None], bytes]
"""Makes a payload of a frame and its metadata, number and key, where it has them."""

_encode = msgspec.json.Encoder().encode

# Some decoders of texts take it away.
_BYTE_ORDER_MARK = "\ufeff"


def reduced_text(frame: Frame) -> bytes | None:
    """What all clients of the binary formats make of a frame, up to its last byte
    (spec: filters-deltas § 2.13); None when they differ.

    Clients keep JSON of their own making of the decoded frame. Those texts begin alike where the data is a string and
    nothing but tags and ids follows it.
    """
    if frame.data is None or frame.channel is None:
        return None
    if frame.name is not None or frame.user_id is not None or frame.extras is not None:
        return None
    kind, data = kind_and_text(frame.data)
    if kind != "string" or any(text.startswith(_BYTE_ORDER_MARK) for text in (frame.event, frame.channel, data)):
        return None
    return _encode(Frame(frame.event, frame.channel, data))


class DeltaFrames:
    """Makes the frames with metadata of a channel in JSON, spliced together without parsing anything."""

    __slots__ = ("_algorithm", "_start")

    def __init__(self, channel: str, algorithm: Algorithm, *, name_algorithm: bool) -> None:
        self._start = b'{"event":"sockudo:delta","channel":%b,"data":' % _encode(channel)
        self._algorithm = b',"algorithm":"%b"' % algorithm.value.encode() if name_algorithm else b""

    def full_frame(self, frame: Frame, text: bytes, number: int, key: str | None) -> bytes:
        """``text``, the frame's JSON, with metadata as its last members: SDKs cut them out of the raw text (S2)."""
        if key is None:
            return b'%b,"__delta_seq":%d}' % (text[:-1], number)
        return b'%b,"__delta_seq":%d,"__conflation_key":%b}' % (text[:-1], number, _encode(key))

    def delta_frame(self, frame: Frame, delta: bytes, number: int, key: str | None, base_number: int) -> bytes:
        """``delta`` in place of ``frame``, whose identity stays readable: SDKs drop what they saw before."""
        parts = [self._start, self._data(frame, delta, number, key, base_number)]
        if frame.message_id is not None:
            parts += (b',"message_id":', _encode(frame.message_id))
        if frame.stream_id is not None:
            parts += (b',"stream_id":', _encode(frame.stream_id))
        if frame.serial is not None:
            parts.append(b',"serial":%d' % frame.serial)
        parts.append(b"}")
        return b"".join(parts)

    def _data(self, frame: Frame, delta: bytes, number: int, key: str | None, base_number: int) -> bytes:
        parts = [b'{"event":', _encode(frame.event), b',"delta":"', b2a_base64(delta, newline=False)]
        parts.append(b'","seq":%d%b' % (number, self._algorithm))
        if key is not None:
            parts += (b',"conflation_key":', _encode(key))
        parts.append(b',"base_index":%d}' % base_number)
        return b"".join(parts)


class BinaryDeltaFrames(DeltaFrames):
    """The same in a binary format: a frame's metadata are fields of it, a delta is the JSON data of an ordinary one."""

    __slots__ = ("_channel", "_encode_base")

    def __init__(self, channel: str, algorithm: Algorithm, encode_base: EncodeBase, *, name_algorithm: bool) -> None:
        super().__init__(channel, algorithm, name_algorithm=name_algorithm)
        self._channel = channel
        self._encode_base = encode_base

    def full_frame(self, frame: Frame, text: bytes, number: int, key: str | None) -> bytes:
        return self._encode_base(frame, number, key)

    def delta_frame(self, frame: Frame, delta: bytes, number: int, key: str | None, base_number: int) -> bytes:
        data = msgspec.Raw(self._data(frame, delta, number, key, base_number))
        shell = Frame(
            "sockudo:delta",
            self._channel,
            data,
            message_id=frame.message_id,
            stream_id=frame.stream_id,
            serial=frame.serial,
        )
        return self._encode_base(shell, None, None)
