"""Replies that do not end by themselves: server-sent events, written at a steady pace to their reader.

What is to be sent is asked for a few times a second, not pushed: however much happens, a stream holds no more than one
piece and what the transport buffers. A reader that takes nothing for a while is cut off, one that vanishes is noticed,
by the next comment line at the latest, and all of them end when the server does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["HEARTBEAT", "TICK", "EventStream", "OpenStreams", "Poll", "Source", "event_text"]

Poll = Callable[[], "tuple[bytes, bool]"]
"""What is due now, as text of the stream, empty for nothing; and whether the stream is over with it."""

TICK: Final = 0.25
HEARTBEAT: Final = 10.0
_UNREAD: Final = 20.0
# Seconds that streams have to end by themselves when the server stops.
_LAST_WORDS: Final = 1.0

_HEADERS: Final = {
    "cache-control": "no-store",
    # Proxies that collect what they pass on would hold the events back.
    "x-accel-buffering": "no",
}


class EventStream(Response):
    """Asks ``poll`` every ``tick`` seconds until it is over or the reader is gone; then calls ``end``.

    ``end`` is called once in every case, also when the reply could not even begin. After ``heartbeat`` seconds without
    an event a comment line is sent; a reader that has not taken what was sent for ``unread`` seconds is cut off, for
    which the server's protocol puts the ``abort`` of its transport into the state of the request.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        poll: Poll,
        end: Callable[[], None],
        *,
        tick: float = TICK,
        heartbeat: float = HEARTBEAT,
        unread: float = _UNREAD,
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._poll = poll
        self._end = end
        self._tick = tick
        self._heartbeat = heartbeat
        self._unread = unread
        self._abort: Callable[[], None] | None = None

    def cut(self) -> None:
        """Ends the connection at once, and drops what the reader has not taken yet."""
        if self._abort is not None:
            self._abort()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._abort = scope.get("state", {}).get("abort")
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await self._write(scope, send, gone)
        except TimeoutError:
            # Closing would wait for the reader to take the rest, which it never will.
            self.cut()
            await gone
        finally:
            self._end()
            gone.cancel()

    async def _write(self, scope: Scope, send: Send, gone: asyncio.Future[None]) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await self._send(send, start)
        if scope["method"] == "HEAD":
            await self._send(send, {"type": "http.response.body"})
            return
        now = asyncio.get_running_loop().time
        last_sent = now()
        over = False
        while not over and not gone.done():
            text, over = self._poll()
            if not text and now() - last_sent >= self._heartbeat:
                text = b": still here\n\n"
            if text or over:
                await self._send(send, {"type": "http.response.body", "body": text, "more_body": not over})
                last_sent = now()
            if not over:
                await asyncio.wait((gone,), timeout=self._tick)

    async def _send(self, send: Send, message: dict[str, Any]) -> None:
        async with asyncio.timeout(self._unread):
            await send(message)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Source(Protocol):
    """The source of one stream."""

    def poll(self) -> tuple[bytes, bool]:
        """What is due now, see `Poll`."""
        ...


S = TypeVar("S", bound=Source)


class OpenStreams(Generic[S]):
    """The streams of one kind that are open, by what they tell; all of them end when the server stops.

    Iterating gives the sources. Once ``stopped`` is true, a source has to say at its next poll that it is over.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._open: dict[S, EventStream] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[S]:
        return iter(self._open)

    def open(self, source: S, end: Callable[[], None] = lambda: None) -> EventStream:
        """The reply with the events of ``source``, open from now on; ``end`` is called when it has ended."""

        def ended() -> None:
            self._open.pop(source, None)
            end()

        stream = self._open[source] = EventStream(source.poll, ended)
        return stream

    async def close(self) -> None:
        """Sets ``stopped``, for sources to end, and returns when they have; streams that are not read are cut off."""
        self.stopped = True
        await self._until_none()
        for stream in list(self._open.values()):
            stream.cut()
        await self._until_none()

    async def _until_none(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                while self._open:  # noqa: ASYNC110 - an event would have to be set by every stream, for this one time
                    await asyncio.sleep(TICK / 5)


def event_text(event: str, data: bytes, place: str | None = None) -> bytes:
    """One event of a stream; ``data`` is JSON on one line.

    ``place`` is for those who can go on where they stopped: what a client comes back with as Last-Event-ID.
    """
    head = b"" if place is None else b"id: %b\n" % place.encode()
    return b"%bevent: %b\ndata: %b\n\n" % (head, event.encode(), data)
