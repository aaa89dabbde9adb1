"""One HTTP/2 connection for many requests at once, as a client: h2 knows the protocol, this moves the bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from sockudo.outbound.connecting import OutgoingConnection
from sockudo.outbound.ports import ExchangeError, Reply

__all__ = ["Connection", "UnsentError"]

_MOST_BODY: Final = 64 * 1024
_CONFIG: Final = h2.config.H2Configuration(
    client_side=True,
    header_encoding=None,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)
_CODES: Final = h2.settings.SettingCodes


class UnsentError(Exception):
    """The server has not looked at the request and will not: it can be sent again on another connection."""


class _Stream:
    __slots__ = ("answer", "body", "ended", "headers", "length", "status", "timer", "unsent")

    def __init__(self, answer: asyncio.Future[Reply], unsent: bytes) -> None:
        self.answer = answer
        self.unsent = unsent
        self.ended = False
        self.timer: asyncio.TimerHandle | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.length = 0


class Connection(OutgoingConnection):
    """``usable`` while new requests may begin. As many run at once as the server allows; others wait in line."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._http = h2.connection.H2Connection(_CONFIG)
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, _Stream] = {}
        self._blocked: deque[int] = deque()
        self._line: deque[asyncio.Future[None]] = deque()
        self._flushing = False
        self._settled = False
        self._heard_at = 0.0
        self.speaks_http2 = True
        self.usable = False
        self.idle_since = self._loop.time()

    @property
    def idle(self) -> bool:
        return not self._streams and not self._line

    async def exchange(self, headers: Sequence[tuple[str, str]], body: bytes, deadline: float) -> Reply:
        """``headers`` begin with the pseudo-headers. Raises ExchangeError and UnsentError."""
        fields = [_field(name, value) for name, value in headers]
        await self._turn(deadline)
        try:
            stream_id = self._http.get_next_available_stream_id()
            self._http.send_headers(stream_id, fields)
        except h2.exceptions.ProtocolError:
            # The last number of a stream is used up, after a thousand million requests.
            self.usable = False
            raise UnsentError from None
        stream = self._streams[stream_id] = _Stream(self._loop.create_future(), body)
        self._send_body(stream_id)
        stream.timer = self._loop.call_at(deadline, self._expire, stream_id, self._loop.time())
        self._flush_soon()
        try:
            return await stream.answer
        finally:
            stream.timer.cancel()
            self._leave(stream_id)

    def abort(self) -> None:
        self._end("connection_reset")

    # ---- the transport's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self.speaks_http2 = False
            return
        self._http.local_settings = h2.settings.Settings(
            client=True, initial_values={_CODES.ENABLE_PUSH: 0, _CODES.MAX_HEADER_LIST_SIZE: _MOST_BODY}
        )
        self._http.initiate_connection()
        self.usable = True
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._http.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._flush()
            self._end("protocol_error")
            return
        if events:
            self._heard_at = self._loop.time()
        for event in events:
            self._take(event)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end("connection_reset" if exc is not None else "connection_closed")

    # ---- requests ----

    async def _turn(self, deadline: float) -> None:
        """Waits until one more request may begin."""
        try:
            async with asyncio.timeout_at(deadline):
                while self.usable and len(self._streams) >= self._most():
                    turn: asyncio.Future[None] = self._loop.create_future()
                    self._line.append(turn)
                    try:
                        await turn
                    except asyncio.CancelledError:
                        if not turn.cancelled():
                            self._wake_next()
                        raise
        except TimeoutError:
            raise ExchangeError("timeout") from None
        if not self.usable:
            raise UnsentError

    def _most(self) -> int:
        """What a server allows is known once its settings are there."""
        return self._http.remote_settings.max_concurrent_streams if self._settled else 1

    def _send_body(self, stream_id: int) -> None:
        """As much as the server's windows have room for."""
        stream = self._streams[stream_id]
        while True:
            room = min(self._http.local_flow_control_window(stream_id), self._http.max_outbound_frame_size)
            part, rest = stream.unsent[:room], stream.unsent[room:]
            if rest and not part:
                self._blocked.append(stream_id)
                return
            self._http.send_data(stream_id, part, end_stream=not rest)
            stream.unsent = rest
            if not rest:
                return

    def _expire(self, stream_id: int, began: float) -> None:
        self._fail(stream_id, ExchangeError("timeout"))
        if self._heard_at < began:
            # Not a word that could be understood since: the connection leads nowhere any more.
            self._end("timeout")

    def _leave(self, stream_id: int) -> None:
        """The answer is not awaited any more, or it is there."""
        stream = self._streams.pop(stream_id)
        if not stream.ended or stream.unsent:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self._http.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
                self._flush_soon()
        self.idle_since = self._loop.time()
        self._wake_next()
        if not self.usable and not self._streams:
            self._end("connection_closed")

    def _fail(self, stream_id: int, error: Exception) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or stream.answer.done():
            return
        if stream.status:
            self._answer(stream_id, whole=False)
        else:
            stream.answer.set_exception(error)

    # ---- frames of the server ----

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self._take_head(event)
        elif isinstance(event, h2.events.DataReceived):
            self._take_body(event)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            self._take_end(event)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._say_farewell(event.last_stream_id)
        elif isinstance(event, h2.events.WindowUpdated):
            self._send_blocked()
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self._settled = True
            self._send_blocked()
            self._wake_line()

    def _take_head(self, event: h2.events.ResponseReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        for name, value in event.headers or ():
            stream.headers[_text(name)] = _text(value)
        status = stream.headers.pop(":status", "")
        stream.status = int(status) if status.isdigit() else 0

    def _take_body(self, event: h2.events.DataReceived) -> None:
        length = event.flow_controlled_length or 0
        if length:
            self._http.acknowledge_received_data(length, event.stream_id)
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        stream.body.append(event.data[: max(0, _MOST_BODY - stream.length)])
        stream.length += len(event.data)
        if stream.length > _MOST_BODY:
            self._answer(event.stream_id)

    def _take_end(self, event: h2.events.StreamEnded | h2.events.StreamReset) -> None:
        stream_id = event.stream_id
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.ended = True
        if isinstance(event, h2.events.StreamEnded):
            self._answer(stream_id)
            return
        refused = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
        self._fail(stream_id, UnsentError() if refused else ExchangeError("connection_reset"))

    def _answer(self, stream_id: int, *, whole: bool = True) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or stream.answer.done():
            return
        if not 200 <= stream.status <= 599:
            stream.answer.set_exception(ExchangeError("protocol_error"))
            return
        stream.answer.set_result(Reply(stream.status, stream.headers, b"".join(stream.body), whole))

    def _say_farewell(self, last_stream_id: int | None) -> None:
        """The server takes no new requests and has not looked at those after ``last_stream_id``."""
        self.usable = False
        for stream_id in tuple(self._streams):
            if stream_id > (last_stream_id or 0):
                self._fail(stream_id, UnsentError())
        self._wake_line()

    def _send_blocked(self) -> None:
        """There may be room for bodies that wait."""
        blocked, self._blocked = self._blocked, deque()
        for stream_id in blocked:
            stream = self._streams.get(stream_id)
            if stream is not None and not stream.ended:
                self._send_body(stream_id)

    def _wake_next(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _wake_line(self) -> None:
        for turn in self._line:
            if not turn.done():
                turn.set_result(None)
        self._line.clear()

    def _end(self, problem: str) -> None:
        self.usable = False
        for stream_id in tuple(self._streams):
            self._fail(stream_id, ExchangeError(problem))
        self._wake_line()
        if self._transport is not None:
            self._transport.abort()

    # ---- bytes ----

    def _flush_soon(self) -> None:
        """Requests of one turn of the loop leave in one write."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        data = self._http.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)


def _field(name: str, value: str) -> HeaderTuple:
    """Paths hold what differs from request to request, and is private: never in the shared table."""
    kind = NeverIndexedHeaderTuple if name == ":path" else HeaderTuple
    return kind(name.encode(), value.encode())


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
