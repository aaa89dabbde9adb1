"""Requests over HTTP/1.1 at the rate of a fan-out: for providers of push notifications alone.

A notification costs the server 135 µs of CPU, from the plan to its outcome (``scripts/bench --push --rows fcm``), of
which the request is 36 µs here. It would be 150 µs by the client of webhooks, which stands on httpcore, and 2,660 µs by
httpx (benchmarks/micro/outgoing_http.py, 64 requests at a time).
"""

from __future__ import annotations

from collections.abc import Sequence

from sockudo.outbound.connecting import Address, Connector
from sockudo.outbound.heads import head_fields
from sockudo.outbound.http1_connection import Connection
from sockudo.outbound.pool import Pool
from sockudo.outbound.ports import ExchangeError, Reply

__all__ = ["Http1"]


class Http1(Pool[Connection]):
    """Redirects are not followed."""

    def __init__(self, connector: Connector, *, cafile: str | None = None, most: int = 128) -> None:
        super().__init__(connector, Connection, most=most, cafile=cafile)

    async def post(self, address: Address, headers: Sequence[tuple[str, str]], body: bytes, deadline: float) -> Reply:
        """``headers`` go before those that are always sent. Raises ExchangeError; after that, or after being cancelled,
        the request may or may not have arrived.
        """
        data = _request(address, headers, body)
        connection = await self.take(address, deadline)
        try:
            return await connection.exchange(data, deadline)
        finally:
            self.give_back(address, connection)


def _request(address: Address, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """Raises ExchangeError for a header that HTTP does not allow."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in head_fields(address, headers, len(body)))
    try:
        return f"POST {address.target} HTTP/1.1\r\n{fields}\r\n".encode() + body
    except UnicodeEncodeError:
        raise ExchangeError("url_invalid") from None
