"""Servers that webhooks are sent to: well-behaved ones and all others."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["Behaviour", "Gate", "Received", "Receiver", "answer", "raw"]


@dataclass(frozen=True)
class Received:
    """One request. Names of ``headers`` are in lower case, a repeated one has its last value."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


Behaviour = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]
"""What is done with a request; the connection is read on until the behaviour closes the writer."""


def answer(status: int = 200, body: bytes = b"ok", **headers: str) -> Behaviour:
    """A complete answer; an underscore in a header's name stands for a hyphen."""
    lines = [f"HTTP/1.1 {status} Because", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def raw(data: bytes, *, close: bool = False) -> Behaviour:
    """These bytes, whatever they are."""

    async def behave(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return behave


class Gate:
    """A behaviour that answers once it is open; ``arrivals`` has an entry for each request."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.arrivals: asyncio.Queue[Received] = asyncio.Queue()

    async def __call__(self, received: Received, writer: asyncio.StreamWriter) -> None:
        self.arrivals.put_nowait(received)
        await self.open.wait()
        await answer()(received, writer)


class Receiver:
    """For ``async with``: a server on this machine that keeps what it received. ``behaviour`` may be changed."""

    def __init__(self, behaviour: Behaviour | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour or answer()
        self.received: list[Received] = []
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/hook"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in tuple(self._open):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in self._open if task is not None), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        task = asyncio.current_task()
        self._open[task] = writer
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while not writer.is_closing():
                    received = await self._read(reader, number)
                    self.received.append(received)
                    await self.behaviour(received, writer)
        finally:
            writer.transport.abort()
            self._open.pop(task)

    async def _read(self, reader: asyncio.StreamReader, number: int) -> Received:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.rstrip().split("\r\n")
        pairs = (entry.partition(":") for entry in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Received(line, headers, body, number)
