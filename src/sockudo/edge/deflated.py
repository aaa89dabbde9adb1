"""The same frames, compressed: one wire shape more for connections that negotiated permessage-deflate."""

from __future__ import annotations

from sockudo.protocol.deflate import deflated_text_frame
from sockudo.protocol.framing import TEXT

__all__ = ["deflated_frames"]

_FINAL_TEXT = 0x80 | TEXT
# Below this a frame does not get smaller.
_WORTH_IT = 64

# The last batch and its compressed form. All subscribers of a channel get the same object one after the other, so one
# entry is enough for each batch to be compressed once.
_last: tuple[bytes, bytes] = (b"", b"")


def deflated_frames(data: bytes) -> bytes:
    """Whole server frames with the texts among them compressed (RFC 7692, no context takeover)."""
    global _last  # noqa: PLW0603  # a memo of one entry
    if _last[0] is data:
        return _last[1]
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        start, at = at, _end_of_frame(data, at)
        payload_at = start + (2 if data[start + 1] < 126 else 4 if data[start + 1] == 126 else 10)
        if data[start] == _FINAL_TEXT and at - payload_at >= _WORTH_IT:
            parts.append(deflated_text_frame(data[payload_at:at]))
        else:
            parts.append(data[start:at])
    compressed = b"".join(parts)
    _last = (data, compressed)
    return compressed


def _end_of_frame(data: bytes, start: int) -> int:
    size = data[start + 1]
    if size < 126:
        return start + 2 + size
    if size == 126:
        return start + 4 + int.from_bytes(data[start + 2 : start + 4], "big")
    return start + 10 + int.from_bytes(data[start + 2 : start + 10], "big")
