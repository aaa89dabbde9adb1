"""The plain listener for operators: heads that do not come are not waited for, answers that take long are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send

from sockudo.edge import app_connection
from sockudo.edge.http_head import MAX_HEAD
from sockudo.edge.listeners import serve_app


class Slow:
    """An application that answers ``ok`` when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = asyncio.Event()

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        self.asked += 1
        await self.answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connection(app: Slow) -> AsyncIterator[Streams]:
    listener = await serve_app("127.0.0.1", 0, app)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        listener.close()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server ends the connection, which it must."""
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return b""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_connection, "_REQUEST_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("begun", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
async def test_half_a_head_is_not_waited_for(begun: bytes) -> None:
    app = Slow()
    async with connection(app) as (reader, writer):
        writer.write(begun)
        assert await ended(reader) == b""
    assert app.asked == 0


@pytest.mark.usefixtures("impatient")
async def test_an_answer_may_take_its_time_and_the_connection_stays() -> None:
    app = Slow()
    async with connection(app) as (reader, writer):
        for _ in range(2):
            app.answer.clear()
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            asyncio.get_running_loop().call_later(0.15, app.answer.set)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(2) == b"ok"
    assert app.asked == 2


@pytest.mark.usefixtures("impatient")
async def test_the_second_head_is_not_waited_for_either() -> None:
    app = Slow()
    app.answer.set()
    async with connection(app) as (reader, writer):
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /met")
        assert (await ended(reader)).count(b"HTTP/1.1 200 ") == 1


async def test_the_next_head_may_be_arriving_when_a_request_is_answered() -> None:
    """The connection was ended then, as if the request that was answered had a body to come."""
    app = Slow()
    async with connection(app) as (reader, writer):
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /met")
        asyncio.get_running_loop().call_later(0.15, app.answer.set)
        for _ in range(2):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(2) == b"ok"
            writer.write(b"rics HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_a_head_has_a_size() -> None:
    app = Slow()
    async with connection(app) as (reader, writer):
        writer.write(b"GET /metrics HTTP/1.1\r\nA: " + b"a" * (2 * MAX_HEAD))
        # Whoever is still sending may be cut before the answer can be read.
        assert (await ended(reader)).partition(b"\r\n")[0] in (b"HTTP/1.1 431 Request Header Fields Too Large", b"")
    assert app.asked == 0
