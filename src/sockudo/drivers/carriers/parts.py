"""Payloads that are longer than a broker lets pass: sent in parts, and joined where they arrive
(spec: platform § 10.11).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["OVERHEAD", "Joined", "Joiner", "Splitter"]

_WHOLE: Final = b"\x00"
# A part: who sent it, the number of what it is a part of, which one it is, and of how many.
_PART: Final = struct.Struct(">B8sIII")
OVERHEAD: Final = _PART.size
"""By how many bytes a part is longer than what it holds."""

_MAX_BYTES: Final = 64 * 1024 * 1024


class Splitter:
    """Makes what is sent of a payload."""

    def __init__(self) -> None:
        self._sender = os.urandom(8)
        self._number = 0

    def split(self, payload: bytes, longest: int) -> Iterator[bytes]:
        """What is to be sent in this order on one topic, none longer than ``longest``."""
        if len(payload) < longest:
            yield _WHOLE + payload
            return
        self._number = (self._number + 1) % 2**32
        room = longest - OVERHEAD
        of = -(-len(payload) // room)
        for index in range(of):
            head = _PART.pack(1, self._sender, self._number, index, of)
            yield head + payload[index * room : (index + 1) * room]


class Joined(NamedTuple):
    """A payload that is complete, if there is one, and the topics of those that will never be."""

    payload: bytes | None
    lost: tuple[str, ...] = ()


class _Begun:
    __slots__ = ("number", "of", "parts", "size")

    def __init__(self, number: int, of: int) -> None:
        self.number = number
        self.of = of
        self.parts: list[bytes] = []
        self.size = 0


class Joiner:
    """Puts payloads together. Those that are not complete have 64 MiB together; past that the oldest are given up.

    On a topic the parts of one sender come in order, so one that does not fit shows that others were lost.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._begun: dict[tuple[str, bytes], _Begun] = {}

    def join(self, topic: str, data: bytes) -> Joined:
        """Takes what arrived on a topic in."""
        if data[:1] == _WHOLE:
            return Joined(data[1:])
        try:
            _, sender, number, index, of = _PART.unpack_from(data)
        except struct.error:
            return Joined(None, (topic,))
        key = (topic, sender)
        begun = self._begun.get(key)
        lost: list[str] = []
        if begun is not None and (begun.number, begun.of, len(begun.parts)) != (number, of, index):
            self._forget(key)
            lost.append(topic)
            begun = None
        if begun is None:
            if index:
                return Joined(None, tuple(lost) or (topic,))
            begun = self._begun[key] = _Begun(number, of)
        part = data[OVERHEAD:]
        begun.parts.append(part)
        begun.size += len(part)
        self._bytes += len(part)
        if len(begun.parts) == of:
            self._forget(key)
            return Joined(b"".join(begun.parts), tuple(lost))
        while self._bytes > self._max_bytes and self._begun:
            oldest = next(iter(self._begun))
            self._forget(oldest)
            lost.append(oldest[0])
        return Joined(None, tuple(lost))

    def _forget(self, key: tuple[str, bytes]) -> None:
        self._bytes -= self._begun.pop(key).size
