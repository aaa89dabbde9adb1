"""One connection to a NATS server, from its INFO to its end."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Protocol, cast

import structlog

from sockudo import errors
from sockudo.base.tls_problems import tls_problem
from sockudo.drivers.carriers.nats_login import NatsLogin, NatsServer
from sockudo.drivers.carriers.nats_wire import PING, PONG, NatsReader, ProtocolError, connect_line, publish_line

__all__ = ["NatsConnection", "NatsOwner"]

# Above the first, nothing more is given to the transport, until it has less than the second to send.
_HIGH: Final = 1024 * 1024
_LOW: Final = 256 * 1024
_MAX_PAYLOAD: Final = 1024 * 1024
_LOGIN_REFUSED: Final = ("authorization violation", "authentication", "account authentication")
_NOT_PERMITTED: Final = "permissions violation"

_log = structlog.get_logger("sockudo.cluster")


class NatsOwner(Protocol):
    """Whose connection it is."""

    def on_message(self, sid: bytes, payload: bytes) -> None: ...
    def on_servers(self, told_by: NatsServer, addresses: Iterable[str]) -> None:
        """Takes the servers of the cluster, as this one knows them now."""

    def on_room(self) -> None:
        """There is room to send more."""


class NatsConnection(asyncio.Protocol):
    """A `Link`. Lines of one turn go out together; what is sent after its end is lost."""

    def __init__(self, server: NatsServer, owner: NatsOwner, silence_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.server = server
        self.ended: asyncio.Future[str] = loop.create_future()
        self.max_payload = _MAX_PAYLOAD
        self.refused = ""
        self._loop = loop
        self._owner = owner
        self._silence_seconds = silence_seconds
        self._reader = NatsReader(self)
        self._transport: asyncio.Transport | None = None
        self._info: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._pongs: deque[asyncio.Future[None]] = deque()
        self._heard = True
        self._looks: asyncio.TimerHandle | None = None

    @classmethod
    async def make(
        cls, server: NatsServer, owner: NatsOwner, login: NatsLogin, *, timeout_ms: int, silence_ms: int
    ) -> NatsConnection:
        """Connects and logs in. Raises errors.SERVICE_UNAVAILABLE with what to do."""
        connection = cls(server, owner, silence_ms / 1000)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await connection._loop.create_connection(lambda: connection, server.host, server.port)
                await connection._log_in(login)
        except BaseException as error:
            connection.end("it could not be used")
            await connection.close()
            if not isinstance(error, OSError | TimeoutError | ProtocolError | UnicodeError):
                raise
            problem = connection.refused or _reason(error, timeout_ms)
            remedy = login.remedy if _is_login(problem) else "Start it, or correct adapter.nats.servers"
            if tls_problem(error) is not None:
                remedy = "Correct adapter.nats.tls.ca_path, or the certificate of the server"
            raise errors.SERVICE_UNAVAILABLE(f"NATS at {server.place} cannot be used: {problem}. {remedy}.") from error
        connection._look()
        return connection

    async def _log_in(self, login: NatsLogin) -> None:
        info = await self._info
        tls = self.server.tls or bool(info.get("tls_required"))
        if tls:
            if not (info.get("tls_required") or info.get("tls_available")):
                raise ProtocolError("it does not offer TLS")
            await self._start_tls(login.tls())
        self.write(connect_line(login.options(info, tls=tls)))
        await self.flush()

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        if self._transport is None:
            raise ConnectionResetError("the connection was closed")
        self._transport = await self._loop.start_tls(self._transport, self, context, server_hostname=self.server.name)
        if self._transport is None:
            raise ConnectionResetError("the connection was closed")
        self._transport.set_write_buffer_limits(_HIGH, _LOW)

    @property
    def has_room(self) -> bool:
        """Whether more should be given to it now; `NatsOwner.on_room` says when again."""
        return self._transport is not None and self._transport.get_write_buffer_size() < _HIGH

    def write(self, data: bytes) -> None:
        """Sends lines."""
        if self._transport is not None and not self.ended.done():
            self._transport.write(data)

    def flush(self) -> asyncio.Future[None]:
        """Ends when the server has seen all that was sent before; with ConnectionError when it never will."""
        done: asyncio.Future[None] = self._loop.create_future()
        if self.ended.done():
            done.set_exception(ConnectionResetError(self.ended.result()))
        else:
            self._pongs.append(done)
            self.write(PING)
        return done

    async def probe(self, subjects: Iterable[bytes]) -> None:
        """Subscribes to unused subjects and publishes on them: ``refused`` says then whether this user may."""
        for subject in subjects:
            self.write(b"SUB %b 0\r\n%bUNSUB 0\r\n" % (subject, publish_line(subject, b"")))
        await self.flush()

    def end(self, reason: str) -> None:
        """Drops the connection."""
        if not self.ended.done():
            self.ended.set_result(reason)
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        if self._looks is not None:
            self._looks.cancel()
        self.end("it was closed")
        self._give_up()

    def _give_up(self) -> None:
        awaited: list[asyncio.Future[Any]] = [self._info, *self._pongs]
        for waiting in awaited:
            if not waiting.done():
                waiting.set_exception(ConnectionResetError(self.ended.result()))
            if not waiting.cancelled():
                waiting.exception()
        self._pongs.clear()

    def _look(self) -> None:
        """Asks a server that has been silent for a while, and ends the connection to one that has not answered."""
        if not self._heard and self._pongs:
            self.end("it does not answer")
            return
        if not self._heard:
            self.flush().add_done_callback(_seen)
        self._heard = False
        self._looks = self._loop.call_later(self._silence_seconds / 2, self._look)

    # ---- what the transport calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of that class.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_HIGH, _LOW)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            self._reader.feed(data)
        except ProtocolError as problem:
            self.refused = str(problem)
            self.end(self.refused)
            self._give_up()

    def resume_writing(self) -> None:
        self._owner.on_room()

    def connection_lost(self, problem: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(self.refused or _why(problem) or "the server closed it")
        self._give_up()

    # ---- what the server sends ----

    def on_info(self, info: dict[str, Any]) -> None:
        longest = info.get("max_payload")
        if isinstance(longest, int) and longest > 0:
            self.max_payload = longest
        addresses = info.get("connect_urls")
        if isinstance(addresses, list):
            self._owner.on_servers(self.server, (address for address in addresses if isinstance(address, str)))
        if not self._info.done():
            self._info.set_result(info)
        elif info.get("ldm"):
            self.end("the server is about to stop")

    def on_message(self, sid: bytes, payload: bytes) -> None:
        self._owner.on_message(sid, payload)

    def on_ping(self) -> None:
        self.write(PONG)

    def on_pong(self) -> None:
        if self._pongs:
            waiting = self._pongs.popleft()
            if not waiting.done():
                waiting.set_result(None)

    def on_error(self, text: str) -> None:
        text = text.lower()
        # Unlike all others this one does not end the connection, and may come for each payload.
        ends = not text.startswith(_NOT_PERMITTED)
        if ends or not self.refused:
            self.refused = text
            _log.warning("NATS refused something", server=self.server.place, problem=text)
        if ends:
            self.end(text)


def _seen(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()


def _is_login(problem: str) -> bool:
    return any(words in problem for words in _LOGIN_REFUSED)


def _reason(error: BaseException, timeout_ms: int) -> str:
    found = tls_problem(error)
    if found is not None:
        return f"TLS: {found.replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return f"it did not answer within {timeout_ms} ms"
    if isinstance(error, ProtocolError):
        return str(error)
    return _why(error) or "it cannot be reached"


def _why(problem: BaseException | None) -> str | None:
    """What the system calls it: asyncio's own words for a refused connection do not say that it was."""
    number = getattr(problem, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else None
