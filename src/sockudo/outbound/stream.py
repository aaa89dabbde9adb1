"""The connection that httpcore reads from and writes to: one that was opened here, to an address that was checked."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpcore

from sockudo.outbound.connecting import OutgoingConnection

__all__ = ["Stream"]

_MOST_UNREAD: Final = 64 * 1024


class Stream(OutgoingConnection, httpcore.AsyncNetworkStream):
    """Made by `Connector.connect`, TLS included. Has no time limits of its own: those who wait have one.

    ``ended`` once the end of the other side's bytes was read. No more than 64 KiB, and what one call of the transport
    brings, waits unread.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()
        self._unsent: list[bytes] = []
        self._paused = False
        self._at_end = False
        self._broken = False
        self._reader: asyncio.Future[None] | None = None
        self.ended = False

    @property
    def is_readable(self) -> bool:
        """Whether there are bytes or there is the end: without a request, neither belongs to an answer."""
        return bool(self._unread) or self._at_end

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ---- the library's side ----

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the library's interface
        """At least one byte, or none at the end. Raises httpcore.ReadError when the connection broke."""
        self._send()
        while not self._unread and not self._at_end:
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if not self._unread and self._broken:
            raise httpcore.ReadError
        data = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        self.ended = not data
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the library's interface
        """Head and body leave in one write, when the answer is waited for."""
        self._unsent.append(buffer)

    async def aclose(self) -> None:
        self.abort()

    def get_extra_info(self, info: str) -> Any:
        return self.is_readable if info == "is_readable" else None

    def _send(self) -> None:
        if self._unsent and self._transport is not None:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    # ---- the transport's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if len(self._unread) > _MOST_UNREAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._at_end = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        # What came after the end changes nothing about it.
        self._broken = exc is not None and not self._at_end
        self._at_end = True
        self._transport = None
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
