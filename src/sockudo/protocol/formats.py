"""The content of a frame: the formats a connection can speak, one each (spec: websocket § 1.1, 10 and 16).

How a payload travels is the framing's part, see `sockudo.protocol.shapes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from sockudo.protocol import msgpack, protobuf
from sockudo.protocol.frames import Frame
from sockudo.protocol.inbound import InboundFrame, decode_frame

__all__ = [
    "RECOVERABLE_V1_JSON",
    "V1_JSON",
    "V2_JSON",
    "V2_MSGPACK",
    "V2_PROTOBUF",
    "Format",
    "format_of",
    "json_text",
]

_encode_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, eq=False)
class Format:
    """``encode`` makes the payload of a frame, ``decode`` reads the payload of a client's message.

    ``v2``: the connection gets what only protocol V2 has; ``json`` that payloads are JSON text, otherwise they
    are binary. ``encode_base`` makes the payload of a binary frame with number and conflation key of a base for deltas;
    JSON has them spliced in.
    """

    label: str
    v2: bool
    json: bool
    encode: Callable[[Frame], bytes]
    decode: Callable[[bytes], InboundFrame]
    encode_base: Callable[[Frame, int | None, str | None], bytes] | None = None


def for_v1(frame: Frame) -> Frame:
    """The frame without anything that protocol V1 does not have."""
    event = frame.event
    if (
        frame.message_id is None
        and frame.tags is None
        and frame.serial is None
        and frame.extras is None
        and not event.startswith("sockudo")
    ):
        return frame
    if event.startswith(("sockudo:", "sockudo_internal:")):
        event = "pusher" + event[7:]
    return Frame(event, frame.channel, frame.data, frame.name, frame.user_id)


def for_recoverable_v1(frame: Frame) -> Frame:
    """The frame on V1 with its place in the stream, which clients without recovery do not look at."""
    shown = for_v1(frame)
    if frame.serial is None:
        return shown
    return msgspec.structs.replace(shown, stream_id=frame.stream_id, serial=frame.serial)


def for_v2(frame: Frame) -> Frame:
    """The frame with the prefixes of protocol V2."""
    event = frame.event
    if not event.startswith(("pusher:", "pusher_internal:")):
        return frame
    return msgspec.structs.replace(frame, event="sockudo" + event[6:])


def json_text(frame: Frame) -> bytes:
    """The JSON text that a V2 connection gets."""
    return _encode_json(for_v2(frame))


def _v1_json(frame: Frame) -> bytes:
    return _encode_json(for_v1(frame))


def _recoverable_v1_json(frame: Frame) -> bytes:
    return _encode_json(for_recoverable_v1(frame))


def _v2_msgpack(frame: Frame) -> bytes:
    return msgpack.encode(for_v2(frame))


def _v2_protobuf(frame: Frame) -> bytes:
    return protobuf.encode(for_v2(frame))


V1_JSON: Final = Format("v1", v2=False, json=True, encode=_v1_json, decode=decode_frame)
RECOVERABLE_V1_JSON: Final = Format(
    "v1-recoverable", v2=False, json=True, encode=_recoverable_v1_json, decode=decode_frame
)
V2_JSON: Final = Format("json", v2=True, json=True, encode=json_text, decode=decode_frame)
V2_MSGPACK: Final = Format(
    "msgpack", v2=True, json=False, encode=_v2_msgpack, decode=msgpack.decode, encode_base=msgpack.encode
)
V2_PROTOBUF: Final = Format(
    "protobuf", v2=True, json=False, encode=_v2_protobuf, decode=protobuf.decode, encode_base=protobuf.encode
)

_V2: Final = {"json": V2_JSON, "msgpack": V2_MSGPACK, "protobuf": V2_PROTOBUF}


def format_of(protocol: int, name: str) -> Format:
    """The format of protocol 1, or the one of protocol 2 that has this name."""
    return V1_JSON if protocol == 1 else _V2[name]
