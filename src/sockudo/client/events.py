"""A frame from the server as an application sees it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sockudo.client.failures import ClientError

__all__ = ["Event", "read_event"]

_PREFIXES: Final = ("pusher:", "pusher_internal:", "sockudo:", "sockudo_internal:")


@dataclass(frozen=True, slots=True)
class Event:
    """One frame from the server.

    ``data`` is what a stock client hands to the application: text that holds JSON is decoded, other text stays text;
    None where the frame has none. ``raw`` is the frame as it came; of a binary frame, and of one that came as a
    difference, the JSON that it stands for. What follows is there on protocol V2 only.
    """

    event: str
    channel: str | None
    data: Any
    user_id: str | None
    raw: str
    name: str | None = None
    tags: Mapping[str, str] | None = None
    message_id: str | None = None
    stream_id: str | None = None
    serial: int | None = None
    extras: Mapping[str, Any] | None = None

    @property
    def system(self) -> str | None:
        """The name of a system event without the prefix, which depends on the protocol; None for any other event."""
        prefix, colon, name = self.event.partition(":")
        return name if colon and f"{prefix}:" in _PREFIXES else None

    @property
    def is_app_event(self) -> bool:
        """Whether an application caused it: published over HTTP, sent as a client event, or changed a message."""
        name = self.system
        return name is None or name.startswith("message.")


class _Frame(msgspec.Struct):
    event: str
    channel: str | None = None
    data: Any = None
    user_id: str | None = None
    name: str | None = None
    tags: dict[str, str] | None = None
    message_id: str | None = None
    stream_id: str | None = None
    serial: int | None = None
    extras: dict[str, Any] | None = None


def read_event(text: str) -> Event:
    """Read a frame in JSON; raises `ClientError` when the server does not speak the protocol."""
    try:
        frame = msgspec.json.decode(text, type=_Frame)
    except msgspec.DecodeError as error:
        raise ClientError(f"The server sent something that is not a frame of the protocol: {error}") from None
    data = frame.data
    if isinstance(data, str):
        with suppress(msgspec.DecodeError):
            data = msgspec.json.decode(data)
    return Event(
        frame.event,
        frame.channel,
        data,
        frame.user_id,
        text,
        frame.name,
        frame.tags,
        frame.message_id,
        frame.stream_id,
        frame.serial,
        frame.extras,
    )
