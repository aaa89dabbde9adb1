"""The shapes a frame can have on the wire, one per connection (spec: websocket § 1.1, 10 and 16).

Everyone with the same shape gets the same bytes, so a frame is encoded once per shape that somebody wants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from sockudo.protocol import msgpack, protobuf
from sockudo.protocol.frame import Frame
from sockudo.protocol.framing import binary_frame, text_frame
from sockudo.protocol.handshake import ConnectQuery
from sockudo.protocol.inbound import InboundFrame, decode_frame

__all__ = [
    "RECOVERABLE_V1_JSON",
    "V1_JSON",
    "V2_JSON",
    "V2_MSGPACK",
    "V2_PROTOBUF",
    "Shape",
    "for_v2",
    "json_text",
    "shape_of",
]

_encode_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """``encode`` makes a whole WebSocket frame, ``decode`` reads the payload of a client's message.

    ``v2`` says that the connection gets what only protocol V2 has; ``json`` that its payloads are JSON text.
    ``message`` makes a WebSocket frame of a payload. ``encode_base`` makes the payload of a binary frame with number
    and conflation key of a base for deltas; JSON has them spliced in.
    """

    label: str
    v2: bool
    json: bool
    encode: Callable[[Frame], bytes]
    decode: Callable[[bytes], InboundFrame]
    message: Callable[[bytes], bytes] = text_frame
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
    return text_frame(_encode_json(for_v1(frame)))


def _recoverable_v1_json(frame: Frame) -> bytes:
    return text_frame(_encode_json(for_recoverable_v1(frame)))


def _v2_json(frame: Frame) -> bytes:
    return text_frame(_encode_json(for_v2(frame)))


def _v2_msgpack(frame: Frame) -> bytes:
    return binary_frame(msgpack.encode(for_v2(frame)))


def _v2_protobuf(frame: Frame) -> bytes:
    return binary_frame(protobuf.encode(for_v2(frame)))


V1_JSON: Final = Shape("v1", v2=False, json=True, encode=_v1_json, decode=decode_frame)
RECOVERABLE_V1_JSON: Final = Shape(
    "v1-recoverable", v2=False, json=True, encode=_recoverable_v1_json, decode=decode_frame
)
V2_JSON: Final = Shape("json", v2=True, json=True, encode=_v2_json, decode=decode_frame)
V2_MSGPACK: Final = Shape(
    "msgpack",
    v2=True,
    json=False,
    encode=_v2_msgpack,
    decode=msgpack.decode,
    message=binary_frame,
    encode_base=msgpack.encode,
)
V2_PROTOBUF: Final = Shape(
    "protobuf",
    v2=True,
    json=False,
    encode=_v2_protobuf,
    decode=protobuf.decode,
    message=binary_frame,
    encode_base=protobuf.encode,
)

_V2: Final = {"json": V2_JSON, "msgpack": V2_MSGPACK, "protobuf": V2_PROTOBUF}


def shape_of(query: ConnectQuery) -> Shape:
    """The shape that a connection asked for in its URL."""
    return V1_JSON if query.protocol == 1 else _V2[query.format]
