"""One connection to a Redis server: commands out, answers in, in order (RESP2).

For what sends and hears far more than it asks: no task, no future and no wait per command. Redis' own client for Python
is used where scripts run (`sockudo.storage.redis_scripts`).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import hiredis

from sockudo.base.tls_problems import causes_of

__all__ = [
    "UNKNOWN_COMMAND",
    "UNKNOWN_DATABASE",
    "UNKNOWN_REASON",
    "UNKNOWN_USER",
    "Login",
    "RedisWire",
    "RedisWireError",
    "dial",
    "pack",
    "reason_of",
]

UNKNOWN_USER: Final = "it does not accept the configured user or password"
UNKNOWN_DATABASE: Final = "it has no database of the configured number"

UNKNOWN_REASON: Final = "it failed"
UNKNOWN_COMMAND: Final = "it does not know the command"


def pack(command: tuple[str | bytes | int, ...]) -> bytes:
    """The bytes of a command."""
    return cast("bytes", hiredis.pack_command(cast("Any", command)))


class RedisWireError(Exception):
    """A server cannot be reached, or not be used; the text says why, and holds nothing of what was sent."""


class Login(NamedTuple):
    """Who connects; ``""`` for what is not needed. ``context`` is None without TLS."""

    username: str = ""
    password: str = ""
    db: int = 0
    context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Login({self.username!r}, db={self.db}, tls={self.context is not None})"


class RedisWire(asyncio.Protocol):
    """A connection. What no `ask` waits for goes to ``take``, errors as exceptions; ``ended`` is called once."""

    def __init__(self) -> None:
        self.take: Callable[[Any], None] = self._drop
        self.ended: Callable[[str], None] | None = None
        self.answered_at = 0.0
        """When the last bytes came, in the loop's time."""
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None
        self._end: str | None = None

    # ---- what the loop calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # That of uvloop is none by its class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.answered_at = self._loop.time()
        gets = self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := gets()) is not False:
                if self._asked:
                    self._answered(reply)
                else:
                    self.take(reply)
        except hiredis.ProtocolError:
            self.close("it does not speak the protocol of Redis")

    def connection_lost(self, error: Exception | None) -> None:
        self.close("it closed the connection" if error is None else reason_of(error))

    # ---- what its owner calls ----

    def write(self, data: bytes) -> None:
        """Sends; without a connection it is dropped."""
        if self._transport is not None and data:
            self._transport.write(data)

    def ask(self, *command: str | bytes | int) -> asyncio.Future[Any]:
        """The answer of one command, while nothing else is on the wire. An error raises `RedisWireError`."""
        return self._expect(pack(command))

    def next(self) -> asyncio.Future[Any]:
        """What comes next without having been asked for."""
        return self._expect(b"")

    def close(self, reason: str = "it was closed") -> None:
        """Ends the connection at once; what was asked is answered with a problem."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._end is not None:
            return
        self._end = reason
        while self._asked:
            answer = self._asked.popleft()
            if not answer.done():
                answer.set_exception(RedisWireError(reason))
                # Perhaps nothing waits for it any more.
                answer.exception()
        if self.ended is not None:
            self.ended(reason)

    def _expect(self, data: bytes) -> asyncio.Future[Any]:
        answer = self._loop.create_future()
        if self._end is not None:
            answer.set_exception(RedisWireError(self._end))
        else:
            self._asked.append(answer)
            self.write(data)
        return answer

    def _answered(self, reply: Any) -> None:
        answer = self._asked.popleft()
        if answer.done():
            return
        if isinstance(reply, Exception):
            answer.set_exception(RedisWireError(reason_of(reply)))
        else:
            answer.set_result(reply)

    def _drop(self, _reply: Any) -> None:
        """Nothing waits for it."""


async def dial(host: str, port: int, login: Login, seconds: float) -> RedisWire:
    """A connection that is logged in, in its database. Raises `RedisWireError`, after ``seconds`` at most."""
    wire: RedisWire | None = None
    name = host if login.context is not None else None
    try:
        async with asyncio.timeout(seconds):
            _, wire = await asyncio.get_running_loop().create_connection(
                RedisWire, host, port, ssl=login.context, server_hostname=name
            )
            if login.username or login.password:
                await wire.ask("AUTH", *((login.username,) if login.username else ()), login.password)
            if login.db:
                await wire.ask("SELECT", login.db)
            # Asks for what needs a login, where none is configured.
            await wire.ask("PING")
    except TimeoutError:
        _end(wire)
        raise RedisWireError(f"no answer within {seconds:g} s") from None
    except (OSError, UnicodeError) as error:
        _end(wire)
        raise RedisWireError(reason_of(error)) from error
    except BaseException:
        _end(wire)
        raise
    return wire


def _end(wire: RedisWire | None) -> None:
    if wire is not None:
        wire.close()


def reason_of(error: BaseException) -> str:
    """What went wrong, in words that hold nothing of what was sent."""
    for cause in causes_of(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "the TLS handshake failed"
        if isinstance(cause, (socket.gaierror, UnicodeError)):
            return "its name has no address"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
    text = str(error)
    if text.startswith(("NOAUTH", "WRONGPASS", "invalid username", "ERR invalid password")):
        return UNKNOWN_USER
    if "DB index" in text:
        return UNKNOWN_DATABASE
    if text.startswith("ERR unknown command"):
        return UNKNOWN_COMMAND
    if "cluster support disabled" in text:
        return "it is no part of a cluster"
    word = text.partition(" ")[0]
    if word.isalpha() and word.isupper() and word != "ERR":
        return word
    return UNKNOWN_REASON
