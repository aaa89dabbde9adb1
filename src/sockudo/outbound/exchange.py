"""How providers of push notifications are reached: `sockudo.outbound.ports.HttpExchange` over both HTTP versions.

At the rate of a fan-out what a request costs decides: docs/design.md has it, by the clients here and by httpx.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sockudo.outbound.connecting import Address, Connector, address_of
from sockudo.outbound.http1 import Http1
from sockudo.outbound.ports import ClientIdentity, ExchangeError, Reply
from sockudo.outbound.resolver import Resolver

if TYPE_CHECKING:
    from sockudo.outbound.http2 import Http2

__all__ = ["Exchange"]


class Exchange:
    """TLS is verified with the system's certificates, those that ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name, or those
    of ``cafile``. Redirects are not followed, proxies are not used. Needs the package h2 for HTTP/2 alone.
    """

    def __init__(
        self, *, allow_local: bool = False, resolver: Resolver | None = None, cafile: str | None = None
    ) -> None:
        self._allow_local = allow_local
        self._resolver = resolver or Resolver()
        self._cafile = cafile
        self._connector = Connector(self._resolver, allow_private=allow_local)
        self._http1 = Http1(self._connector, cafile=cafile)
        self._http2: Http2 | None = None
        self._without_http2: set[tuple[str, int]] = set()

    @property
    def allows_local(self) -> bool:
        return self._allow_local

    async def post(
        self,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        deadline: float,
        http2: bool = False,
        identity: ClientIdentity | None = None,
    ) -> Reply:
        """One request (see the port). A server without HTTP/2, or without TLS, is spoken to in HTTP/1.1."""
        try:
            address = address_of(url)
        except ValueError:
            raise ExchangeError("url_invalid") from None
        if not address.secure and not self._allow_local:
            raise ExchangeError("address_refused")
        if http2 and address.secure and address[1:3] not in self._without_http2:
            reply = await self._post_2(address, headers, body, deadline, identity)
            if reply is not None:
                return reply
        return await self._http1.post(address, headers, body, deadline)

    async def close(self) -> None:
        """Ends every connection. No request may be under way."""
        self._http1.close()
        if self._http2 is not None:
            await self._http2.close()
        await self._resolver.close()

    async def _post_2(
        self,
        address: Address,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        deadline: float,
        identity: ClientIdentity | None,
    ) -> Reply | None:
        """None when the server does not speak HTTP/2."""
        from sockudo.outbound.http2 import Http1OnlyError, Http2

        if self._http2 is None:
            self._http2 = Http2(self._connector, cafile=self._cafile)
        try:
            return await self._http2.post(address, headers, body, deadline, identity)
        except Http1OnlyError:
            if identity is not None:
                raise ExchangeError("protocol_error") from None
            self._without_http2.add(address[1:3])
            return None
