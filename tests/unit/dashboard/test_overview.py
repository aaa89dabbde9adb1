"""Event streams end with their client, their session and the server, and count for as long as they last."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo.dashboard.access import COOKIE
from sockudo.dashboard.overview import MAX_STREAMS, event_stream
from sockudo.dashboard.samples import News
from support.desk import PASSWORD, Call, Desk, Visitor
from support.virtual_time import in_virtual_time
from support.waiting import until

BEARER = {"authorization": f"Bearer {PASSWORD}"}
PATH = "/dashboard/api/v1/events"


class Source:
    """What the streams of a test tell next."""

    def __init__(self) -> None:
        self.due: list[News | Exception] = []
        self.desk = Desk([Route(PATH, self._answer)])

    async def _answer(self, request: Request) -> Response:
        return event_stream(self.desk.board, request, self._next)

    def _next(self) -> News | None:
        if not self.due:
            return None
        event = self.due.pop(0)
        if isinstance(event, Exception):
            raise event
        return event

    @property
    def open(self) -> int:
        return len(self.desk.board.streams)


@pytest.fixture
def source() -> Source:
    return Source()


def logged_in(source: Source) -> Visitor:
    """Without the form of the login, whose password is checked in a thread."""
    board = source.desk.board
    version = board.credentials.version(fresh=True)
    assert version is not None
    token, session = board.sessions.open(version, 3600)
    return Visitor(source.desk, f"{COOKIE}={token}", session.csrf)


async def opened(source: Source, headers: dict[str, str] | None = None) -> Call:
    before = source.open
    call = source.desk.start("GET", PATH, headers or BEARER)
    await until(lambda: source.open == before + 1 and call.body)
    return call


async def finished(call: Call) -> None:
    assert call.task is not None
    await asyncio.wait_for(call.task, 5)


@in_virtual_time
async def test_events_in_their_form(source: Source) -> None:
    call = await opened(source)
    assert dict(call.headers)["content-type"] == "text/event-stream; charset=utf-8"
    assert [value for name, value in call.headers if name == "cache-control"] == ["no-store"]
    assert call.body == b": hello\n\n"
    source.due = [News("sample", 1, b"{}"), News("series", 7, b'{"at": []}')]
    await asyncio.sleep(1)
    call.gone.set()
    await finished(call)
    assert (
        call.body.decode() == ': hello\n\nid: 1\nevent: sample\ndata: {}\n\nid: 7\nevent: series\ndata: {"at": []}\n\n'
    )


@in_virtual_time
async def test_the_client_leaves(source: Source) -> None:
    call = await opened(source)
    call.gone.set()
    await finished(call)
    assert source.open == 0


@in_virtual_time
async def test_logout_ends_it(source: Source) -> None:
    visitor = logged_in(source)
    call = await opened(source, {"cookie": visitor.cookie})
    other = await opened(source)
    await visitor.post("/dashboard/logout", csrf_token=visitor.csrf)
    await finished(call)
    assert call.over
    assert source.open == 1
    assert not other.over
    other.gone.set()
    await finished(other)


@in_virtual_time
async def test_a_session_that_is_over_gets_no_more_events(source: Source) -> None:
    visitor = logged_in(source)
    call = await opened(source, {"cookie": visitor.cookie})
    source.desk.clock.advance(8 * 3600)
    source.due.append(News("secret", 1, b"1"))
    await finished(call)
    assert call.over
    assert b"secret" not in call.body


@in_virtual_time
async def test_a_changed_password_ends_it_in_a_pause(source: Source) -> None:
    call = await opened(source)
    await asyncio.sleep(15)
    assert call.body.endswith(b": still here\n\n")
    source.desk.configure(password="another password")
    await finished(call)
    assert call.over


@in_virtual_time
async def test_the_server_stops(source: Source) -> None:
    calls = [await opened(source) for _ in range(3)]
    await source.desk.board.close()
    assert [call.over for call in calls] == [True] * 3
    assert source.open == 0
    for call in calls:
        await finished(call)


@in_virtual_time
async def test_a_client_that_does_not_read_is_cut_off(source: Source) -> None:
    call = await opened(source)
    call.reads.clear()
    source.due.append(News("sample", 1, b"1"))
    await asyncio.sleep(19)
    assert not call.gone.is_set()
    await asyncio.sleep(2)
    await finished(call)
    assert call.gone.is_set()
    assert source.open == 0


@in_virtual_time
async def test_a_client_that_does_not_read_does_not_delay_the_end(source: Source) -> None:
    call = await opened(source)
    call.reads.clear()
    source.due.append(News("sample", 1, b"1"))
    await asyncio.sleep(1)
    started = asyncio.get_running_loop().time()
    await source.desk.board.close()
    assert asyncio.get_running_loop().time() - started < 2
    assert call.gone.is_set()
    await finished(call)


@in_virtual_time
async def test_news_that_fail_are_a_defect_and_end_the_stream(source: Source) -> None:
    call = await opened(source)
    source.due.append(ZeroDivisionError("x"))
    with pytest.raises(ZeroDivisionError):
        await finished(call)
    assert not call.over
    assert source.open == 0


@in_virtual_time
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


@in_virtual_time
async def test_head_of_a_stream_ends_at_once(source: Source) -> None:
    reply = await source.desk.ask("HEAD", PATH, BEARER)
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert source.open == 0
