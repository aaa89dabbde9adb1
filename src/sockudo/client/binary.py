"""Frames in the binary formats as the JSON that they stand for (spec: websocket § 16)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sockudo.client.failures import ClientError
from sockudo.errors import SockudoError

__all__ = ["from_msgpack", "from_protobuf"]

_FIELDS: Final = (
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
_STRUCTURED: Final = ("channel_data", "channel", "user_data")


def from_msgpack(payload: bytes) -> dict[str, Any]:
    """The fields of a frame in MessagePack, None for what it has not.

    Raises `ClientError` for anything that is none.
    """
    try:
        values = msgspec.msgpack.decode(payload)
        if not isinstance(values, list) or len(values) != len(_FIELDS):
            raise ValueError(f"not an array of {len(_FIELDS)}")
        fields = dict(zip(_FIELDS, values, strict=True))
        if fields["data"] is not None:
            kind, value = fields["data"]
            fields["data"] = _data(kind, value)
        if fields["extras"] is not None:
            fields["extras"] = _extras(fields["extras"])
    except (msgspec.DecodeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ClientError(f"The server sent something that is not a frame in MessagePack: {error}") from None
    return fields


def from_protobuf(payload: bytes) -> dict[str, Any]:
    """The fields of a frame in protocol buffers, without those that it has not.

    Raises `ClientError` for anything that is none.
    """
    from sockudo.protocol import protobuf
    from sockudo.protocol.proto.pusher_pb2 import PusherMessage

    try:
        protobuf.decode(payload)
    except SockudoError as error:
        raise ClientError(f"The server sent something that is not a frame in protocol buffers: {error.text}") from None
    message = PusherMessage()
    message.ParseFromString(payload)
    plain = ("event", "channel", "name", "user_id", "message_id", "stream_id", "serial")
    fields: dict[str, Any] = {name: getattr(message, name) for name in plain if message.HasField(name)}
    kind = message.data.WhichOneof("kind") if message.HasField("data") else None
    if kind == "structured":
        named = {name: getattr(message.data.structured, name) or None for name in _STRUCTURED}
        fields["data"] = _structured(named, message.data.structured.extra)
    elif kind is not None:
        fields["data"] = _data(kind, getattr(message.data, kind))
    if message.tags:
        fields["tags"] = dict(message.tags)
    if message.HasField("extras"):
        fields["extras"] = _protobuf_extras(message.extras)
    if message.HasField("delta_sequence"):
        fields["__delta_seq"] = message.delta_sequence
    if message.HasField("delta_conflation_key"):
        fields["__conflation_key"] = message.delta_conflation_key
    # Differences are made from a text that begins with event, channel and data.
    return {name: fields[name] for name in _FIELDS if name in fields}


def _data(kind: str, value: Any) -> Any:
    match kind:
        case "string":
            return value
        case "json":
            return msgspec.Raw(value.encode())
        case "binary":
            return list(value)
        case "structured":
            return _structured(dict(zip(_STRUCTURED, value, strict=False)), value[3] or {})
    raise ValueError(f"data of the unknown kind '{kind}'")


def _structured(named: Mapping[str, str | None], extra: Mapping[str, str]) -> dict[str, Any]:
    members: dict[str, Any] = {name: msgspec.Raw(text.encode()) for name, text in extra.items()}
    return members | {name: text for name, text in named.items() if text is not None}


def _extras(parts: Mapping[str, Any]) -> dict[str, Any]:
    """``headers`` are pairs of a kind and a value here; the key goes by another name in JSON."""
    extras = {name: value for name, value in parts.items() if name in ("ephemeral", "echo", "ai") and value is not None}
    if parts.get("headers"):
        extras["headers"] = {name: value for name, (_, value) in parts["headers"].items()}
    if parts.get("idempotency_key") is not None:
        extras["idempotencyKey"] = parts["idempotency_key"]
    return extras


def _protobuf_extras(message: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {
        name: getattr(message, name) for name in ("ephemeral", "idempotency_key", "echo") if message.HasField(name)
    }
    headers = {name: (kind, getattr(value, kind)) for name, value in message.headers.items() if (kind := _kind(value))}
    ai = {name: dict(texts) for name in ("transport", "codec") if (texts := getattr(message.ai, name))}
    return _extras({**parts, "headers": headers, "ai": ai or None})


def _kind(value: Any) -> str | None:
    kind: str | None = value.WhichOneof("kind")
    return kind
