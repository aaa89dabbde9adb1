"""The Fossil delta format (spec: filters-deltas § 3.1): how it is written, and a strict reading for tests and tools."""

from __future__ import annotations

from typing import Final

from sockudo.protocol.delta.matcher import match

__all__ = ["MAX_TARGET", "MalformedDeltaError", "checksum", "decode", "encode"]

_DIGITS: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
_VALUES: Final = {digit: value for value, digit in enumerate(_DIGITS)}
_MAX_NUMBER: Final = 2**32 - 1

MAX_TARGET: Final = 16 * 1024 * 1024
"""Bytes that `decode` makes at most, independent of what a delta announces."""

_PART: Final = 64 * 1024
_EVERY_OTHER_WORD: Final = int.from_bytes(b"\0\0\0\0\xff\xff\xff\xff" * (_PART // 8))


class MalformedDeltaError(ValueError):
    """The delta breaks the format, or was not made for this base; the text names place and cause."""


def encode(base: bytes, target: bytes) -> bytes:
    """The delta that turns ``base``, with any last byte, into ``target``."""
    parts = [_number(len(target)), b"\n"]
    for copied, start, count in match(base, target):
        if copied:
            parts += (_number(count), b"@", _number(start), b",")
        else:
            parts += (_number(count), b":", target[start : start + count])
    parts += (_number(checksum(target)), b";")
    return b"".join(parts)


def checksum(target: bytes) -> int:
    """The sum of the big-endian 32-bit words, zeros appended to the last one, without what exceeds 32 bits."""
    total = 0
    for at in range(0, len(target), _PART):
        part = target[at : at + _PART]
        words = int.from_bytes(part + bytes(-len(part) % 4))
        # Words with odd and even places are added up in lanes of 64 bits, then one half of the lanes to the other.
        lanes = (words & _EVERY_OTHER_WORD) + (words >> 32 & _EVERY_OTHER_WORD)
        count = (len(part) + 7) // 8
        while count > 1:
            count = (count + 1) // 2
            lanes = (lanes >> count * 64) + (lanes & (1 << count * 64) - 1)
        total += lanes
    return total & _MAX_NUMBER


def _number(value: int) -> bytes:
    if value < 64:
        return _DIGITS[value : value + 1]
    digits = bytearray()
    while value:
        digits.append(_DIGITS[value & 63])
        value >>= 6
    digits.reverse()
    return bytes(digits)


def decode(base: bytes, delta: bytes) -> bytes:
    """The target of ``delta``. Raises MalformedDeltaError for everything the format does not allow."""
    size, at = _read_number(delta, 0)
    if size > MAX_TARGET:
        raise MalformedDeltaError(f"announces {size} bytes, more than {MAX_TARGET}")
    if delta[at : at + 1] != b"\n":
        raise MalformedDeltaError(f"no line feed after the size, at byte {at}")
    at += 1
    target = bytearray()
    while True:
        count, at = _read_number(delta, at)
        operator = delta[at : at + 1]
        at += 1
        if operator == b";":
            break
        if operator == b"@":
            piece, at = _read_copy(base, delta, at, count)
        elif operator == b":":
            piece = delta[at : at + count]
            at += count
        else:
            raise MalformedDeltaError(f"unknown operator at byte {at - 1}")
        if len(piece) != count or not count:
            raise MalformedDeltaError(f"{count} bytes are asked for and {len(piece)} there, before byte {at}")
        target += piece
        if len(target) > size:
            raise MalformedDeltaError(f"makes more than the {size} bytes it announces, at byte {at}")
    if at != len(delta):
        raise MalformedDeltaError(f"goes on after its end, at byte {at}")
    if len(target) != size:
        raise MalformedDeltaError(f"makes {len(target)} bytes and announces {size}")
    made = bytes(target)
    if checksum(made) != count:
        raise MalformedDeltaError("checksum differs: made for another base")
    return made


def _read_copy(base: bytes, delta: bytes, at: int, count: int) -> tuple[bytes, int]:
    offset, at = _read_number(delta, at)
    if delta[at : at + 1] != b",":
        raise MalformedDeltaError(f"no comma after a copy, at byte {at}")
    return base[offset : offset + count], at + 1


def _read_number(delta: bytes, at: int) -> tuple[int, int]:
    """The number at ``at`` and the place behind it."""
    value, start = 0, at
    while at < len(delta) and (digit := _VALUES.get(delta[at])) is not None:
        value = value << 6 | digit
        at += 1
        if value > _MAX_NUMBER:
            raise MalformedDeltaError(f"number over {_MAX_NUMBER} at byte {start}")
    if at == start:
        raise MalformedDeltaError(f"no number at byte {at}")
    return value, at
