"""The short way to a socket: one ``send()`` for each delivery, as long as the transport has nothing to send itself.

For deliveries to few, and to many where there is no io_uring (`sockudo.edge.ring`). One costs little more than its
system call: the transport's part beside that is mostly memory of its own that is not in the processor's cache.

The call keeps the interpreter's lock, unlike ``socket.send`` and ``os.write``: it never waits, and a thread that works
on a database would take the lock at each of a thousand deliveries and keep it for milliseconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading
from array import array
from collections.abc import Callable
from typing import Final

__all__ = ["DirectSends", "DirectWriter", "writer_of"]

_send: Final = ctypes.PyDLL(None).send
_AT_ONCE: Final = socket.MSG_DONTWAIT
_NONE: Final = -1


class DirectWriter:
    """Writes to the socket of a transport, and through the transport what the socket does not take at once.

    Bytes leave in the order in which they were written, as long as the writer to the transport itself has nothing
    to write here any more. ``on_change`` receives the descriptor as soon as it takes bytes that come past this writer
    as well, and -1 as soon as it does not. To be closed in ``connection_lost`` at the latest: the transport then gives
    its descriptor back, and the number may be another connection's.
    """

    __slots__ = ("_descriptor", "_on_change", "_own", "_transport")

    def __init__(self, transport: asyncio.Transport, descriptor: int, on_change: Callable[[int], None]) -> None:
        self._transport = transport
        self._own = descriptor
        self._on_change = on_change
        # None while something may wait in the transport's buffer, and once this is closed.
        self._descriptor = _NONE

    def write(self, data: bytes) -> None:
        """As ``transport.write``."""
        size = len(data)
        sent = _send(self._descriptor, data, size, _AT_ONCE)
        if sent != size:
            self._write_rest(data, sent)

    def _write_rest(self, data: bytes, sent: int) -> None:
        transport = self._transport
        if self._descriptor == _NONE and self._own != _NONE and not transport.get_write_buffer_size():
            self._become(self._own)
            self.write(data)
            return
        self._become(_NONE)
        # What is wrong, if something is, the transport finds out by itself.
        transport.write(data[sent:] if sent > 0 else data)

    def _become(self, descriptor: int) -> None:
        if self._descriptor != descriptor:
            self._descriptor = descriptor
            self._on_change(descriptor)

    def close(self) -> None:
        """Leaves everything to the transport from now on."""
        self._own = _NONE
        self._become(_NONE)
        # Otherwise the observer and this object would keep each other alive.
        self._on_change = _nobody


class DirectSends:
    """A system call for each socket: the `sockudo.hub.BulkWriter` of a system without io_uring.

    It touches nothing of the connections, of which each would cost a look into memory that is not in the processor's
    cache.
    """

    def write(self, descriptors: array[int], data: bytes) -> list[tuple[int, int]]:
        """See `sockudo.hub.BulkWriter`."""
        size = len(data)
        if threading.active_count() == 1:
            # The lock has no other waiter, and a call that gives it up costs less than one through ctypes.
            return _written_alone(descriptors, data, size)
        refused = []
        for place, descriptor in enumerate(descriptors):
            sent = _send(descriptor, data, size, _AT_ONCE)
            if sent != size:
                refused.append((place, max(sent, 0)))
        return refused


def _written_alone(descriptors: array[int], data: bytes, size: int) -> list[tuple[int, int]]:
    write = os.write
    refused = []
    for place, descriptor in enumerate(descriptors):
        try:
            sent = write(descriptor, data)
        except OSError:
            sent = 0
        if sent != size:
            refused.append((place, sent))
    return refused


def _nobody(_: int) -> None:
    pass


def writer_of(transport: asyncio.Transport, on_change: Callable[[int], None]) -> DirectWriter | None:
    """The short way of a connection; None where there is none: with TLS, or without a socket."""
    if transport.get_extra_info("sslcontext") is not None:
        return None
    found = transport.get_extra_info("socket")
    return None if found is None else DirectWriter(transport, found.fileno(), on_change)
