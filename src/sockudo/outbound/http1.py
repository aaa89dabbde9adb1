"""Requests over HTTP/1.1 at the rate of a fan-out: to providers of push notifications, and to webhooks.

One request at a time per connection, a bounded number of connections per origin, and whoever finds none free waits in
line. Addresses are checked by `sockudo.outbound.connecting`.
"""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Final

from sockudo.outbound.connecting import Address, Connector, trusted
from sockudo.outbound.http1_connection import Connection
from sockudo.push.exchange import ExchangeError, Reply
from sockudo.version import __version__

__all__ = ["Http1"]

# Common servers close theirs after five seconds, and a request that crosses with that is lost.
_KEPT_SECONDS: Final = 4.0
_AGENT: Final = f"Sockudo/{__version__}"
# Where a request ends is not for others to say: what follows would be another one.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Http1:
    """``most`` connections per origin. Redirects are not followed, TLS is verified, with the
    certificates of ``cafile`` instead of the system's where it is given.

    ``body_seconds`` are how long the end of an answer's body is waited for, within the deadline; it is not whole then.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        cafile: str | None = None,
        most: int = 128,
        body_seconds: float | None = None,
    ) -> None:
        self._connector = connector
        self._cafile = cafile
        self._most = most
        self._body_seconds = body_seconds
        self._origins: dict[tuple[bool, str, int], _Origin] = {}
        self._sweep: asyncio.TimerHandle | None = None

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """Not everybody needs it."""
        return trusted(self._cafile)

    @property
    def connections(self) -> int:
        return sum(origin.open for origin in self._origins.values())

    async def post(self, address: Address, headers: Sequence[tuple[str, str]], body: bytes, deadline: float) -> Reply:
        """``headers`` go before those that are always sent. Raises ExchangeError; after that, or after being cancelled,
        the request may or may not have arrived.
        """
        data = _request(address, headers, body)
        key = address[:3]
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = _Origin()
        connection = origin.take()
        if connection is None:
            connection = await self._connected(origin, address, deadline)
        try:
            return await connection.exchange(data, deadline, self._body_seconds)
        finally:
            origin.give_back(connection)
            if self._sweep is None:
                self._sweep = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._close_idle)

    async def close(self) -> None:
        """Ends the connections that are kept. No request may be under way."""
        if self._sweep is not None:
            self._sweep.cancel()
        for origin in self._origins.values():
            origin.close_idle(None)

    async def _connected(self, origin: _Origin, address: Address, deadline: float) -> Connection:
        try:
            async with asyncio.timeout_at(deadline):
                if origin.open >= self._most:
                    waited = await origin.wait()
                    if waited is not None:
                        return waited
                else:
                    origin.open += 1
                return await self._connect_counted(origin, address)
        except TimeoutError:
            raise ExchangeError("timeout") from None

    async def _connect_counted(self, origin: _Origin, address: Address) -> Connection:
        """A new connection in the place that was taken for it."""
        connection: Connection | None = None
        try:
            connection = await self._connector.connect(Connection, address, self._tls if address.secure else None)
        finally:
            if connection is None:
                origin.free_place()
        return connection

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time() - _KEPT_SECONDS
        for key, origin in tuple(self._origins.items()):
            origin.close_idle(before)
            if origin.unused:
                del self._origins[key]
        self._sweep = loop.call_later(_KEPT_SECONDS, self._close_idle) if self._origins else None


class _Origin:
    """Connections to one host: ``open`` counts them all, those being made too."""

    __slots__ = ("_idle", "_waiting", "open")

    def __init__(self) -> None:
        self.open = 0
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()

    @property
    def unused(self) -> bool:
        return not self.open and not self._waiting

    def take(self) -> Connection | None:
        """The one that was used last, so that the others can go."""
        before = asyncio.get_running_loop().time() - _KEPT_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since >= before:
                return connection
            connection.abort()
            self.open -= 1
        return None

    async def wait(self) -> Connection | None:
        """A connection that somebody gives back, or None for a place to make one in."""
        future: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.done() or future.cancelled():
                if future in self._waiting:
                    self._waiting.remove(future)
            elif (given := future.result()) is not None:
                self.give_back(given)
            else:
                self.free_place()
            raise

    def give_back(self, connection: Connection) -> None:
        if not connection.usable:
            connection.abort()
            self.free_place()
        elif (waiter := self._next()) is not None:
            waiter.set_result(connection)
        else:
            self._idle.append(connection)

    def free_place(self) -> None:
        waiter = self._next()
        if waiter is not None:
            waiter.set_result(None)
        else:
            self.open -= 1

    def close_idle(self, before: float | None) -> None:
        """Those that nobody has used since then; None for all."""
        kept = []
        for connection in self._idle:
            if connection.usable and before is not None and connection.idle_since >= before:
                kept.append(connection)
            else:
                connection.abort()
                self.open -= 1
        self._idle = kept

    def _next(self) -> asyncio.Future[Connection | None] | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None


def _request(address: Address, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """Raises ExchangeError for a header that HTTP does not allow."""
    own = {"host": address.host_header, "user-agent": _AGENT, "accept": "*/*", "content-length": str(len(body))}
    for name, _ in headers:
        key = name.lower()
        if key in _FRAMING or not _NAME.fullmatch(name):
            raise ExchangeError("url_invalid")
        own.pop(key, None)
    lines = [f"POST {address.target} HTTP/1.1", *(f"{name}: {value}" for name, value in (*own.items(), *headers))]
    head = "\r\n".join(lines)
    ends = len(lines) - 1
    # A value that begins a line of its own would be a header that nobody meant.
    if head.count("\r") != ends or head.count("\n") != ends or "\0" in head:
        raise ExchangeError("url_invalid")
    try:
        return head.encode() + b"\r\n\r\n" + body
    except UnicodeEncodeError:
        raise ExchangeError("url_invalid") from None
