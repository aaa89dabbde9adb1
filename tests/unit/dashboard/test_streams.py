"""Event streams end with their events, their client, their session and the server, and give back what they hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo.dashboard import streams
from sockudo.dashboard.streams import MAX_STREAMS, Event, event_stream
from support.desk import PASSWORD, Call, Desk

BEARER = {"authorization": f"Bearer {PASSWORD}"}
PATH = "/dashboard/api/v1/events"


class Source:
    """What the streams of a test send, and how many of them still do."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self.open = 0
        self.desk = Desk([Route(PATH, self._answer)])

    async def _answer(self, request: Request) -> Response:
        return event_stream(self.desk.board, request, self._events())

    async def _events(self) -> AsyncIterator[Event]:
        self.open += 1
        try:
            while (event := await self.queue.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.open -= 1


@pytest.fixture
def source() -> Source:
    return Source()


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - the turns of the loop are what is waited for
            await asyncio.sleep(0)


async def opened(source: Source, headers: dict[str, str] | None = None) -> Call:
    before = source.open
    call = source.desk.start("GET", PATH, headers or BEARER)
    await until(lambda: source.open == before + 1 and call.body)
    return call


async def finished(call: Call) -> None:
    assert call.task is not None
    await asyncio.wait_for(call.task, 5)


async def test_events_in_their_form(source: Source) -> None:
    call = await opened(source)
    for event in (("tick", b"1"), ("more", b"a\nb", "7"), ("empty", b""), None):
        await source.queue.put(event)
    await finished(call)
    assert call.over
    assert dict(call.headers)["content-type"] == "text/event-stream; charset=utf-8"
    assert dict(call.headers)["cache-control"] == "no-store"
    text = call.body.decode()
    assert text.startswith(": hello\n\nevent: tick\ndata: 1\n\n")
    assert "data: a\ndata: b\n" in text
    assert "id: 7\n" in text
    assert (source.open, source.desk.board.streams) == (0, set())


async def test_the_client_leaves(source: Source) -> None:
    call = await opened(source)
    call.gone.set()
    await finished(call)
    assert (source.open, source.desk.board.streams) == (0, set())


async def test_logout_ends_it(source: Source) -> None:
    visitor = await source.desk.visitor()
    call = await opened(source, {"cookie": visitor.cookie})
    other = await opened(source)
    await visitor.post("/dashboard/logout", csrf_token=visitor.csrf)
    await finished(call)
    assert call.over
    assert source.open == 1
    assert not other.over
    other.gone.set()
    await finished(other)


async def test_a_session_that_is_over_gets_no_more_events(source: Source) -> None:
    visitor = await source.desk.visitor()
    call = await opened(source, {"cookie": visitor.cookie})
    source.desk.clock.advance(8 * 3600)
    await source.queue.put(("secret", b"1"))
    await finished(call)
    assert b"secret" not in call.body


async def test_a_changed_password_ends_it_in_a_pause(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_HEARTBEAT", 0.01)
    call = await opened(source)
    await until(lambda: b"\n: \n" in call.body)
    source.desk.configure(password="another password")
    await finished(call)
    assert call.over


async def test_the_server_stops(source: Source) -> None:
    calls = [await opened(source) for _ in range(3)]
    await source.desk.board.close()
    assert [call.over for call in calls] == [True] * 3
    assert source.open == 0
    for call in calls:
        await finished(call)


async def test_a_client_that_does_not_read_is_cut_off(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_UNREAD", 0.01)
    call = await opened(source)
    call.reads.clear()
    await source.queue.put(("tick", b"1"))
    await finished(call)
    assert call.gone.is_set()
    assert (source.open, source.desk.board.streams) == (0, set())


async def test_a_client_that_does_not_read_does_not_delay_the_end(source: Source) -> None:
    call = await opened(source)
    call.reads.clear()
    await source.queue.put(("tick", b"1"))
    started = asyncio.get_running_loop().time()
    await source.desk.board.close()
    assert asyncio.get_running_loop().time() - started < 2
    await finished(call)


async def test_a_source_that_fails_is_a_defect_and_ends_the_stream(source: Source) -> None:
    call = await opened(source)
    await source.queue.put(ZeroDivisionError("x"))
    with pytest.raises(ZeroDivisionError):
        await finished(call)
    assert not call.over
    assert (source.open, source.desk.board.streams) == (0, set())


async def test_so_many_and_no_more(source: Source) -> None:
    calls = [await opened(source) for _ in range(MAX_STREAMS)]
    refused = await source.desk.ask("GET", PATH, BEARER)
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    calls[0].gone.set()
    await finished(calls[0])
    calls.append(await opened(source))
    await source.desk.board.close()
    for call in calls:
        await finished(call)


async def test_head_of_a_stream_ends_at_once(source: Source) -> None:
    reply = await source.desk.ask("HEAD", PATH, BEARER)
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
