"""Requests over HTTP/2, with one connection per host that stays open (spec: push § 8, APNs).

One costs 170 µs of CPU here and 1,000 µs by httpx (benchmarks/micro/outgoing_http.py, 64 at a time). httpx, besides,
leaves a request that was given up open at the server, and does not repeat one that the server has refused to look at.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections.abc import Sequence
from typing import Final

from sockudo.outbound.connecting import Address, Connector
from sockudo.outbound.heads import AGENT
from sockudo.outbound.http2_connection import Connection, UnsentError
from sockudo.outbound.ports import ClientIdentity, ExchangeError, Reply

__all__ = ["Http1OnlyError", "Http2"]

# Shorter than what forgets about silent connections in most clouds.
_KEPT_SECONDS: Final = 180.0
_ATTEMPTS: Final = 3

_Key = tuple[str, int, str | None]


class Http1OnlyError(Exception):
    """The server does not speak HTTP/2."""


class Http2:
    """TLS is verified, with the certificates of ``cafile`` instead of the system's where it is given."""

    def __init__(self, connector: Connector, *, cafile: str | None = None) -> None:
        self._connector = connector
        self._cafile = cafile
        self._connections: dict[_Key, Connection] = {}
        self._connecting: dict[_Key, asyncio.Task[Connection]] = {}
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def post(
        self,
        address: Address,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        deadline: float,
        identity: ClientIdentity | None = None,
    ) -> Reply:
        """Raises ExchangeError, and Http1OnlyError before anything was sent."""
        if any("\r" in value or "\n" in value or "\0" in value for _, value in headers):
            raise ExchangeError("url_invalid")
        head = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", address.host_header),
            (":path", address.target),
            ("user-agent", AGENT),
            ("content-length", str(len(body))),
            *headers,
        ]
        for _ in range(_ATTEMPTS):
            connection = await self._connection(address, identity, deadline)
            try:
                return await connection.exchange(head, body, deadline)
            except UnsentError:
                continue
            except UnicodeEncodeError:
                raise ExchangeError("url_invalid") from None
        raise ExchangeError("connection_closed")

    async def close(self) -> None:
        """Ends the connections. No request may be under way."""
        if self._sweep is not None:
            self._sweep.cancel()
        tasks = tuple(self._connecting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in self._connections.values():
            connection.abort()
        self._connections.clear()

    async def _connection(self, address: Address, identity: ClientIdentity | None, deadline: float) -> Connection:
        key = (address.host, address.port, None if identity is None else identity.name)
        connection = self._connections.get(key)
        if connection is not None and connection.usable:
            return connection
        task = self._connecting.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._connect(key, address, identity))
            self._connecting[key] = task
            task.add_done_callback(_retrieve)
        try:
            async with asyncio.timeout_at(deadline):
                # Others may wait for the same connection.
                return await asyncio.shield(task)
        except TimeoutError:
            raise ExchangeError("timeout") from None

    async def _connect(self, key: _Key, address: Address, identity: ClientIdentity | None) -> Connection:
        try:
            connection = await self._connector.connect(Connection, address, self._context(identity))
            if not connection.speaks_http2:
                connection.abort()
                raise Http1OnlyError
            self._connections[key] = connection
            if self._sweep is None:
                self._sweep = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._close_idle)
            return connection
        finally:
            del self._connecting[key]

    def _context(self, identity: ClientIdentity | None) -> ssl.SSLContext:
        name = None if identity is None else identity.name
        context = self._contexts.get(name)
        if context is None:
            context = ssl.create_default_context(cafile=self._cafile)
            context.set_alpn_protocols(["h2", "http/1.1"])
            if identity is not None:
                _show(context, identity.pem)
            self._contexts[name] = context
        return context

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time() - _KEPT_SECONDS
        for key, connection in tuple(self._connections.items()):
            if not connection.usable or (connection.idle and connection.idle_since < before):
                if connection.idle:
                    connection.abort()
                del self._connections[key]
        used = {name for _, _, name in (*self._connections, *self._connecting)}
        self._contexts = {name: context for name, context in self._contexts.items() if name in used}
        self._sweep = loop.call_later(_KEPT_SECONDS, self._close_idle) if self._connections else None


def _show(context: ssl.SSLContext, pem: bytes) -> None:
    """Loads certificate and key, which the library reads from files alone: from memory that looks like one."""
    try:
        if not hasattr(os, "memfd_create"):
            with tempfile.NamedTemporaryFile() as file:
                file.write(pem)
                file.flush()
                context.load_cert_chain(file.name, password="")
            return
        with os.fdopen(os.memfd_create("identity"), "wb") as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")
    except (OSError, ValueError):
        raise ExchangeError("tls_failed") from None


def _retrieve(task: asyncio.Task[Connection]) -> None:
    """Its waiter may have given up; then the failure is dropped."""
    if not task.cancelled():
        task.exception()
