"""Connections for the HTTP engine: to a name's addresses, each of them checked before anything is sent to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import httpcore

from sockudo.outbound.addresses import is_public
from sockudo.outbound.resolver import Resolver

__all__ = ["AddressRefusedError", "CheckedNetwork", "UnknownNameError", "checked_addresses", "first_connected"]

_Connection = TypeVar("_Connection")

# Head start of an address before the next one is tried beside it (RFC 8305).
_HEAD_START: Final = 0.25
_MOST_ADDRESSES: Final = 8


class AddressRefusedError(Exception):
    """The name leads to addresses that must not be called, and to no other."""


class UnknownNameError(Exception):
    """The name leads nowhere."""


async def checked_addresses(resolver: Resolver, host: str, *, allow_private: bool) -> list[str]:
    """The name's addresses that may be called. Raises UnknownNameError and AddressRefusedError."""
    try:
        found = await resolver.resolve(host)
    except OSError as error:
        raise UnknownNameError from error
    addresses = [address for address in found if allow_private or is_public(address)]
    if not addresses:
        raise AddressRefusedError
    return addresses


async def first_connected(
    connect: Callable[[str], Coroutine[Any, Any, _Connection]],
    close: Callable[[_Connection], Awaitable[None]],
    addresses: Sequence[str],
) -> _Connection:
    """A connection to one of the addresses; no other stays open. Raises what the last attempt failed with."""
    if len(addresses) == 1:
        return await connect(addresses[0])
    return await _Race(connect, close, _by_turns(addresses)[:_MOST_ADDRESSES]).run()


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Looks the name up once and connects to addresses of that answer only, so a name that changes its answer gains
    nothing. Private addresses are left out unless ``allow_private``.

    Raises `UnknownNameError` and `AddressRefusedError` besides what the engine raises itself.
    """

    def __init__(
        self, resolver: Resolver, *, allow_private: bool = False, connector: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._resolver = resolver
        self._allow_private = allow_private
        self._connector = connector or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the engine's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await checked_addresses(self._resolver, host, allow_private=self._allow_private)
        options = None if socket_options is None else tuple(socket_options)

        async def connect(address: str) -> httpcore.AsyncNetworkStream:
            return _Stream(await self._connector.connect_tcp(address, port, timeout, local_address, options))

        return await first_connected(connect, lambda stream: stream.aclose(), addresses)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the engine's interface
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefusedError

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that is closed when its TLS handshake is given up; the engine's own would stay open."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self.read = inner.read  # type: ignore[method-assign]
        self.write = inner.write  # type: ignore[method-assign]
        self.aclose = inner.aclose  # type: ignore[method-assign]
        self.get_extra_info = inner.get_extra_info  # type: ignore[method-assign]

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the engine's interface
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._inner.aclose()
            raise


def _by_turns(addresses: Sequence[str]) -> list[str]:
    """The preferred kind of address first, then the other, and so on: one of both kinds may lead nowhere."""
    kinds: tuple[list[str], list[str]] = ([], [])
    for address in addresses:
        kinds[(":" in address) != (":" in addresses[0])].append(address)
    longest = max(map(len, kinds))
    return [kind[number] for number in range(longest) for kind in kinds if number < len(kind)]


class _Race(Generic[_Connection]):
    """Connects to several addresses, each a moment after the one before it or as soon as that one has failed."""

    def __init__(
        self,
        connect: Callable[[str], Coroutine[Any, Any, _Connection]],
        close: Callable[[_Connection], Awaitable[None]],
        addresses: Sequence[str],
    ) -> None:
        self._connect = connect
        self._close = close
        self._rest = list(addresses)
        self._running: set[asyncio.Task[_Connection]] = set()
        self._connected: list[_Connection] = []

    async def run(self) -> _Connection:
        """The first connection; all others are closed. Raises what the last attempt failed with."""
        winner: _Connection | None = None
        try:
            await self._until_connected()
            winner = self._connected[0]
        finally:
            await self._give_up_besides(winner)
        return winner

    async def _until_connected(self) -> None:
        problem: BaseException | None = None
        while not self._connected:
            if self._rest:
                task = asyncio.get_running_loop().create_task(self._connect(self._rest.pop(0)))
                self._running.add(task)
            elif not self._running and problem is not None:
                raise problem
            done, _ = await asyncio.wait(
                self._running, timeout=_HEAD_START if self._rest else None, return_when=asyncio.FIRST_COMPLETED
            )
            self._running -= done
            for task in done:
                problem = task.exception() or problem
                if task.exception() is None:
                    self._connected.append(task.result())

    async def _give_up_besides(self, winner: _Connection | None) -> None:
        for task in self._running:
            task.cancel()
        for result in await asyncio.gather(*self._running, return_exceptions=True):
            if not isinstance(result, BaseException):
                self._connected.append(result)
        for connection in self._connected:
            if connection is not winner:
                await self._close(connection)
