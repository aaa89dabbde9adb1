"""Frames in protocol buffers (spec: websocket § 16.2): one `PusherMessage` of ``proto/pusher.proto`` per message.

The library takes a known field of the wrong wire type for an unknown one, and skips groups; here both are malformed. So
a payload is first compared with the schema, field by field, without building anything.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from sockudo.protocol.binary import (
    KnownExtras,
    binary_data,
    inbound_frame,
    kind_and_text,
    known_extras,
    string_data,
    structured_data,
)
from sockudo.protocol.frames import Frame
from sockudo.protocol.inbound import InboundFrame, checked_data, malformed
from sockudo.protocol.proto.pusher_pb2 import DESCRIPTOR, MessageData, MessageExtras, PusherMessage, StructuredData

__all__ = ["decode", "encode"]


def encode(frame: Frame, number: int | None = None, key: str | None = None) -> bytes:
    """The payload of an outbound frame.

    ``number`` and conflation ``key`` make it a base for deltas (spec: filters-deltas § 2.13).
    """
    message = PusherMessage()
    message.event = frame.event
    if frame.channel is not None:
        message.channel = frame.channel
    if frame.data is not None:
        kind, text = kind_and_text(frame.data)
        setattr(message.data, kind, text)
    if frame.name is not None:
        message.name = frame.name
    if frame.user_id is not None:
        message.user_id = frame.user_id
    if frame.tags:
        message.tags.update(frame.tags)
    if frame.message_id is not None:
        message.message_id = frame.message_id
    if frame.stream_id is not None:
        message.stream_id = frame.stream_id
    if frame.serial is not None:
        message.serial = frame.serial
    if frame.extras and (extras := known_extras(frame.extras)) is not None:
        _fill_extras(message.extras, extras)
    if number is not None:
        message.delta_sequence = number
    if key is not None:
        message.delta_conflation_key = key
    return message.SerializeToString()


def _fill_extras(message: MessageExtras, extras: KnownExtras) -> None:
    for name, value in extras.headers.items():
        header = message.headers[name]
        if isinstance(value, bool):
            header.bool = value
        elif isinstance(value, str):
            header.string = value
        else:
            header.number = value
    if extras.ephemeral is not None:
        message.ephemeral = extras.ephemeral
    if extras.idempotency_key is not None:
        message.idempotency_key = extras.idempotency_key
    if extras.echo is not None:
        message.echo = extras.echo
    if extras.transport:
        message.ai.transport.update(extras.transport)
    if extras.codec:
        message.ai.codec.update(extras.codec)


def decode(payload: bytes) -> InboundFrame:
    """Reads one message of a client; the rules are those of `sockudo.protocol.inbound.decode_frame`.

    Raises errors.MALFORMED_FRAME and errors.EVENT_NAME_INVALID, nothing else, for any bytes. Of a field given
    twice the last wins; messages are merged.
    """
    _check(payload, 0, len(payload), _FRAME)
    message = PusherMessage()
    try:
        message.ParseFromString(payload)
    except (DecodeError, ValueError):
        raise malformed("a text that is not UTF-8, or a number that is too long") from None
    return inbound_frame(
        message.event if message.HasField("event") else None,
        message.channel if message.HasField("channel") else None,
        _data(message.data) if message.HasField("data") else None,
    )


def _data(data: MessageData) -> bytes | None:
    match data.WhichOneof("kind"):
        case "string":
            return string_data(data.string)
        case "json":
            return checked_data(data.json)
        case "binary":
            return binary_data(data.binary)
        case "structured":
            return _structured(data.structured)
    # A kind from a later version of the schema.
    return None


def _structured(data: StructuredData) -> bytes | None:
    named = {
        "channel_data": data.channel_data if data.HasField("channel_data") else None,
        "channel": data.channel if data.HasField("channel") else None,
        "user_data": data.user_data if data.HasField("user_data") else None,
    }
    return structured_data(named, dict(data.extra))


# ---- the payload against the schema ----

_VARINT, _EIGHT_BYTES, _DELIMITED, _FOUR_BYTES = 0, 1, 2, 5

_ANY: Final = frozenset({_VARINT, _EIGHT_BYTES, _DELIMITED, _FOUR_BYTES})
"""The wire types that a field may have when it is unknown: all but groups."""

_SCALARS: Final = {
    FieldDescriptor.TYPE_UINT64: _VARINT,
    FieldDescriptor.TYPE_BOOL: _VARINT,
    FieldDescriptor.TYPE_DOUBLE: _EIGHT_BYTES,
}
_MAX_FIELD_NUMBER: Final = 2**29 - 1


class _Layout:
    """Of the known fields of a message, by number: wire types, and the layouts of those that are messages."""

    __slots__ = ("messages", "wire_types")

    def __init__(self, descriptor: Descriptor) -> None:
        self.wire_types = {field.number: {_SCALARS.get(field.type, _DELIMITED)} for field in descriptor.fields}
        self.messages = {
            field.number: _Layout(field.message_type) for field in descriptor.fields if field.message_type is not None
        }


_FRAME: Final = _Layout(DESCRIPTOR.message_types_by_name["PusherMessage"])
# Clients for Dart and .NET number the later fields otherwise: here comes their serial.
_FRAME.wire_types[PusherMessage.STREAM_ID_FIELD_NUMBER].add(_VARINT)


def _check(payload: bytes, at: int, end: int, layout: _Layout) -> None:
    """Raises errors.MALFORMED_FRAME unless ``payload[at:end]`` is made of whole fields with their right wire types."""
    while at < end:
        start = at
        tag, at = _varint(payload, at, end)
        number, wire_type = tag >> 3, tag & 7
        if wire_type not in layout.wire_types.get(number, _ANY) or not 0 < number <= _MAX_FIELD_NUMBER:
            raise malformed(f"field {number} of wire type {wire_type} at byte {start}")
        if wire_type == _DELIMITED:
            size, at = _varint(payload, at, end)
            if number in layout.messages and size <= end - at:
                _check(payload, at, at + size, layout.messages[number])
            at += size
        elif wire_type == _VARINT:
            at = _varint(payload, at, end)[1]
        else:
            at += 8 if wire_type == _EIGHT_BYTES else 4
        if at > end:
            raise malformed(f"unexpected end at byte {end}")


def _varint(payload: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of up to ten bytes, and where it ends."""
    value = 0
    for place in range(min(10, end - at)):
        byte = payload[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise malformed(f"a number without an end at byte {at}")
