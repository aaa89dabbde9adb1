"""Stored messages as frames and as JSON text. What is stored is the V2 frame; its position is that of the row."""

from __future__ import annotations

from typing import Any

import msgspec

from sockudo.base.message_records import Version, channel_of_log
from sockudo.base.stream_records import RETRACTED, Position, Row
from sockudo.history.message_frames import change_frame
from sockudo.hub.streams.versions import decode_version
from sockudo.protocol.frames import Frame

__all__ = ["StoredMessageError", "frame_in", "frame_of", "is_shown", "message_text", "version_of"]


class StoredMessageError(Exception):
    """What is stored is not a message of ours."""


class _Stored(msgspec.Struct):
    """`Frame`, with data of any type left as its text."""

    event: str
    channel: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    name: str | None = None
    user_id: str | None = None
    tags: dict[str, str] | None = None
    message_id: str | None = None
    extras: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Stored).decode
_decode_text = msgspec.json.Decoder(str).decode


def is_shown(row: Row) -> bool:
    """False for a row that only holds its serial."""
    return row.operation_kind != RETRACTED


def version_of(row: Row) -> Version:
    """The version that a row of a log is. Raises `StoredMessageError`."""
    try:
        return decode_version(row.message)
    except msgspec.DecodeError as problem:
        raise StoredMessageError(f"Serial {row.serial} of stream {row.stream_id}: {problem}") from problem


def frame_in(stream: str, row: Row) -> Frame:
    """A row of any stream as it is replayed: a version, or a message as it was published.

    Raises `StoredMessageError`.
    """
    channel = channel_of_log(stream)
    if channel is None:
        return frame_of(row)
    version = version_of(row) if row.latest is None else row.latest.version
    return change_frame(channel, version, Position(row.stream_id, row.serial))


def frame_of(row: Row) -> Frame:
    """The frame as it was published, at its position; of a message that can change, its latest version.

    Raises `StoredMessageError`.
    """
    try:
        stored = _decode(row.message)
        data = _data(stored.data)
    except msgspec.DecodeError as problem:
        raise StoredMessageError(f"Serial {row.serial} of stream {row.stream_id}: {problem}") from problem
    if row.latest is not None:
        serial, version, stream_id = row.latest
        return change_frame(stored.channel or "", version, Position(stream_id, serial))
    return Frame(
        stored.event,
        stored.channel,
        data,
        stored.name,
        stored.user_id,
        stored.tags,
        row.message_id or stored.message_id,
        row.stream_id,
        row.serial,
        stored.extras,
    )


def message_text(row: Row) -> msgspec.Raw:
    """The message as JSON text with its position, every value as it was published."""
    text = row.message.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        raise StoredMessageError(f"Serial {row.serial} of stream {row.stream_id} is not an object")
    comma = b"" if text[1:-1].isspace() or len(text) == 2 else b","
    position = msgspec.json.encode({"stream_id": row.stream_id, "serial": row.serial})
    return msgspec.Raw(text[:-1] + comma + position[1:])


def _data(raw: msgspec.Raw) -> str | msgspec.Raw | None:
    text = bytes(raw)
    if text == b"null":
        return None
    return _decode_text(text) if text.startswith(b'"') else msgspec.Raw(text)
