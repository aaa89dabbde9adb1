"""Events of a presence history: what is stored of them and how they are shown (spec: history § 8.1)."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from sockudo.base.stream_records import Row
from sockudo.hub.presence import Cause, MemberEventKind
from sockudo.hub.streams.totals import PRESENCE_PREFIX

__all__ = ["RecordedEvent", "StoredEvent", "StoredEventError", "channel_of", "decode_event", "shown", "stream_of"]


class RecordedEvent(NamedTuple):
    """Something that happened, until it is written. ``id`` is made once, however often it takes to write it.

    ``node_id`` is the process that saw it, ``dead_node_id`` one that did not live to see it.
    """

    id: str
    kind: MemberEventKind
    cause: Cause
    user_id: str
    connection_id: str | None
    user_info: bytes | None
    at_ms: int
    node_id: str
    dead_node_id: str | None = None

    def text(self) -> bytes:
        """The JSON that is stored; position and time are those of the row."""
        info = msgspec.Raw(b"null" if self.user_info is None else self.user_info)
        return _encode(
            StoredEvent(
                self.kind, self.cause, self.user_id, self.connection_id, info, self.dead_node_id, node_id=self.node_id
            )
        )


class StoredEvent(msgspec.Struct):
    """An event as it is stored: what is shown, and the process that saw it, which is not."""

    event: MemberEventKind
    cause: Cause
    user_id: str
    connection_id: str | None = None
    user_info: msgspec.Raw = msgspec.Raw(b"null")
    dead_node_id: str | None = None
    node_id: str | None = None


class StoredEventError(Exception):
    """What is stored is not an event of ours."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StoredEvent).decode


def stream_of(channel: str) -> str:
    """The name of the stream that holds the presence history of a channel; no channel can be called so."""
    return PRESENCE_PREFIX + channel


def channel_of(stream: str) -> str | None:
    """The channel whose presence history a stream holds; None for the stream of a channel."""
    return stream.removeprefix(PRESENCE_PREFIX) if stream.startswith(PRESENCE_PREFIX) else None


def decode_event(row: Row) -> StoredEvent:
    """The event of a row. Raises `StoredEventError`."""
    try:
        return _decode(row.message)
    except msgspec.DecodeError as problem:
        raise StoredEventError(f"Serial {row.serial} of stream {row.stream_id}: {problem}") from problem


def shown(row: Row) -> dict[str, Any]:
    """The payload of spec: history § 8.1. Raises `StoredEventError`."""
    event = decode_event(row)
    return {
        "stream_id": row.stream_id,
        "serial": row.serial,
        "published_at_ms": row.published_at_ms,
        "event": event.event,
        "cause": event.cause,
        "user_id": event.user_id,
        "connection_id": event.connection_id,
        "user_info": event.user_info,
        "dead_node_id": event.dead_node_id,
    }
