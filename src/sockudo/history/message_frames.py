"""Versions of messages as frames and as items of an answer (spec: messages § 5, 7 and 9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from sockudo.base.message_records import Latest, Version
from sockudo.base.stream_records import Position
from sockudo.hub.rollup import APPEND, message_of
from sockudo.protocol.frames import Frame

__all__ = [
    "APPEND",
    "CHANGE",
    "change_frame",
    "for_v1",
    "item_of",
    "message_of",
    "shown_extras",
    "version_frame",
]

CHANGE: Final = "sockudo:message."
"""Begins the events of versions."""

CREATE: Final = "sockudo:message.create"


def shown_extras(version: Version) -> dict[str, Any]:
    """The extras with the headers that say which version it is."""
    extras = version.extras or {}
    headers = {
        "sockudo_action": f"message.{version.action}",
        "sockudo_message_serial": version.message_serial,
        "sockudo_version_serial": version.version_serial,
        "sockudo_history_serial": version.history_serial,
        "sockudo_version_timestamp_ms": version.timestamp_ms,
    }
    return {**extras, "headers": {**extras.get("headers", {}), **headers}}


def change_frame(channel: str, version: Version, place: Position) -> Frame:
    """A version as a frame of its own; a create has the id that its message was published with."""
    return Frame(
        CHANGE + version.action,
        channel,
        version.data,
        version.name,
        version.client_id or version.user_id,
        None,
        version.message_id if version.action == "create" else version.version_serial,
        *place,
        shown_extras(version),
    )


def _create_frame(channel: str, version: Version, place: Position) -> Frame:
    """A create as it is published."""
    return Frame(
        version.name or "",
        channel,
        version.data,
        None,
        version.user_id,
        version.tags,
        version.message_id,
        *place,
        shown_extras(version),
    )


def version_frame(channel: str, version: Version, place: Position) -> Frame:
    """A version as subscribers get it when it is made."""
    return (_create_frame if version.action == "create" else change_frame)(channel, version, place)


def for_v1(frames: Iterable[Frame]) -> list[Frame]:
    """What V1 gets of frames that are replayed: creates as they were published, and no change."""
    plain = (_as_published(frame) if frame.event == CREATE else frame for frame in frames)
    return [frame for frame in plain if not frame.event.startswith(CHANGE)]


def _as_published(create: Frame) -> Frame:
    return replace(create, event=create.name or "", name=None)


def item_of(channel: str, latest: Latest) -> dict[str, Any]:
    """A version as it stands in an answer."""
    serial, version, _ = latest
    about = {
        "serial": version.version_serial,
        "client_id": version.client_id,
        "timestamp_ms": version.timestamp_ms,
        "description": version.description,
        "metadata": version.metadata if bytes(version.metadata) else None,
    }
    item = {
        "event": CHANGE + version.action,
        "channel": channel,
        "data": version.data,
        "name": version.name,
        "serial": serial,
        "extras": shown_extras(version),
        "action": version.action,
        "message_serial": version.message_serial,
        "history_serial": version.history_serial,
        "delivery_serial": serial,
        "version": {name: value for name, value in about.items() if value is not None},
    }
    return {name: value for name, value in item.items() if value is not None}
