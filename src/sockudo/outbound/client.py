"""The HTTP/1.1 client for servers that an app names: webhooks. What HTTP is, httpcore knows, on which httpx
stands; where a connection leads, `sockudo.outbound.connecting` alone decides, since the library never opens one.

The library's pool looks through all of its connections for each request, and httpx uses that pool. With 8 and 64
requests at a time, a request costs 1,260 and 2,660 µs of CPU through httpx, 760 and 1,890 µs through the library's
pool, 220 and 150 µs through ours (benchmarks/micro/outgoing_http.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import httpcore

from sockudo.outbound.connecting import Address, Connector, address_of
from sockudo.outbound.heads import head_fields
from sockudo.outbound.pool import Pool, PooledConnection
from sockudo.outbound.ports import ExchangeError, Reply
from sockudo.outbound.resolver import Resolver
from sockudo.outbound.stream import Stream

__all__ = ["Client"]

_MOST_BODY: Final = 64 * 1024
_MOST_HEAD: Final = 64 * 1024
# Of one origin. An endpoint has 64 at most (`webhooks.concurrency`), and many apps may have theirs on one host.
_MOST_CONNECTIONS: Final = 1024


class Client:
    """Redirects are answers like others. Variables that name a proxy mean nothing here: the addresses would be checked
    elsewhere then, or not at all. TLS is verified with the system's certificates, those that ``SSL_CERT_FILE`` and
    ``SSL_CERT_DIR`` name, or those of ``cafile``.
    """

    def __init__(
        self, *, allow_private: bool = False, resolver: Resolver | None = None, cafile: str | None = None
    ) -> None:
        self._resolver = resolver or Resolver()
        # The deadline is for connecting as well.
        connector = Connector(self._resolver, allow_private=allow_private, seconds=None)
        self._pool = Pool(connector, _Connection, most=_MOST_CONNECTIONS, cafile=cafile)

    async def post(
        self,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        deadline: float,
        body_seconds: float | None = None,
    ) -> Reply:
        """One request, answered by ``deadline`` in the loop's time. ``body_seconds`` are how long the end of the
        answer's body is waited for, within the deadline; it is not whole then.

        Raises ExchangeError; after that, or after being cancelled, the request may or may not have arrived.
        """
        try:
            address = address_of(url)
        except ValueError:
            raise ExchangeError("url_invalid") from None
        request = _request(address, headers, body)
        connection = await self._pool.take(address, deadline)
        try:
            return await connection.exchange(request, deadline, body_seconds)
        finally:
            self._pool.give_back(address, connection)

    async def close(self) -> None:
        """Ends the connections that are kept. No request may be under way."""
        self._pool.close()
        await self._resolver.close()


class _Connection(Stream, PooledConnection):
    """What the library makes of a stream."""

    def __init__(self) -> None:
        super().__init__()
        self._http: _Http | None = None
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        return not self.is_readable and (self._http is None or self._http.is_idle()) and not self._surplus

    async def exchange(self, request: httpcore.Request, deadline: float, body_seconds: float | None) -> Reply:
        """Sends the request and returns its answer. Raises ExchangeError."""
        http = self._http
        if http is None:
            http = self._http = _Http(request.url.origin, self)
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._answered(http, request)
        except TimeoutError:
            raise ExchangeError("timeout") from None
        loop = asyncio.get_running_loop()
        answered_at = loop.time()
        until = deadline if body_seconds is None else min(deadline, answered_at + body_seconds)
        beginning, whole = await _body(response, until)
        self.idle_since = loop.time()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return Reply(response.status, headers, beginning, whole, answered_at)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # They name each other.
        self._http = None

    @property
    def _surplus(self) -> bool:
        """Whether more has come than an answer: the library would take it for the answer to the next request."""
        return self._http is not None and self._http.has_unread

    async def _answered(self, http: _Http, request: httpcore.Request) -> httpcore.Response:
        """Returns once the head of the answer is there."""
        try:
            response = await http.handle_async_request(request)
        except httpcore.NetworkError:
            raise ExchangeError("connection_reset") from None
        except httpcore.RemoteProtocolError:
            raise ExchangeError("connection_closed" if self.ended else "protocol_error") from None
        except httpcore.LocalProtocolError:
            raise ExchangeError("url_invalid") from None
        if response.status < 200:
            raise ExchangeError("protocol_error")
        return response


class _Http(httpcore.AsyncHTTP11Connection):
    MAX_INCOMPLETE_EVENT_SIZE = _MOST_HEAD

    @property
    def has_unread(self) -> bool:
        """Whether there are bytes behind the last answer."""
        unread, _ = self._h11_state.trailing_data
        return bool(unread)


def _request(address: Address, headers: Sequence[tuple[str, str]], body: bytes) -> httpcore.Request:
    """Raises ExchangeError for a header that HTTP does not allow."""
    scheme = b"https" if address.secure else b"http"
    url = httpcore.URL(scheme=scheme, host=address.host.encode(), port=address.port, target=address.target.encode())
    try:
        fields = [(name.encode(), value.encode()) for name, value in head_fields(address, headers, len(body))]
    except UnicodeEncodeError:
        raise ExchangeError("url_invalid") from None
    return httpcore.Request("POST", url, headers=fields, content=body)


async def _body(response: httpcore.Response, until: float) -> tuple[bytes, bool]:
    """Its first 64 KiB, and whether it came to its end or to them."""
    beginning, whole = bytearray(), True
    try:
        async with asyncio.timeout_at(until):
            async for part in response.aiter_stream():
                beginning += part[: _MOST_BODY - len(beginning)]
                if len(beginning) == _MOST_BODY:
                    break
    except (TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        # The status in the head counts all the same.
        whole = False
    finally:
        await response.aclose()
    return bytes(beginning), whole
