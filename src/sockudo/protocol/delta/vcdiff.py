"""VCDIFF (RFC 3284), which the protocol calls ``xdelta3``: the subset that every SDK decodes
(spec: filters-deltas § 3.2).

One window over the base without its last byte, no checksum, no secondary compression, only ADD and COPY of single
instructions with absolute addresses, and no copy out of the target.
"""

from __future__ import annotations

from typing import Final

from sockudo.protocol.delta.matcher import match

__all__ = ["encode"]

# Magic, version 0, no header extras; one window with a source segment.
_START: Final = b"\xd6\xc3\xc4\x00\x00\x01"
_PLAIN_SECTIONS: Final = b"\x00"
_FROM_ITS_START: Final = b"\x00"

_ADD: Final = 0x01
_ADD_MOST: Final = 17
_COPY: Final = 0x13
_COPY_MOST: Final = 18


def encode(base: bytes, target: bytes) -> bytes:
    """The delta that turns ``base``, with any last byte, into ``target``; both below 2^31 bytes."""
    data: list[bytes] = []
    instructions = bytearray()
    addresses = bytearray()
    for copied, start, count in match(base, target):
        if copied:
            if count <= _COPY_MOST:
                instructions.append(_COPY + count - 3)
            else:
                instructions.append(_COPY)
                instructions += _varint(count)
            addresses += _varint(start)
        else:
            if count <= _ADD_MOST:
                instructions.append(_ADD + count)
            else:
                instructions.append(_ADD)
                instructions += _varint(count)
            data.append(target[start : start + count])
    added = b"".join(data)
    sizes = _varint(len(target)) + _PLAIN_SECTIONS
    sizes += _varint(len(added)) + _varint(len(instructions)) + _varint(len(addresses))
    rest = len(sizes) + len(added) + len(instructions) + len(addresses)
    source = _varint(max(len(base) - 1, 0)) + _FROM_ITS_START
    return b"".join((_START, source, _varint(rest), sizes, added, instructions, addresses))


def _varint(value: int) -> bytes:
    """Base 128, most significant group first, the high bit set on all but the last."""
    if value < 128:
        return bytes((value,))
    groups = bytearray((value & 127,))
    value >>= 7
    while value:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.reverse()
    return bytes(groups)
