"""Replies of the express lane, held until the end of the loop's turn and written one after the other.

A backend that publishes over several connections sleeps while it waits. To wake it takes the kernel longer than all
else about a reply, and writes that follow each other wake it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["HeldReplies"]


class HeldReplies:
    """What is written at the end of this turn, in the order in which it was put here.

    ``schedule`` runs a function once the turn has done its work: ``loop.call_soon``.
    """

    __slots__ = ("_due", "_held", "_schedule")

    def __init__(self, schedule: Callable[[Callable[[], None]], object]) -> None:
        self._schedule = schedule
        self._held: list[tuple[asyncio.Transport, bytes]] = []
        self._due = False

    def expect(self) -> None:
        """To be called before a publish whose reply will be put here.

        What is scheduled first runs first: the replies leave before what the publishes of the turn deliver, so that
        backends prepare the next ones meanwhile.
        """
        if not self._due:
            self._due = True
            self._schedule(self._end_turn)

    def put(self, transport: asyncio.Transport, data: bytes) -> None:
        """Holds a reply for a connection. What writes to it or closes it in the same turn calls `flush` before."""
        self._held.append((transport, data))
        self.expect()

    def flush(self) -> None:
        """Writes now; what is for a connection that has been lost meanwhile is dropped."""
        held = self._held
        if held:
            self._held = []
            for transport, data in held:
                if not transport.is_closing():
                    transport.write(data)

    def _end_turn(self) -> None:
        self._due = False
        self.flush()
