"""Connections for the HTTP engine of webhooks, to checked addresses only."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from sockudo.outbound.reaching import AddressRefusedError, checked_addresses, first_connected
from sockudo.outbound.resolver import Resolver

__all__ = ["CheckedNetwork"]


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
