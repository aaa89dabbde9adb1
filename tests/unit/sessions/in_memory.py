"""A transport without WebSockets: its framing sets a length before each message, its peer hands out whole payloads."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from sockudo.protocol.shapes import Framing

__all__ = ["IN_MEMORY", "MemoryPeer"]


def _text(payload: bytes) -> bytes:
    return b"T%d:" % len(payload) + payload


def _binary(payload: bytes) -> bytes:
    return b"B%d:" % len(payload) + payload


IN_MEMORY: Final = Framing("in memory", _text, _binary)


class MemoryPeer:
    """The other end of such a transport. Messages that were joined into one write come apart again."""

    address = "10.0.0.7"
    framing = IN_MEMORY

    def __init__(self) -> None:
        self.writes = 0
        self.closed: tuple[int, str] | None = None
        self._data = b""

    def write(self, data: bytes) -> None:
        self.writes += 1
        self._data += data

    def buffered(self) -> int:
        return len(self._data)

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def payloads(self) -> list[tuple[str, bytes]]:
        """Kind (``T`` or ``B``) and payload of each message since the last look."""
        found, data = [], self._data
        while data:
            head, _, rest = data.partition(b":")
            size = int(head[1:])
            found.append((chr(head[0]), rest[:size]))
            data = rest[size:]
        self._data = b""
        return found

    def frames(self) -> list[dict[str, Any]]:
        """These messages, which must be JSON texts, decoded."""
        payloads = self.payloads()
        assert {kind for kind, _ in payloads} <= {"T"}
        return [msgspec.json.decode(payload) for _, payload in payloads]
