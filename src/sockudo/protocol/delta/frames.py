"""The two shapes of frames with delta metadata (contract 60 § 2.6), spliced together without parsing anything."""

from __future__ import annotations

from binascii import b2a_base64

import msgspec

from sockudo.protocol.delta.algorithms import Algorithm
from sockudo.protocol.frame import Frame

__all__ = ["DeltaFrames", "full_frame"]

_encode = msgspec.json.Encoder().encode


def full_frame(text: bytes, number: int, key: str | None) -> bytes:
    """The frame ``text`` with metadata as its last members and no spaces: SDKs cut them out of the raw text (S2)."""
    if key is None:
        return b'%b,"__delta_seq":%d}' % (text[:-1], number)
    return b'%b,"__delta_seq":%d,"__conflation_key":%b}' % (text[:-1], number, _encode(key))


class DeltaFrames:
    """Makes the ``sockudo:delta`` frames of a channel in one format."""

    __slots__ = ("_algorithm", "_start")

    def __init__(self, channel: str, algorithm: Algorithm, *, name_algorithm: bool) -> None:
        self._start = b'{"event":"sockudo:delta","channel":%b,"data":{"event":' % _encode(channel)
        self._algorithm = b',"algorithm":"%b"' % algorithm.value.encode() if name_algorithm else b""

    def delta_frame(self, frame: Frame, delta: bytes, number: int, key: str | None, base_number: int) -> bytes:
        """``delta`` in place of ``frame``, whose identity stays readable: SDKs drop what they saw before."""
        parts = [self._start, _encode(frame.event), b',"delta":"', b2a_base64(delta, newline=False)]
        parts.append(b'","seq":%d%b' % (number, self._algorithm))
        if key is not None:
            parts += (b',"conflation_key":', _encode(key))
        parts.append(b',"base_index":%d}' % base_number)
        if frame.message_id is not None:
            parts += (b',"message_id":', _encode(frame.message_id))
        if frame.stream_id is not None:
            parts += (b',"stream_id":', _encode(frame.stream_id))
        if frame.serial is not None:
            parts.append(b',"serial":%d' % frame.serial)
        parts.append(b"}")
        return b"".join(parts)
