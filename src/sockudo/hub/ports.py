"""What the domain asks of the layers above it."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Protocol

from sockudo.protocol.shapes import Framing

__all__ = ["BulkWriter", "Peer", "Schedule"]

Schedule = Callable[[Callable[[], None]], object]
"""Runs a function once the current turn of the loop has done its work: ``loop.call_soon``."""


class Peer(Protocol):
    """The other end of a connection, over any transport: where whole messages go, in its framing."""

    @property
    def framing(self) -> Framing:
        """How its messages are framed, from the first to the last."""
        ...

    @property
    def address(self) -> str:
        """Where it connects from, as far as the proxies in front are trusted."""
        ...

    @property
    def write(self) -> Callable[[bytes], None]:
        """Hands one or several framed messages to the transport; never blocks and never raises."""
        ...

    def buffered(self) -> int:
        """Bytes that were written and have not left for the network yet."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Sends the peer code and reason and ends the connection, once it has answered or has had its time."""
        ...


class BulkWriter(Protocol):
    """A way to write the same bytes to many sockets that costs less than a write for each."""

    def write(self, descriptors: array[int], data: bytes) -> list[tuple[int, int]]:
        """Writes ``data`` to each socket, as far as it takes it at once; never blocks and never raises.

        Returns those that did not take all of it, in their order: their place among ``descriptors``, and how many bytes
        they took. -1 takes none.
        """
        ...
