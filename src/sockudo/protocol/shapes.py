"""The shape of a connection's bytes: a format (of a frame's content) in a framing (how a transport carries a message).

Connections of one shape get the same bytes, so a frame is encoded once per format and framed once per shape.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from sockudo.protocol.formats import Format
from sockudo.protocol.frames import Frame

__all__ = ["Framing", "Shape", "shape_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Framing:
    """How a kind of transport marks where a message begins and ends; one object for all its connections.

    ``text`` and ``binary`` make the bytes of one whole message of a payload. They keep nothing: the bytes are shared by
    every connection, and bytes of several messages are joined into one write. ``ping`` makes the transport's own ping
    with up to 125 bytes for the answer; None where it has none, and protocol V2 is then pinged by a frame, as V1 is.
    """

    label: str
    text: Callable[[bytes], bytes]
    binary: Callable[[bytes], bytes]
    ping: Callable[[bytes], bytes] | None = None


class Shape:
    """One format in one framing. ``wrap`` frames a payload of the format; ``label`` and ``v2`` are the format's."""

    __slots__ = ("format", "framing", "label", "v2", "wrap")

    def __init__(self, wire_format: Format, framing: Framing) -> None:
        self.format = wire_format
        self.framing = framing
        self.label = wire_format.label
        self.v2 = wire_format.v2
        self.wrap = framing.text if wire_format.json else framing.binary

    def encode(self, frame: Frame) -> bytes:
        """The bytes of one whole message."""
        return self.wrap(self.format.encode(frame))


@functools.cache
def shape_of(wire_format: Format, framing: Framing) -> Shape:
    """The pair: always the same object, which is what fan-outs are found by."""
    return Shape(wire_format, framing)
