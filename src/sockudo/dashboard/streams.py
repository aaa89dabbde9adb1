"""Event streams (text/event-stream) that end with their session, with the client and with the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
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
_GOODBYE = 1.0


def event_stream(board: Board, request: Request, events: AsyncIterator[Event]) -> EventStream:
    """Sends events as they come; the data is text in UTF-8, mostly JSON on one line.

    The iterator is closed when the client leaves, the session ends or the server stops, so its ``finally`` is the
    place to give things back. Raises `errors.SERVICE_UNAVAILABLE` when too many streams are open.
    """
    if board.streams >= MAX_STREAMS:
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
        self._board.streams += 1
        gone = asyncio.create_task(_disconnected(receive))
        endings = [
            gone,
            asyncio.create_task(self._pump(send)),
            asyncio.create_task(self._session.ended.wait()),
            asyncio.create_task(self._board.closing.wait()),
        ]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            done, _ = await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
            left = gone in done
        finally:
            self._board.streams -= 1
            for task in endings:
                task.cancel()
            await asyncio.gather(*endings, return_exceptions=True)
            if isinstance(self._events, AsyncGenerator):
                await self._events.aclose()
        # A stream that failed ends like any other and then says why.
        if not left:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await send(_chunk(b"", more=False))
        endings[1].cancelled() or endings[1].result()

    async def _pump(self, send: Send) -> None:
        """Sends until there are no more events, with a sign of life in every pause."""
        await send(_chunk(b": hello\n\n"))
        while True:
            coming = asyncio.ensure_future(anext(self._events, None))
            try:
                while not (await asyncio.wait([coming], timeout=_HEARTBEAT))[0]:
                    board = self._board
                    if not board.sessions.holds(self._session, board.credentials.version()):
                        return
                    await send(_chunk(b": \n\n"))
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait([coming])
            event = coming.result()
            if event is None:
                return
            await send(_chunk(_framed(*event)))


def _framed(name: str, data: bytes, place: str | None = None) -> bytes:
    lines = b"".join(b"data: %b\n" % line for line in data.split(b"\n")) if b"\n" in data else b"data: %b\n" % data
    head = b"" if place is None else b"id: %b\n" % place.encode()
    return b"%bevent: %b\n%b\n" % (head, name.encode(), lines)


def _chunk(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
