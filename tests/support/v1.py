"""Frames as the bytes that a connection on protocol V1 gets."""

from __future__ import annotations

from sockudo.protocol import frames
from sockudo.protocol.frame import Frame
from sockudo.protocol.shapes import V1_JSON

__all__ = ["PING", "error", "event"]

PING = V1_JSON.encode(frames.PING)


def error(code: int, message: str) -> bytes:
    return V1_JSON.encode(frames.error(code, message))


def event(name: str, channel: str, data: str) -> bytes:
    return V1_JSON.encode(Frame(name, channel, data))
