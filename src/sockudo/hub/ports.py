"""What the domain asks of the layers above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Peer", "Schedule"]

Schedule = Callable[[Callable[[], None]], object]
"""Runs a function once the current turn of the loop has done its work: ``loop.call_soon``."""


class Peer(Protocol):
    """The other end of a connection: where whole WebSocket frames go."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """Hands bytes to the transport; never blocks and never raises."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Sends a close frame and ends the connection once the peer has answered it or has had its time."""
        ...
