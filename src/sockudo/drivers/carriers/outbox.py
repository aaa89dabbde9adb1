"""What waits to be sent, within bounds: past them the oldest payloads are dropped, counted and reported."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["Outbox"]

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_PAYLOADS: Final = 50_000
# What a payload costs beside its bytes.
_EACH: Final = 64
# Losses of one turn on more topics than this are reported as losses on all.
_TOPICS: Final = 1_000


class Outbox:
    """Payloads with their topics, in order.

    ``lost`` hears of what was dropped, once a turn of the loop: on which topics, or None for any.
    """

    def __init__(self, lost: Callable[[Sequence[str] | None], None]) -> None:
        self.dropped = 0
        self._lost = lost
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._topics: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, topic: str, payload: bytes) -> None:
        """Takes a payload, and drops the oldest ones that there is no room for any more."""
        self._waiting.append((topic, payload))
        self._bytes += len(payload) + _EACH
        while (self._bytes > MAX_BYTES and len(self._waiting) > 1) or len(self._waiting) > MAX_PAYLOADS:
            dropped, oldest = self._waiting.popleft()
            self._bytes -= len(oldest) + _EACH
            self.dropped += 1
            if not self._topics:
                asyncio.get_running_loop().call_soon(self._tell)
            if len(self._topics) <= _TOPICS:
                self._topics.add(dropped)

    def take(self, size: int) -> list[tuple[str, bytes]]:
        """Removes the first payloads: one, and as many more as have ``size`` bytes together."""
        taken: list[tuple[str, bytes]] = []
        while self._waiting:
            length = len(self._waiting[0][1]) + _EACH
            if taken and length > size:
                break
            size -= length
            self._bytes -= length
            taken.append(self._waiting.popleft())
        return taken

    def clear(self) -> None:
        """Drops everything, uncounted: there is no connection."""
        self._waiting.clear()
        self._bytes = 0

    def _tell(self) -> None:
        topics, self._topics = self._topics, set()
        self._lost(None if len(topics) > _TOPICS else tuple(topics))
