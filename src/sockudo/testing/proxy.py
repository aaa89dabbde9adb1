"""A TCP proxy that misbehaves on demand: cuts, stalls, delays and trickles."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import urlsplit

__all__ = ["Direction", "FaultProxy"]

Direction = Literal["server", "client", "both"]
"""Which bytes a fault is about: those going to the server, to the client, or both."""

_PIECE: Final = 65_536
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Way:
    """What happens to the bytes going one way, on all connections."""

    delay: float = 0.0
    piece: int = _PIECE
    remaining: int | None = None
    passed: int = 0
    flowing: asyncio.Event = field(default_factory=asyncio.Event)


class FaultProxy:
    """Passes bytes between clients and the server at ``url``; connect clients to the proxy's own ``url``.

    Use it as ``async with``. Faults hold for all connections, open and new ones, until changed; `heal` ends them all.
    ``connections`` is how many are open, ``bytes_to_server`` and ``bytes_to_client`` what was passed on.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = parts.hostname or "127.0.0.1", parts.port or 80
        self._ways = {"server": _Way(), "client": _Way()}
        self._open: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._refusing = False
        self._listener: asyncio.Server | None = None
        self.port = 0
        self.heal()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return len(self._open)

    @property
    def bytes_to_server(self) -> int:
        return self._ways["server"].passed

    @property
    def bytes_to_client(self) -> int:
        return self._ways["client"].passed

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()
        self.cut()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    # ---- faults ----

    def cut(self) -> None:
        """Reset every open connection on both sides; new ones are still accepted."""
        for writer in self._writers:
            _reset(writer)

    def cut_after(self, count: int, towards: Direction = "client") -> None:
        """Reset a connection in the middle of what it carries: after ``count`` more bytes, all connections together."""
        for way in self._chosen(towards):
            way.remaining = count

    def refuse(self, refusing: bool = True) -> None:
        """Reset new connections at once, as a port without a listener does."""
        self._refusing = refusing

    def stall(self, towards: Direction = "both") -> None:
        """Pass nothing on and read no more, so that the sender's buffers fill up; connections stay open."""
        for way in self._chosen(towards):
            way.flowing.clear()

    def resume(self, towards: Direction = "both") -> None:
        """End a stall; what was sent meanwhile arrives now."""
        for way in self._chosen(towards):
            way.flowing.set()

    def delay(self, seconds: float, towards: Direction = "both") -> None:
        """Hold each piece back for so long before it is passed on."""
        for way in self._chosen(towards):
            way.delay = seconds

    def trickle(self, piece: int = 1, pause: float = 0.0, towards: Direction = "both") -> None:
        """Pass on ``piece`` bytes at a time, with ``pause`` seconds before each."""
        if piece < 1:
            raise ValueError(f"a piece has at least one byte, not {piece}")
        for way in self._chosen(towards):
            way.piece, way.delay = piece, pause

    def heal(self) -> None:
        """End every fault; connections that were cut stay cut."""
        self._refusing = False
        for way in self._ways.values():
            way.delay, way.piece, way.remaining = 0.0, _PIECE, None
            way.flowing.set()

    # ---- how ----

    def _chosen(self, towards: Direction) -> list[_Way]:
        return list(self._ways.values()) if towards == "both" else [self._ways[towards]]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            _reset(writer)
            return
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its acceptance to its end; what ends one side ends the other in the same way."""
        async with self._kept(writer):
            try:
                server_reader, server_writer = await asyncio.open_connection(*self._target)
            except OSError:
                _reset(writer)
                return
            async with self._kept(server_writer):
                try:
                    async with asyncio.TaskGroup() as both:
                        both.create_task(self._pump(reader, server_writer, self._ways["server"]))
                        both.create_task(self._pump(server_reader, writer, self._ways["client"]))
                except* OSError:
                    _reset(server_writer)
                    _reset(writer)

    @asynccontextmanager
    async def _kept(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way) -> None:
        while True:
            await way.flowing.wait()
            data = await reader.read(_PIECE)
            if not data:
                break
            while data:
                await way.flowing.wait()
                piece, data = data[: way.piece], data[way.piece :]
                if way.delay:
                    await asyncio.sleep(way.delay)
                await self._pass_on(piece, writer, way)
        if not writer.transport.is_closing():
            writer.write_eof()

    async def _pass_on(self, piece: bytes, writer: asyncio.StreamWriter, way: _Way) -> None:
        allowed = piece if way.remaining is None else piece[: way.remaining]
        writer.write(allowed)
        await writer.drain()
        way.passed += len(allowed)
        if way.remaining is not None:
            way.remaining -= len(allowed)
            if way.remaining == 0:
                raise ConnectionResetError


def _reset(writer: asyncio.StreamWriter) -> None:
    """Drop a connection so that the peer sees a reset, not an orderly end."""
    if writer.transport.is_closing():
        return
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
