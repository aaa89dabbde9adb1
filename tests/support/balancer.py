"""A small TCP balancer before several servers: connections go to those whose health check passes."""

from __future__ import annotations

import asyncio
import random
from types import TracebackType
from typing import Final, Self

__all__ = ["Balancer", "up"]

_ASK_EVERY: Final = 0.1
_ANSWERS_WITHIN: Final = 1.0


async def up(port: int) -> int:
    """The status of ``/up``; 0 where no answer comes in time."""
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return int((await reader.readline()).split()[1])
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, IndexError):
        return 0


class Balancer:
    """For ``async with``. ``ports`` are those of the servers and may change; ``healthy`` are those in service.

    A new connection goes to a random healthy server; where there is none, to any that takes it, since no server at all
    would be worse. Connections that are open stay where they are.
    """

    def __init__(self, rng: random.Random) -> None:
        self.host, self.port = "127.0.0.1", 0
        self.ports: list[int] = []
        self.healthy: set[int] = set()
        self._rng = rng
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[_Side] = set()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.get_running_loop().create_server(self._accepted, self.host, 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        self._keep(self._ask())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for side in tuple(self._open):
            side.transport.abort()

    def _keep(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self) -> None:
        while True:
            ports = tuple(self.ports)
            for port, status in zip(ports, await asyncio.gather(*map(up, ports)), strict=True):
                (self.healthy.add if status == 200 else self.healthy.discard)(port)
            self.healthy.intersection_update(self.ports)
            await asyncio.sleep(_ASK_EVERY)

    def _accepted(self) -> _Side:
        client = _Side(self._open)
        self._keep(self._join(client))
        return client

    async def _join(self, client: _Side) -> None:
        loop = asyncio.get_running_loop()
        await client.connected.wait()
        choice = [port for port in self.ports if port in self.healthy] or list(self.ports)
        for port in self._rng.sample(choice, len(choice)):
            try:
                _, server = await loop.create_connection(lambda: _Side(self._open), self.host, port)
            except OSError:
                continue
            client.join(server)
            return
        client.transport.abort()


class _Side(asyncio.Protocol):
    """One end of a connection; what ends one ends the other."""

    def __init__(self, opened: set[_Side]) -> None:
        self.connected = asyncio.Event()
        self._opened = opened
        self._other: _Side | None = None
        self._early: list[bytes] = []

    def join(self, other: _Side) -> None:
        self._other, other._other = other, self
        if self.transport.is_closing():
            other.transport.abort()
        for piece in self._early:
            other.transport.write(piece)
        self._early.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._opened.add(self)
        self.connected.set()

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early.append(data)
        else:
            self._other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._opened.discard(self)
        if self._other is not None:
            self._other.transport.close()

    def pause_writing(self) -> None:
        if self._other is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None and not self._other.transport.is_closing():
            self._other.transport.resume_reading()
