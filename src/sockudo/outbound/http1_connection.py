"""One connection of the client in `sockudo.outbound.http1`: a request goes out, its answer is parsed as it comes in."""

from __future__ import annotations

import asyncio
from typing import Final

import httptools

from sockudo.outbound.pool import PooledConnection
from sockudo.outbound.ports import ExchangeError, Reply

__all__ = ["Connection"]

_MOST_BODY: Final = 64 * 1024
_MOST_HEAD: Final = 64 * 1024


class Connection(PooledConnection):
    """One with the parser of httptools, in C."""

    __slots__ = (
        "_answered",
        "_body",
        "_endless",
        "_head",
        "_headers",
        "_length",
        "_loop",
        "_parser",
        "_timer",
        "_transport",
        "_waiting",
        "idle_since",
        "usable",
    )

    usable: bool

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.usable = False
        self.idle_since = 0.0
        self._forget()

    async def exchange(self, data: bytes, deadline: float) -> Reply:
        """Sends the bytes of a request and returns its answer. Raises ExchangeError."""
        transport = self._transport
        if transport is None or not self.usable:
            raise ExchangeError("connection_reset")
        self.usable = False
        self._forget()
        waiting: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting = waiting
        self._timer = self._loop.call_at(deadline, self._fail, "timeout")
        transport.write(data)
        try:
            return await waiting
        finally:
            self._timer.cancel()
            self._waiting = self._timer = None

    def abort(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # ---- the transport's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.usable = True

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            # Nothing was asked.
            self.abort()
            return
        if not self._answered:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("protocol_error")
        else:
            if not self._answered and self._head > _MOST_HEAD:
                self._fail("protocol_error")

    def eof_received(self) -> None:
        self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()
        self._transport = None

    # ---- the parser's side ----

    def on_message_begin(self) -> None:
        if self._waiting is None or self._waiting.done():
            # A second answer to one request.
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        self._headers[key] = value.decode("latin-1")
        if key in ("content-length", "transfer-encoding"):
            self._endless = False

    def on_headers_complete(self) -> None:
        # A provisional answer is none.
        self._answered = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        room = max(0, _MOST_BODY - self._length)
        self._length += len(body)
        self._body.append(body[:room])
        if self._length > _MOST_BODY:
            self._done(reusable=False)

    def on_message_complete(self) -> None:
        if self._answered:
            self._done(reusable=self._parser.should_keep_alive())
        else:
            self._forget()

    def _forget(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._length = 0
        self._head = 0
        self._answered = False
        # Neither length nor chunks: the body ends with the connection.
        self._endless = True

    def _ended(self) -> None:
        self.usable = False
        if self._answered:
            self._done(reusable=False, whole=self._endless)
        else:
            self._fail("connection_closed")

    def _done(self, *, reusable: bool, whole: bool = True) -> None:
        waiting = self._waiting
        if waiting is None or waiting.done():
            return
        self.usable = reusable and self._transport is not None
        self.idle_since = self._loop.time()
        body = b"".join(self._body)
        waiting.set_result(Reply(self._parser.get_status_code(), self._headers, body, whole))

    def _fail(self, problem: str) -> None:
        self.usable = False
        if self._answered:
            self._done(reusable=False, whole=False)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ExchangeError(problem))
        if self._transport is not None:
            self._transport.abort()
