"""A WebSocket client (spec: websocket § 1 to 9): what `sockudo listen` and the test kit connect with."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as dial
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI

from sockudo.client.address import is_loopback, socket_url
from sockudo.client.auth import Credentials, authorize_channel, needs_auth, user_auth, user_data
from sockudo.client.deltas import Deltas, LostBaseError
from sockudo.client.events import Event
from sockudo.client.failures import ApiError, ClientError, ClosedError, UnreachableError
from sockudo.client.wire import V1, Wire

__all__ = ["Event", "Reconnect", "Socket"]

_MAX_FRAME: Final = 64 * 1024 * 1024
_BROKEN_OFF: Final = 1006


class _Established(msgspec.Struct):
    socket_id: str
    activity_timeout: int


class Socket:
    """One established connection. Open it with `Socket.connect`, best as ``async with await Socket.connect(…)``.

    Iterating yields every frame after the handshake, in order, and ends when the connection ends; `receive` gives them
    one by one. A ``pusher:ping`` is answered while frames are received (unless ``answer_pings`` is off) and is also
    yielded. ``close_code`` and ``close_reason`` are None until the connection has ended.

    On protocol V2 messages that come as differences are yielded whole. One that cannot be put together is yielded as
    the ``sockudo:delta`` that it came as, and the server is asked for whole messages again.
    """

    def __init__(
        self, connection: ClientConnection, established: Event, *, answer_pings: bool, wire: Wire = V1
    ) -> None:
        self.socket_id: str = established.data["socket_id"]
        self.activity_timeout: int = established.data["activity_timeout"]
        self.established = established
        self.answer_pings = answer_pings
        self._connection = connection
        self._wire = wire
        self._deltas = Deltas(reduced=wire.is_binary) if wire.protocol == 2 else None

    @classmethod
    async def connect(
        cls,
        url: str,
        key: str,
        *,
        open_timeout: float = 10.0,
        keepalive: float | None = 20.0,
        answer_pings: bool = True,
        origin: str | None = None,
        wire: Wire = V1,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """Connect to the server at ``url`` (http, https, ws or wss) as a client of the app with ``key``.

        ``keepalive`` is the interval of native pings in seconds; with None the client is silent until it is asked.
        ``wire`` is the protocol and the format, and on V2 perhaps a token. ``tls`` determines whose certificates count.
        Raises `UnreachableError` without an answer within ``open_timeout`` seconds, `ApiError` when the upgrade is
        refused with an HTTP status, `ClosedError` when the server refuses with a close code.
        """
        try:
            async with asyncio.timeout(open_timeout):
                connection = await _dial(url, key, keepalive, origin, wire, tls)
                established = await _handshake(connection, wire)
        except TimeoutError:
            raise UnreachableError(url, "no answer in time") from None
        return cls(connection, established, answer_pings=answer_pings, wire=wire)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self.receive()
        except ClosedError:
            raise StopAsyncIteration from None

    @property
    def close_code(self) -> int | None:
        return self._connection.close_code

    @property
    def close_reason(self) -> str | None:
        return self._connection.close_reason

    async def receive(self) -> Event:
        """The next frame; raises `ClosedError` when the connection has ended."""
        try:
            event = await _receive(self._connection, self._wire)
        except ConnectionClosed:
            raise self._closed() from None
        if self._deltas is not None:
            try:
                event = self._deltas.read(event)
            except LostBaseError as lost:
                with suppress(ClosedError):
                    await self.send({"event": "pusher:delta_sync_error", "data": {"channel": lost.channel}})
        if event.event == "pusher:ping" and self.answer_pings:
            with suppress(ClosedError):  # what came before the end is still to be read
                await self.send({"event": "pusher:pong"})
        return event

    async def subscribe(
        self,
        channel: str,
        credentials: Credentials | None = None,
        *,
        user_id: str | None = None,
        user_info: Any = None,
        auth: str | None = None,
        channel_data: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Ask for a channel; the acknowledgement or the refusal arrives as a frame.

        For private and presence channels the app's ``credentials`` sign here what a backend would sign; ``auth`` and
        ``channel_data`` are for an answer that a backend has given. ``options`` are those of protocol V2: ``filter``,
        ``rewind``, ``delta``. Raises ValueError for a presence channel without ``user_id``.
        """
        data: dict[str, Any] = {"channel": channel, **(options or {})}
        if auth is None and credentials is not None and needs_auth(channel):
            data |= authorize_channel(credentials, self.socket_id, channel, user_id=user_id, user_info=user_info)
        if auth is not None:
            data["auth"] = auth
        if channel_data is not None:
            data["channel_data"] = channel_data
        await self.send({"event": "pusher:subscribe", "data": data})

    async def unsubscribe(self, channel: str) -> None:
        """Leave a channel; nothing is answered."""
        await self.send({"event": "pusher:unsubscribe", "data": {"channel": channel}})

    async def signin(
        self,
        credentials: Credentials,
        user_id: str,
        *,
        user_info: Any = None,
        watchlist: list[str] | None = None,
    ) -> None:
        """Sign in as a user; ``pusher:signin_success`` or an error arrives as a frame."""
        described = user_data(user_id, user_info, watchlist)
        auth = user_auth(credentials, self.socket_id, described)
        await self.send({"event": "pusher:signin", "data": {"auth": auth, "user_data": described}})

    async def send_event(self, event: str, channel: str, data: Any) -> None:
        """Send a client event: ``event`` begins with ``client-`` and the channel is a private or presence one."""
        await self.send({"event": event, "channel": channel, "data": data})

    async def enable_deltas(self, *algorithms: str) -> None:
        """Ask for messages as differences, in one of these formats: ``fossil``, ``xdelta3``. Protocol V2."""
        await self.send({"event": "pusher:enable_delta_compression", "data": {"algorithms": list(algorithms)}})

    async def resume(self, positions: Mapping[str, Mapping[str, Any]]) -> None:
        """Ask for what was missed on some channels, each behind its ``serial`` of a ``stream_id``
        (spec: websocket § 12)."""
        await self.send({"event": "pusher:resume", "data": {"channel_positions": dict(positions)}})

    async def ping(self) -> None:
        """Send ``pusher:ping``; the server answers with ``pusher:pong``."""
        await self.send({"event": "pusher:ping"})

    async def send(self, frame: dict[str, Any]) -> None:
        """Send one frame; raises `ClosedError` when the connection has ended."""
        await self.send_raw(self._wire.encode(frame))

    async def send_raw(self, payload: str | bytes) -> None:
        """Send a message as it is: text in a text frame, bytes in a binary one."""
        try:
            await self._connection.send(payload)
        except ConnectionClosed:
            raise self._closed() from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection; does nothing when it has ended already."""
        await self._connection.close(code, reason)

    def abort(self) -> None:
        """Drop the connection without a goodbye, as a device does that loses its network."""
        self._connection.transport.abort()

    def _closed(self) -> ClosedError:
        code = self._connection.close_code
        return ClosedError(_BROKEN_OFF if code is None else code, self._connection.close_reason or "")


async def _dial(
    url: str, key: str, keepalive: float | None, origin: str | None, wire: Wire, tls: ssl.SSLContext | None
) -> ClientConnection:
    # The library refuses a context for a URL that needs none.
    secure: dict[str, Any] = {} if tls is None or not url.startswith(("https:", "wss:")) else {"ssl": tls}
    try:
        return await dial(
            socket_url(url, key, wire.parameters()),
            additional_headers=None if origin is None else {"Origin": origin},
            compression=None,
            open_timeout=None,
            ping_interval=keepalive,
            close_timeout=2,
            max_size=_MAX_FRAME,
            proxy=None if is_loopback(url) else True,
            **secure,
        )
    except InvalidStatus as error:
        raise _refusal(error.response.status_code, error.response.body or b"") from None
    except InvalidURI:
        raise UnreachableError(url, "this is not a URL") from None
    except (OSError, InvalidHandshake, EOFError) as error:
        raise UnreachableError.of(url, error, garbled=isinstance(error, InvalidMessage | EOFError)) from None


async def _receive(connection: ClientConnection, wire: Wire) -> Event:
    return wire.decode(await connection.recv(decode=None if wire.is_binary else True))


async def _handshake(connection: ClientConnection, wire: Wire) -> Event:
    """Wait for ``connection_established``; an error frame before it comes with the close that follows."""
    try:
        while True:
            event = await _receive(connection, wire)
            if event.system == "connection_established":
                return _checked(event)
    except ConnectionClosed:
        code = connection.close_code
        raise ClosedError(
            _BROKEN_OFF if code is None else code, connection.close_reason or "", established=False
        ) from None
    except BaseException:
        connection.transport.abort()
        raise


def _refusal(status: int, body: bytes | bytearray) -> ApiError:
    try:
        envelope = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError):
        envelope = {}
    text = envelope.get("error") or f"The server refused the connection with status {status}"
    return ApiError(status, str(envelope.get("code", "unknown")), str(text), docs=str(envelope.get("docs", "")))


def _checked(established: Event) -> Event:
    try:
        msgspec.convert(established.data, _Established)
    except msgspec.ValidationError as error:
        raise ClientError(f"The server's greeting is not one of the protocol: {error}") from None
    return established


_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 10.0


class Reconnect:
    """Decides after each end of a connection; remembers only how often in a row it did not work."""

    def __init__(self) -> None:
        self._failures = 0

    def established(self) -> None:
        """A connection works: the next wait is the shortest again."""
        self._failures = 0

    def delay(self, code: int | None, *, established: bool) -> float | None:
        """Seconds to wait before the next try; None when trying again is pointless.

        ``code`` is the close code, None when the server could not be reached. A server that says "at once" before it
        has accepted the connection is not believed: it would be asked in a tight circle.
        """
        if code is not None and (4000 <= code < 4100 or 4300 <= code < 5000):
            return None
        if code is not None and 4200 <= code < 4300 and established:
            return 0.0
        self._failures += 1
        return min(_FIRST_DELAY * 2.0 ** (self._failures - 1), _LONGEST_DELAY)
