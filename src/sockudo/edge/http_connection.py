"""An HTTP connection whose client can make it keep little: what every listener has in common.

The parser calls back for a piece of a body, and for a header once it is whole; it collects a header's value, and skips
chunk lines and their extensions, without saying so. So the bytes that bring a request no further are counted here. A
request that is pipelined costs far more memory than the bytes that it was sent with: a few are parsed ahead, the others
stay bytes, and reading stops until all that were parsed are answered.
"""

from __future__ import annotations

import asyncio
from typing import Final

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.edge.http_head import MAX_HEAD, MAX_HEADERS, head_too_large, too_many_headers
from sockudo.edge.replies import Reply, error_reply, render
from sockudo.errors import SockudoError

__all__ = ["MOST_PIPELINED", "HttpConnection"]

MOST_PIPELINED: Final = 8
"""Requests that are parsed while an earlier one is not answered yet."""

_PIECE: Final = 64 * 1024
# A piece this small holds some fifty requests at most, of any kind: to count them would cost more than it saves.
_SMALL: Final = 1024
_END_OF_HEAD: Final = b"\r\n\r\n"

_log = structlog.get_logger("sockudo.http")


class HttpConnection(HttpToolsProtocol):
    """uvicorn's connection with bounds on heads, chunk lines, trailers and pipelined requests.

    ``data_received`` of a listener's own class hands its bytes to `_take`. What cannot be served is refused once, after
    the answers that are due before it, and the connection ends.
    """

    # In slots these are found fastest, and what uvicorn keeps stays few enough for a small dictionary.
    __slots__ = ("_arriving", "_framing", "_held", "_in_head", "_moved", "_over", "_refused")

    flow: _Flow  # uvicorn's, with a reason to stop more

    def __init__(self, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self._refused: SockudoError | None = None
        # Our side has ended: what the client still sends is thrown away.
        self._over = False
        # Between the beginning of a request and its end; and before the end of its head.
        self._arriving = False
        self._in_head = False
        # Bytes since a request last got further, and whether the piece at hand got it further.
        self._framing = 0
        self._moved = False
        # What has been read and waits until the requests before it are answered.
        self._held = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.flow = _Flow(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # Requests and their connection hold each other, and a timer that uvicorn leaves running after a reset holds
        # both: nothing but the garbage collector would free them, and that comes late here.
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        self._held = b""
        self.cycle = None  # type: ignore[assignment]

    @property
    def _free(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.pipeline

    # ---- bytes in ----

    def _take(self, data: bytes) -> None:
        """Parses what has arrived, as far as it is the turn of it."""
        if self._refused is not None or self._over:
            return
        if self._held:
            self._held += data
            self._stop_reading()
            return
        size = len(data)
        if not self.pipeline and (size <= _SMALL or (size <= _PIECE and data.count(_END_OF_HEAD) <= MOST_PIPELINED)):
            # Almost always: one request, or a part of one.
            self._moved = False
            instead = self._parse(data, 0, size)
            if instead is not None:
                self._read(instead)
            elif self._moved:
                self._framing = 0
            else:
                self._measure(size)
        else:
            self._read(data)
        if self._arriving and not self._in_head and self._refused is None:
            self._look_at_unfinished()
        self._end_if_refused()

    def _end_if_refused(self) -> None:
        if self._refused is not None:
            self._send_refusal(self._refused)

    def _read(self, data: bytes) -> None:
        at, size = 0, len(data)
        # Of many requests, each is a piece of its own: the parser stops nowhere else.
        many = data.count(_END_OF_HEAD) > MOST_PIPELINED
        while at < size and self._refused is None and not self._over and self.parser is not None:
            if len(self.pipeline) >= MOST_PIPELINED:
                self._held = data[at:]
                self._stop_reading()
                return
            end = at + _PIECE
            if many:
                found = data.find(_END_OF_HEAD, at, end)
                end = end if found < 0 else found + len(_END_OF_HEAD)
            self._moved = False
            instead = self._parse(data, at, end)
            if instead is None:
                self._measure(min(end, size) - at)
                at = end
            else:
                data, at, size = instead, 0, len(instead)

    def _measure(self, size: int) -> None:
        """Refuses a request that sends without getting any further: its head, a chunk line or its trailers."""
        if self._moved:
            # Somewhere in this piece; the parser does not say where.
            self._framing = 0
            return
        self._framing += size
        if self._arriving and self._framing > MAX_HEAD and self._refused is None:
            self._refused = head_too_large()

    def _parse(self, data: bytes, at: int, end: int) -> bytes | None:
        """Has the parser read a part of the data; returns what to go on with in place of all the rest, if anything."""
        try:
            self.parser.feed_data(data[at:end])
        except httptools.HttpParserUpgrade as pause:
            rest = data[at + pause.args[0] :]
            if not self._should_upgrade():
                return self._without_upgrade() + rest
            self._leave_for_websocket(rest)
        except httptools.HttpParserCallbackError as problem:
            if self._refused is None:
                self._refused = self._defect(problem.__context__ or problem)
            # It leads back to this object, which nothing would then free but the garbage collector.
            self._refused.__traceback__ = None
        except httptools.HttpParserError:
            self._refused = self._garbled(data[at:end])
        return None

    def _garbled(self, data: bytes) -> SockudoError:
        """What refuses bytes that are no HTTP."""
        return errors.MALFORMED_REQUEST()

    def _without_upgrade(self) -> bytes:
        """The head once more, for a new parser, as if no upgrade had been asked for (RFC 9110 § 7.8).

        Some clients offer HTTP/2 with every request, and the parser would skip the body of these.
        """
        head = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        head.extend(b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"".join((*head, b"\r\n"))

    def _leave_for_websocket(self, rest: bytes) -> None:
        """Of a listener that serves WebSockets."""
        raise NotImplementedError

    @staticmethod
    def _defect(problem: BaseException) -> SockudoError:
        reference = unique_id()
        _log.error("request failed", reference=reference, exc_info=problem)
        return errors.INTERNAL_ERROR(f"Internal server error {reference}")

    # ---- the parser's callbacks ----

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin()

    def _begin(self) -> None:
        self._arriving = self._in_head = self._moved = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            headers = self.headers
            headers.append((name.lower(), value))
            if len(headers) > MAX_HEADERS:
                self._stop(too_many_headers())

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        if self.pipeline:
            self._stop_reading()

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved = True
        self._arriving = False
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _stop(self, error: SockudoError) -> None:
        """Ends parsing from within a callback."""
        self._refused = error
        raise error

    # ---- answers ----

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._refused is not None:
            self._send_refusal(self._refused)
            return
        if self.pipeline:
            return
        self.flow.stopped = False
        if self._held:
            held, self._held = self._held, b""
            self._take(held)
        if not self.pipeline and self.flow is not None:
            self.flow.resume_reading()

    def _stop_reading(self) -> None:
        self.flow.stopped = True
        self.flow.pause_reading()

    def _send_refusal(self, error: SockudoError) -> None:
        """Answers what cannot be served and closes: after a broken request nothing more can be parsed.

        If earlier requests are not answered yet, their answers come first: see `on_response_complete`.
        """
        self._refused = error
        self._held = b""
        if self.transport.is_closing() or self._over:
            return
        cycle = self.cycle
        arriving = cycle is not None and cycle.more_body and not cycle.response_started and not self.pipeline
        if arriving:
            # The request is with the web framework already, which waits for the rest of it.
            cycle.disconnected = True
            cycle.message_event.set()
        if self._free or arriving:
            self._note(error)
            self._say_last(error_reply(error))

    def _look_at_unfinished(self) -> None:
        """For a listener that has rules for a request of which the head has arrived, and not yet all of its body."""

    def _note(self, error: SockudoError) -> None:
        """For a listener that counts what it refuses."""

    def _say_last(self, reply: Reply) -> None:
        """Writes and ends our side. What the client still sends is thrown away until it ends its own.

        Closing under a client that still sends would reset the connection, and the answer be lost with it.
        """
        self.transport.write(render(reply, self._common_head(), close=True))
        self._end_our_side()

    def _end_our_side(self) -> None:
        self._over = True
        # What it has collected of an unfinished header would stay until the client ends its side.
        self.parser = None  # type: ignore[assignment]
        self.headers = []
        self.url = b""
        self.flow.stopped = False
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _common_head(self) -> bytes:
        """The headers of every reply, as bytes."""
        return b""

    def pause_writing(self) -> None:
        """The client does not read its answers: nothing more is read from it either, or they would pile up here."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        self._send_refusal(errors.MALFORMED_REQUEST(msg))


class _Flow(FlowControl):
    """Reads on only if nothing that has been read is waiting, and the client reads as well.

    uvicorn's requests read on whenever they want a body, also those in front of others that wait.
    """

    stopped = False

    def resume_reading(self) -> None:
        if not (self.stopped or self.write_paused):
            super().resume_reading()
