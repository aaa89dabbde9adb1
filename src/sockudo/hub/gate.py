"""Holds back live messages to one subscriber while it receives earlier ones (spec: history § 3.5)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from sockudo.hub.connection import Connection
from sockudo.hub.fanout import Fanout, Listeners
from sockudo.hub.outgoing import Outgoing, Wants
from sockudo.protocol.frames import Frame

__all__ = ["Gate", "GateLimits"]


class GateLimits(NamedTuple):
    """How much may be held back for one subscriber, and what to do when it is more; see `Gate`."""

    messages: int
    max_bytes: int | None
    overflow: Callable[[], None]


class Gate(Fanout[Connection]):
    """Stands in the place of a shared fan-out for one connection until `sockudo.hub.Hub.open`.

    It is in place before the past is looked up, so that nothing falls between the two. Past ``limit`` messages or
    ``max_bytes`` nothing is held any more and ``overflow`` is called, once: what was lost cannot be identified later.
    """

    __slots__ = ("_limit", "_max_bytes", "_overflow", "_size", "connection", "held")

    def __init__(
        self,
        channel: Listeners[Connection],
        connection: Connection,
        wants: Wants,
        limit: int,
        max_bytes: int | None,
        overflow: Callable[[], None],
    ) -> None:
        # A key that is like no other. Not the gate: what holds itself only the garbage collector frees.
        super().__init__(channel, connection.shape, wants, key=object())
        self.connection = connection
        self.held: list[Frame] = []
        self._limit = limit
        self._max_bytes = max_bytes
        self._size = 0
        self._overflow: Callable[[], None] | None = overflow
        self.subscribers[connection] = None

    def say(self, message: Outgoing, exclude: Collection[Connection]) -> None:
        if self._overflow is None or self.connection in exclude or not self.accepts(message):
            return
        if self._max_bytes is not None:
            self._size += len(message.encoded(self.shape))
        self.held.append(message.shown())
        if len(self.held) > self._limit or (self._max_bytes is not None and self._size > self._max_bytes):
            overflow, self._overflow = self._overflow, None
            self.held.clear()
            overflow()

    def catch_up(self, connection: Connection) -> None:
        """What is held has its time when the gate opens."""
