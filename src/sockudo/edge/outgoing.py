"""The way out for answers that come late: a client may be gone by then, and its request does not know it yet."""

from __future__ import annotations

import asyncio

__all__ = ["WhileOpen"]


class WhileOpen:
    """The transport as a request under way sees it: what is written once it closes is dropped.

    The loop tells of a lost connection a turn after it has closed the transport. A write in between would raise, from
    the depths of the request and into the log, as if the server had made a mistake.
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
