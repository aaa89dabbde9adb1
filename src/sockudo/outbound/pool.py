"""Connections over HTTP/1.1 that are kept for the next request: one request at a time on each, a bounded number per
origin; a request that finds none free waits in line. Addresses are checked by `sockudo.outbound.connecting`.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from sockudo.outbound.connecting import Address, Connector, OutgoingConnection, trusted
from sockudo.outbound.ports import ExchangeError

__all__ = ["Pool", "PooledConnection"]

# Common servers close theirs after five seconds, and a request that crosses with that is lost.
_KEPT_SECONDS: Final = 4.0


class PooledConnection(OutgoingConnection):
    """``idle_since`` is when its last answer was there, in the loop's time."""

    __slots__ = ()

    idle_since: float

    @property
    def usable(self) -> bool:
        """Whether it is open and no answer is awaited on it. The pool aborts it when it is not."""
        raise NotImplementedError


_Connection = TypeVar("_Connection", bound=PooledConnection)


class Pool(Generic[_Connection]):
    """At most ``most`` connections per origin, each as ``make`` makes it. TLS is verified, with the certificates of
    ``cafile`` instead of the system's where it is given.
    """

    def __init__(
        self, connector: Connector, make: Callable[[], _Connection], *, most: int, cafile: str | None = None
    ) -> None:
        self._connector = connector
        self._make = make
        self._most = most
        self._cafile = cafile
        self._origins: dict[tuple[bool, str, int], _Origin[_Connection]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """Not everybody needs it."""
        return trusted(self._cafile)

    @property
    def connections(self) -> int:
        return sum(origin.open for origin in self._origins.values())

    async def take(self, address: Address, deadline: float) -> _Connection:
        """A connection for one request, to be given back after it. Raises ExchangeError."""
        origin = self._origins.get(address[:3])
        if origin is None:
            origin = self._origins[address[:3]] = _Origin()
        try:
            return origin.take() or await self._connected(origin, address, deadline)
        except BaseException:
            if origin.unused:
                self._origins.pop(address[:3], None)
            raise

    def give_back(self, address: Address, connection: _Connection) -> None:
        self._origins[address[:3]].give_back(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._close_idle)

    def close(self) -> None:
        """Ends the connections that are kept. No request may be under way."""
        if self._sweep is not None:
            self._sweep.cancel()
        for origin in self._origins.values():
            origin.close_idle(None)

    async def _connected(self, origin: _Origin[_Connection], address: Address, deadline: float) -> _Connection:
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

    async def _connect_counted(self, origin: _Origin[_Connection], address: Address) -> _Connection:
        """A new connection in the place that was taken for it."""
        connection: _Connection | None = None
        try:
            connection = await self._connector.connect(self._make, address, self._tls if address.secure else None)
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


class _Origin(Generic[_Connection]):
    """Connections to one host: ``open`` counts them all, those being made too."""

    __slots__ = ("_idle", "_waiting", "open")

    def __init__(self) -> None:
        self.open = 0
        self._idle: list[_Connection] = []
        self._waiting: deque[asyncio.Future[_Connection | None]] = deque()

    @property
    def unused(self) -> bool:
        return not self.open and not self._waiting

    def take(self) -> _Connection | None:
        """The one that was used last, so that the others can go."""
        before = asyncio.get_running_loop().time() - _KEPT_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since >= before:
                return connection
            connection.abort()
            self.open -= 1
        return None

    async def wait(self) -> _Connection | None:
        """A connection that was given back, or None for a free place to open one."""
        future: asyncio.Future[_Connection | None] = asyncio.get_running_loop().create_future()
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

    def give_back(self, connection: _Connection) -> None:
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
        """Those that were not used since then; None for all."""
        kept = []
        for connection in self._idle:
            if connection.usable and before is not None and connection.idle_since >= before:
                kept.append(connection)
            else:
                connection.abort()
                self.open -= 1
        self._idle = kept

    def _next(self) -> asyncio.Future[_Connection | None] | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None
