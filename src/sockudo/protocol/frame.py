"""A frame from server to client as the server means it, before it has the shape of a connection
(spec: websocket § 1.2)."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Frame"]


class Frame(msgspec.Struct, omit_defaults=True, gc=False):
    """One event for any number of connections; encoded once per wire shape, see `sockudo.protocol.shapes`.

    The fields are in the order in which JSON writes them. System events carry their V1 prefix (``pusher:`` or
    ``pusher_internal:``) and are rewritten for V2. ``data`` is a string, or `msgspec.Raw` with JSON text of any type,
    or None where the frame has none. ``extras`` is decoded JSON. Never altered once it has been said.
    """

    event: str
    channel: str | None = None
    data: str | msgspec.Raw | None = None
    name: str | None = None
    user_id: str | None = None
    tags: dict[str, str] | None = None
    message_id: str | None = None
    stream_id: str | None = None
    serial: int | None = None
    extras: dict[str, Any] | None = None
