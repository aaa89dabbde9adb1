"""The formats of frames, coded with libraries that others wrote (spec: websocket § 1.2 and 16).

Whatever the format, a frame is the same dictionary here, that of its JSON text: a test says once what is due.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgpack

from sockudo.protocol.proto.pusher_pb2 import MessageData, MessageExtras, PusherMessage

__all__ = ["BINARY", "JSON", "MSGPACK", "PROTOBUF", "TEXT", "WIRES", "Event", "Wire", "compact", "server_frames"]

TEXT, BINARY = 1, 2

Event = dict[str, Any]

# The places of MessagePack's array; the names are those of JSON.
_FIELDS = (
    "event",
    "channel",
    "data",
    "name",
    "user_id",
    "tags",
    "sequence",
    "conflation_key",
    "message_id",
    "stream_id",
    "serial",
    "idempotency_key",
    "extras",
    "__delta_seq",
    "__conflation_key",
)


class Wire(NamedTuple):
    """One format: how it is asked for, the opcode of its frames, and both ways between frames and payloads."""

    name: str
    opcode: int
    encode: Callable[[Event], bytes]
    decode: Callable[[bytes], Event]

    def __str__(self) -> str:
        return self.name


def compact(value: object) -> str:
    """JSON without white space."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _encode_json(event: Event) -> bytes:
    return compact(event).encode()


def _decode_json(payload: bytes) -> Event:
    found: Event = json.loads(payload)
    return found


def server_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """First byte and payload of each WebSocket frame that a server has written, none of which is masked."""
    while data:
        size, start = data[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        yield data[0], data[start : start + size]
        data = data[start + size :]


# ---- MessagePack ----


def _encode_msgpack(event: Event) -> bytes:
    data = event.get("data")
    if data is not None:
        data = ["string", data] if isinstance(data, str) else ["json", compact(data)]
    values = {**event, "data": data}
    return bytes(msgpack.packb([values.get(name) for name in _FIELDS]))


def _decode_msgpack(payload: bytes) -> Event:
    values = msgpack.unpackb(payload)
    assert isinstance(values, list), values
    assert len(values) == len(_FIELDS), values
    event = {name: value for name, value in zip(_FIELDS, values, strict=True) if value is not None}
    if "data" in event:
        kind, text = event["data"]
        assert kind in ("string", "json"), event
        event["data"] = text if kind == "string" else json.loads(text)
    extras = event.get("extras")
    if extras is not None and "headers" in extras:
        extras["headers"] = {name: _typed(kind, value) for name, (kind, value) in extras["headers"].items()}
    return event


def _typed(kind: str, value: object) -> object:
    due = {"string": str, "number": float, "bool": bool}[kind]
    assert type(value) is due, (kind, value)
    return value


# ---- protocol buffers ----


def _encode_protobuf(event: Event) -> bytes:
    message = PusherMessage(event=event["event"], channel=event.get("channel"))
    data = event.get("data")
    if data is not None:
        kind = {"string": data} if isinstance(data, str) else {"json": compact(data)}
        message.data.CopyFrom(MessageData(**kind))
    return message.SerializeToString()


def _decode_protobuf(payload: bytes) -> Event:
    message = PusherMessage()
    message.ParseFromString(payload)
    event: Event = {}
    for field, value in message.ListFields():
        name = {"delta_sequence": "__delta_seq", "delta_conflation_key": "__conflation_key"}.get(field.name, field.name)
        event[name] = value
    if "data" in event:
        kind = message.data.WhichOneof("kind")
        assert kind in ("string", "json"), message
        event["data"] = message.data.string if kind == "string" else json.loads(message.data.json)
    if "tags" in event:
        event["tags"] = dict(message.tags)
    if "extras" in event:
        event["extras"] = _extras(message.extras)
    return event


def _extras(message: MessageExtras) -> Event:
    extras: Event = {}
    for field, value in message.ListFields():
        if field.name == "headers":
            extras["headers"] = {name: getattr(each, each.WhichOneof("kind")) for name, each in value.items()}
        elif field.name == "ai":
            extras["ai"] = {part.name: dict(texts) for part, texts in value.ListFields()}
        else:
            extras[field.name] = value
    return extras


JSON = Wire("json", TEXT, _encode_json, _decode_json)
MSGPACK = Wire("msgpack", BINARY, _encode_msgpack, _decode_msgpack)
PROTOBUF = Wire("protobuf", BINARY, _encode_protobuf, _decode_protobuf)

WIRES = (JSON, MSGPACK, PROTOBUF)
"""Every format of protocol V2."""
