"""Compressed messages: permessage-deflate (RFC 7692), without state between messages.

Both directions are always answered with "no context takeover": a published message is compressed once and shared by
every subscriber that takes it compressed, and an idle connection keeps no zlib state. The price is a worse ratio for
short messages that resemble each other.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Final

from sockudo import errors
from sockudo.protocol.framing import binary_frame, ping_frame, text_frame
from sockudo.protocol.shapes import Framing

__all__ = ["DEFLATED_WEBSOCKET", "DeflateParams", "Inflater", "compress", "negotiate"]

_EXTENSION: Final = "permessage-deflate"
# What every sync flush ends with; RFC 7692 § 7.2.1 takes it off the wire.
_FLUSH: Final = b"\x00\x00\xff\xff"
# An empty final block: it is only understood as one when the block before it is complete.
_FINAL_BLOCK: Final = b"\x03\x00"
# A window of 4 KB: enough for single messages, and clients that ask for this size can take part.
_WINDOW_BITS: Final = 12
# zlib allocates 2^(level + 9) bytes by this for each message.
_MEMORY_LEVEL: Final = 5
# Below this a text does not get smaller.
_WORTH_IT: Final = 64
_WINDOW: Final = re.compile(r"[89]|1[0-5]")


@dataclass(frozen=True, slots=True)
class DeflateParams:
    """What was agreed on. ``server_max_window_bits`` is the bound that the client asked for, if it did."""

    server_max_window_bits: int | None = None

    def header(self) -> str:
        """The value of Sec-WebSocket-Extensions in the answer."""
        text = f"{_EXTENSION}; server_no_context_takeover; client_no_context_takeover"
        if self.server_max_window_bits is None:
            return text
        return f"{text}; server_max_window_bits={self.server_max_window_bits}"


def negotiate(offers: str) -> DeflateParams | None:
    """The first acceptable offer in ``offers``, the value of Sec-WebSocket-Extensions; None when there is none.

    Offers of other extensions, with unknown, repeated or invalid parameters, or that ask for a smaller window than
    ours are declined, as RFC 7692 § 5 wants it: the connection then goes on uncompressed.
    """
    for offer in offers.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name.lower() == _EXTENSION:
            accepted = _accept(parameters)
            if accepted is not None:
                return accepted
    return None


def _accept(parameters: list[str]) -> DeflateParams | None:
    window: int | None = None
    seen: set[str] = set()
    for parameter in parameters:
        name, has_value, value = (part.strip() for part in parameter.partition("="))
        name = name.lower()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if name in seen:
            return None
        seen.add(name)
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if has_value:
                return None
        elif name == "client_max_window_bits":
            if has_value and not _WINDOW.fullmatch(value):
                return None
        elif name == "server_max_window_bits" and _WINDOW.fullmatch(value):
            window = int(value)
            if window < _WINDOW_BITS:
                return None
        else:
            return None
    return DeflateParams(window)


def compress(payload: bytes) -> bytes:
    """The compressed payload of one message, readable without any message before it."""
    stream = zlib.compressobj(wbits=-_WINDOW_BITS, memLevel=_MEMORY_LEVEL)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[: -len(_FLUSH)]


def _text_frame(payload: bytes) -> bytes:
    return text_frame(payload) if len(payload) < _WORTH_IT else text_frame(compress(payload), compressed=True)


DEFLATED_WEBSOCKET: Final = Framing("deflated websocket", _text_frame, binary_frame, ping_frame)
"""Longer texts compressed, for every client that agreed to that."""


class Inflater:
    """Decompresses messages. It holds nothing, so one object serves every connection."""

    __slots__ = ()

    def inflate(self, data: bytes, max_bytes: int) -> bytes:
        """The message that ``data`` holds, of at most ``max_bytes``.

        A larger one raises errors.MESSAGE_TOO_BIG (1009) without being inflated further; data that is not one
        complete DEFLATE stream errors.PROTOCOL_VIOLATION (1002: RFC 7692 names no code).
        """
        stream = zlib.decompressobj(wbits=-15)
        try:
            message = stream.decompress(data + _FLUSH + _FINAL_BLOCK, max_bytes + 1)
        except zlib.error:
            raise errors.PROTOCOL_VIOLATION("compressed message is damaged") from None
        if len(message) > max_bytes:
            raise errors.MESSAGE_TOO_BIG(f"message is larger than {max_bytes} bytes")
        # A sender may end with a final block of its own, then pads with one zero byte (RFC 7692 § 7.2.3.4).
        if not stream.eof or stream.unused_data not in (b"", b"\x00" + _FLUSH + _FINAL_BLOCK):
            raise errors.PROTOCOL_VIOLATION("compressed message is incomplete")
        return message
