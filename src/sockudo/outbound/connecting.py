"""Opens connections for the clients of this room, each to an address that was checked (spec: push § 8, D18)."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

from sockudo.outbound.ports import ExchangeError
from sockudo.outbound.problems import connecting_problem
from sockudo.outbound.reaching import AddressRefusedError, UnknownNameError, checked_addresses, first_connected
from sockudo.outbound.resolver import Resolver

__all__ = ["Address", "Connector", "OutgoingConnection", "address_of", "trusted"]

_CONNECT_SECONDS: Final = 5.0
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# A visible path is sent as it is; anything else is escaped first.
_PLAIN_TARGET: Final = re.compile(r"/[A-Za-z0-9/._~:%@!$&'()*+,;=?-]*\Z")


class OutgoingConnection(asyncio.Protocol):
    """What a client makes of a connection."""

    __slots__ = ()

    def abort(self) -> None:
        raise NotImplementedError


_Made = TypeVar("_Made", bound=OutgoingConnection)


class Address(NamedTuple):
    """Where a request goes. ``host_header`` has the port only where it is not the scheme's own."""

    secure: bool
    host: str
    port: int
    target: str
    host_header: str

    def __repr__(self) -> str:
        return f"<Address {self.host_header}>"


@lru_cache(1024)
def address_of(url: str) -> Address:
    """Raises ValueError for a URL that cannot be called; one with user name and password is none."""
    parts = urlsplit(url)
    host = (parts.hostname or "").strip()
    if parts.scheme not in _DEFAULT_PORTS or not host or parts.username is not None or parts.password is not None:
        raise ValueError("not an address that can be called")
    # UnicodeError, when a label is empty or too long, is a ValueError.
    name = host if ":" in host else host.encode("idna").decode()
    if not name.isprintable() or " " in name:
        raise ValueError("not a host")
    default = _DEFAULT_PORTS[parts.scheme]
    port = parts.port or default
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    if not _PLAIN_TARGET.match(target):
        target = quote(target, safe="/%:@!$&'()*+,;=~?[]|^`{}\\")
    shown = f"[{name}]" if ":" in name else name
    return Address(parts.scheme == "https", name, port, target, shown if port == default else f"{shown}:{port}")


def trusted(cafile: str | None = None) -> ssl.SSLContext:
    """Trusts the certificates of ``cafile``, or those of the system, which ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name.

    Reading them takes tens of milliseconds in which nothing else goes on, so a process does it once and not for every
    attempt that is asked for by hand.
    """
    return _trusting(cafile, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=8)
def _trusting(cafile: str | None, *_places: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=cafile)


class Connector:
    """Connects within ``seconds``, TLS included, and only to public addresses unless private ones are allowed.

    A name is looked up once, and only addresses of that answer are connected to: one that changes its answer gains
    nothing.
    """

    def __init__(self, resolver: Resolver, *, allow_private: bool, seconds: float | None = _CONNECT_SECONDS) -> None:
        self._resolver = resolver
        self._allow_private = allow_private
        self._seconds = seconds

    async def connect(self, make: Callable[[], _Made], address: Address, tls: ssl.SSLContext | None) -> _Made:
        """A connection as ``make`` makes it. Raises ExchangeError."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._connect(make, address, tls)
        except (AddressRefusedError, UnknownNameError, OSError, ValueError) as error:
            raise ExchangeError(connecting_problem(error)) from None

    async def _connect(self, make: Callable[[], _Made], address: Address, tls: ssl.SSLContext | None) -> _Made:
        loop = asyncio.get_running_loop()
        name = address.host if tls is not None else None

        async def connect(ip: str) -> _Made:
            sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(sock, (ip, address.port))
                _, made = await loop.create_connection(make, sock=sock, ssl=tls, server_hostname=name)
            except BaseException:
                sock.close()
                raise
            return made

        async def close(made: _Made) -> None:
            made.abort()

        addresses = await checked_addresses(self._resolver, address.host, allow_private=self._allow_private)
        return await first_connected(connect, close, addresses)
