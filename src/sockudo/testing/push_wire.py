"""HTTP for a stand-in of push providers: 1.1, and over TLS 2 as well, with answers that may be late or broken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import httptools

from sockudo.testing.push_answers import ProviderAnswer

__all__ = ["Answers", "WireProtocol"]

_CONFIG: Final = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
_GARBAGE: Final = b"\x00\xff what is this?\r\n\r\n"
# A frame with data of no stream.
_GARBAGE_2: Final = b"\x00\x00\x01" + b"\x00" * 6 + b"?"


class Answers(Protocol):
    def __call__(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, version: str
    ) -> ProviderAnswer: ...


class WireProtocol(asyncio.Protocol):
    """A connection, of which the other side's choice in TLS says what is spoken on it."""

    def __init__(self, answers: Answers, opened: set[asyncio.BaseTransport]) -> None:
        self._answers = answers
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        kind = _Http2 if tls is not None and tls.selected_alpn_protocol() == "h2" else _Http1
        protocol = kind(self._answers, transport, self._opened.discard)
        self._opened.add(transport)
        transport.set_protocol(protocol)


class _Http1(asyncio.Protocol):
    def __init__(
        self,
        answers: Answers,
        transport: asyncio.BaseTransport,
        closed: Callable[[asyncio.BaseTransport], None],
    ) -> None:
        self._answers = answers
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._forget()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed(self._transport)

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("utf-8", "replace")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        answer = self._answers(method, self._path.decode("latin-1"), self._headers, self._body, "1.1")
        self._forget()
        if answer.delay > 0:
            self._loop.call_later(answer.delay, self._put, answer)
        else:
            self._put(answer)

    def _put(self, answer: ProviderAnswer) -> None:
        if answer.broken == "hang" or self._transport.is_closing():
            return
        if answer.broken == "cut":
            self._transport.abort()
            return
        if answer.broken == "garbage":
            self._transport.write(_GARBAGE)
            return
        lines = [f"HTTP/1.1 {answer.status} Mock", f"content-length: {len(answer.body)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        data = "\r\n".join(lines).encode() + b"\r\n\r\n" + answer.body
        if answer.broken == "cut_within":
            self._transport.write(data[: len(data) - max(1, len(answer.body) // 2)])
            self._transport.close()
            return
        self._transport.write(data)

    def _forget(self) -> None:
        self._path = b""
        self._headers: dict[str, str] = {}
        self._body = b""


class _Stream:
    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.body = b""


class _Http2(asyncio.Protocol):
    def __init__(
        self,
        answers: Answers,
        transport: asyncio.BaseTransport,
        closed: Callable[[asyncio.BaseTransport], None],
    ) -> None:
        self._answers = answers
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._http = h2.connection.H2Connection(_CONFIG)
        self._streams: dict[int, _Stream] = {}
        self._http.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._http.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._flush()
            self._transport.close()
            return
        for event in events:
            self._take(event)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed(self._transport)

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._streams[event.stream_id] = _Stream({str(name): str(value) for name, value in event.headers or ()})
        elif isinstance(event, h2.events.DataReceived):
            self._http.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            self._streams[event.stream_id].body += event.data
        elif isinstance(event, h2.events.StreamEnded):
            self._answer(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self._streams.pop(event.stream_id, None)

    def _answer(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id)
        method, path = stream.headers.get(":method", ""), stream.headers.get(":path", "")
        answer = self._answers(method, path, stream.headers, stream.body, "2")
        if answer.delay > 0:
            self._loop.call_later(answer.delay, self._put, stream_id, answer)
        else:
            self._put(stream_id, answer)

    def _put(self, stream_id: int, answer: ProviderAnswer) -> None:
        if answer.broken == "hang" or self._transport.is_closing():
            return
        if answer.broken == "cut":
            self._transport.abort()
            return
        if answer.broken == "garbage":
            self._transport.write(_GARBAGE_2)
            return
        head = [(":status", str(answer.status)), *answer.headers.items()]
        try:
            self._http.send_headers(stream_id, head, end_stream=not answer.body)
            if answer.body:
                self._http.send_data(stream_id, answer.body[: len(answer.body) // 2])
                if answer.broken == "cut_within":
                    self._flush()
                    self._transport.close()
                    return
                self._http.send_data(stream_id, answer.body[len(answer.body) // 2 :], end_stream=True)
        except h2.exceptions.ProtocolError:
            # The other side has given the request up.
            pass
        self._flush()

    def _flush(self) -> None:
        data = self._http.data_to_send()
        if data:
            self._transport.write(data)
