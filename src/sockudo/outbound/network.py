"""Connections for the HTTP engine: to a name's addresses, each of them checked before anything is sent to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import httpcore

from sockudo.outbound.addresses import is_public
from sockudo.outbound.resolver import Resolver

__all__ = ["AddressRefusedError", "CheckedNetwork", "UnknownNameError"]

_Connect = Callable[[str], Coroutine[Any, Any, httpcore.AsyncNetworkStream]]

# Head start of an address before the next one is tried beside it (RFC 8305).
_HEAD_START: Final = 0.25
_MOST_ADDRESSES: Final = 8


class AddressRefusedError(Exception):
    """The name leads to addresses that must not be called, and to no other."""


class UnknownNameError(Exception):
    """The name leads nowhere."""


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
        try:
            found = await self._resolver.resolve(host)
        except OSError as error:
            raise UnknownNameError from error
        addresses = [address for address in found if self._allow_private or is_public(address)]
        if not addresses:
            raise AddressRefusedError
        options = None if socket_options is None else tuple(socket_options)

        async def connect(address: str) -> httpcore.AsyncNetworkStream:
            return _Stream(await self._connector.connect_tcp(address, port, timeout, local_address, options))

        if len(addresses) == 1:
            return await connect(addresses[0])
        return await _Race(connect, _by_turns(addresses)[:_MOST_ADDRESSES]).run()

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


class _Race:
    """Connects to several addresses, each a moment after the one before it or as soon as that one has failed."""

    def __init__(self, connect: _Connect, addresses: Sequence[str]) -> None:
        self._connect = connect
        self._rest = list(addresses)
        self._running: set[asyncio.Task[httpcore.AsyncNetworkStream]] = set()
        self._connected: list[httpcore.AsyncNetworkStream] = []

    async def run(self) -> httpcore.AsyncNetworkStream:
        """The first connection; all others are closed. Raises what the last attempt failed with."""
        winner: httpcore.AsyncNetworkStream | None = None
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

    async def _give_up_besides(self, winner: httpcore.AsyncNetworkStream | None) -> None:
        for task in self._running:
            task.cancel()
        for result in await asyncio.gather(*self._running, return_exceptions=True):
            if isinstance(result, httpcore.AsyncNetworkStream):
                self._connected.append(result)
        for stream in self._connected:
            if stream is not winner:
                await stream.aclose()
