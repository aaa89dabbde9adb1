"""Event streams (text/event-stream) that end with their session, with the client and with the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from sockudo import errors

if TYPE_CHECKING:
    from sockudo.dashboard.board import Board

__all__ = ["Event", "EventStream", "event_stream"]

Event: TypeAlias = tuple[str, bytes] | tuple[str, bytes, str]
"""Name, data and, for who can go on where it stopped, the id that a client comes back with as Last-Event-ID."""

MAX_STREAMS = 64
"""Event streams at a time; another one is refused."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # nginx would gather events until its buffer is full.
    (b"x-accel-buffering", b"no"),
]
_HEARTBEAT = 15.0
# A reader that takes nothing for so long is cut off.
_UNREAD = 20.0
_GOODBYE = 1.0


def event_stream(board: Board, request: Request, events: AsyncIterator[Event]) -> EventStream:
    """Sends events as they come; the data is text in UTF-8, mostly JSON on one line.

    The iterator is closed when the client leaves, the session ends or the server stops, so its ``finally`` is the
    place to give things back. Raises `errors.SERVICE_UNAVAILABLE` when too many streams are open.
    """
    if len(board.streams) >= MAX_STREAMS:
        raise errors.SERVICE_UNAVAILABLE(f"{MAX_STREAMS} event streams are open already", retry_after=5)
    return EventStream(board, request, events)


class EventStream(Response):
    """The response made by `event_stream`."""

    def __init__(self, board: Board, request: Request, events: AsyncIterator[Event]) -> None:
        super().__init__()
        self._board = board
        self._session = request.state.session
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        abort = scope["state"].get("abort")
        over = asyncio.Event()
        self._board.streams.add(over)
        try:
            await _soon(send, {"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            if scope["method"] != "HEAD":
                await self._run(receive, send)
            await _soon(send, _chunk(b"", more=False), _GOODBYE)
        except _UnreadError:
            # Closing would wait for a reader that takes nothing.
            if abort is not None:
                abort()
        finally:
            if isinstance(self._events, AsyncGenerator):
                await self._events.aclose()
            self._board.streams.discard(over)
            over.set()

    async def _run(self, receive: Receive, send: Send) -> None:
        """Sends until the events, the client, the session or the server come to an end."""
        pump = asyncio.create_task(self._pump(send))
        waits = (_disconnected(receive), self._session.ended.wait(), self._board.closing.wait())
        endings = [pump, *(asyncio.create_task(wait) for wait in waits)]
        try:
            await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in endings:
                task.cancel()
            await asyncio.gather(*endings, return_exceptions=True)
        if not pump.cancelled():
            pump.result()

    async def _pump(self, send: Send) -> None:
        """Sends event by event, with a sign of life in every pause."""
        await _soon(send, _chunk(b": hello\n\n"))
        while True:
            coming = asyncio.ensure_future(anext(self._events, None))
            try:
                while not coming.done() and not (await asyncio.wait([coming], timeout=_HEARTBEAT))[0]:
                    if not self._allowed():
                        return
                    await _soon(send, _chunk(b": \n\n"))
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait([coming])
            event = coming.result()
            if event is None or not self._allowed():
                return
            await _soon(send, _chunk(_framed(*event)))

    def _allowed(self) -> bool:
        return self._board.sessions.holds(self._session, self._board.credentials.version())


class _UnreadError(Exception):
    """The client does not take what is sent."""


async def _soon(send: Send, message: Message, seconds: float | None = None) -> None:
    try:
        async with asyncio.timeout(seconds or _UNREAD):
            await send(message)
    except TimeoutError:
        raise _UnreadError from None


def _framed(name: str, data: bytes, place: str | None = None) -> bytes:
    lines = b"".join(b"data: %b\n" % line for line in data.split(b"\n")) if b"\n" in data else b"data: %b\n" % data
    head = b"" if place is None else b"id: %b\n" % place.encode()
    return b"%bevent: %b\n%b\n" % (head, name.encode(), lines)


def _chunk(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
