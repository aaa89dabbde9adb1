"""The WebSocket side of a connection: bytes to messages for the session, frames of the session to the transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from sockudo import errors
from sockudo.edge.direct import writer_of
from sockudo.protocol.deflate import DEFLATED_WEBSOCKET, DeflateParams, Inflater
from sockudo.protocol.framing import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    WEBSOCKET,
    FrameReader,
    close_frame,
    parse_close,
    pong_frame,
)

if TYPE_CHECKING:
    from sockudo.edge.context import Edge
    from sockudo.sessions import Session

__all__ = ["WebSocketProtocol"]

# What RFC 6455 § 7.1.5 has for a close frame without a code.
_NO_CODE = 1005
# How long a peer may take to answer a close frame; a slow reader first has to read what was queued before it.
_LINGER = 15.0


class WebSocketProtocol(asyncio.Protocol):
    """One upgraded connection. Implements `sockudo.hub.Peer` for its session.

    Everything happens in the transport's callbacks: there is no task, future or timer per connection.
    """

    __slots__ = ("_close_by", "_direct", "_edge", "_reader", "_session", "_transport", "address", "framing", "write")

    def __init__(self, edge: Edge, transport: asyncio.Transport, deflate: DeflateParams | None, address: str) -> None:
        self._edge = edge
        self._transport = transport
        self.address = address
        self._reader = FrameReader(edge.settings.inbound_limit, Inflater() if deflate is not None else None)
        self._session: Session | None = None
        # When the connection is cut if the peer has not answered our close frame; None while it is open.
        self._close_by: float | None = None
        self.framing = WEBSOCKET if deflate is None else DEFLATED_WEBSOCKET
        self._direct = writer_of(transport, self._descriptor_changed)
        self.write: Callable[[bytes], None] = transport.write if self._direct is None else self._direct.write

    def attach(self, session: Session) -> None:
        """From now on messages go to this session."""
        self._session = session

    def begin(self, accepted: bytes, greeting: bytes) -> None:
        """Writes the 101 and the first frame behind it, at once: for each write the peer is woken."""
        self._transport.write(accepted + greeting)

    def _descriptor_changed(self, descriptor: int) -> None:
        if self._session is not None:
            self._session.use_descriptor(descriptor)

    # ---- the transport's callbacks ----

    def data_received(self, data: bytes) -> None:
        session = self._session
        if session is not None:
            session.last_seen = self._edge.clock.monotonic()
        for opcode, payload in self._reader.feed(data):
            if opcode in (TEXT, BINARY):
                if session is not None and not session.ended:
                    session.receive(payload)
            elif opcode == PING:
                if session is not None:
                    # Through the session, which counts what a peer does not read.
                    session.write(pong_frame(payload))
            elif opcode == PONG:
                if session is not None:
                    session.pong(payload)
            elif opcode == CLOSE:
                self._peer_closes(payload)
        if self._reader.failure is not None and self._close_by is None:
            self._fail(*self._reader.failure)

    def _peer_closes(self, payload: bytes) -> None:
        code, _ = parse_close(payload)
        if self._close_by is None:
            if self._session is not None:
                self._session.leave(code=_NO_CODE if code is None else code)
            self._transport.write(close_frame(code))
        self._transport.close()

    def _fail(self, code: int, reason: str) -> None:
        """The peer broke the framing rules: it gets a close frame and nothing else (spec: websocket § 2.4).

        Its answer could not be found in the rest of the broken stream, so our side ends at once. Closing both sides
        would reset the connection under what still arrives, and the close frame might be lost with it.
        """
        spec = {1007: errors.INVALID_TEXT, 1009: errors.MESSAGE_TOO_BIG}.get(code, errors.PROTOCOL_VIOLATION)
        if self._session is not None and not self._session.ended:
            self._session.end(spec(reason))
        else:
            self.close(code, reason)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def pause_writing(self) -> None:
        if self._session is not None:
            self._session.pause()

    def resume_writing(self) -> None:
        if self._session is not None:
            self._session.resume()

    def connection_lost(self, _: Exception | None) -> None:
        if self._direct is not None:
            self._direct.close()
        self._edge.closing.pop(self, None)
        if self._session is not None:
            self._session.leave()
            self._session = None

    # ---- Peer ----

    def buffered(self) -> int:
        return self._transport.get_write_buffer_size()

    def close(self, code: int, reason: str) -> None:
        if self._close_by is not None:
            return
        self._close_by = self._edge.clock.monotonic() + _LINGER
        self._edge.closing[self] = None
        self._transport.write(close_frame(code, reason))

    # ---- for the edge's round ----

    def cut_if_overdue(self, now: float) -> None:
        """Ends a connection whose peer never answered the close frame."""
        if self._close_by is not None and now >= self._close_by:
            self._transport.abort()

    @property
    def transport(self) -> asyncio.Transport:
        return self._transport
