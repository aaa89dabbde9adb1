"""Sockets as a server has them, each with its peer."""

from __future__ import annotations

import contextlib
import socket
from array import array

__all__ = ["Pairs"]


class Pairs:
    """Sockets of the server, each with its peer."""

    def __init__(self, stack: contextlib.ExitStack, count: int, buffer: int | None = None) -> None:
        pairs = [socket.socketpair() for _ in range(count)]
        self.ours = [stack.enter_context(ours) for ours, _ in pairs]
        self.peers = [stack.enter_context(peer) for _, peer in pairs]
        for one in (*self.ours, *self.peers):
            one.setblocking(False)
        for one in self.ours if buffer is not None else ():
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self.descriptors = array("i", [one.fileno() for one in self.ours])

    def read(self, number: int, size: int = 1 << 20) -> bytes:
        """What has come for this peer."""
        with contextlib.suppress(BlockingIOError):
            return self.peers[number].recv(size)
        return b""
