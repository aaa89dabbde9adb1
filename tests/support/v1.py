"""Frames as the bytes that a connection on protocol V1 gets."""

from __future__ import annotations

from sockudo.protocol import frames
from sockudo.protocol.formats import V1_JSON
from sockudo.protocol.frames import Frame
from sockudo.protocol.framing import WEBSOCKET
from sockudo.protocol.shapes import shape_of

__all__ = ["PING", "error", "event"]

_V1 = shape_of(V1_JSON, WEBSOCKET)
PING = _V1.encode(frames.PING)


def error(code: int, message: str) -> bytes:
    return _V1.encode(frames.error(code, message))


def event(name: str, channel: str, data: str) -> bytes:
    return _V1.encode(Frame(name, channel, data))
