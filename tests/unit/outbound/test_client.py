"""The client of webhooks: what it keeps, what it leaves behind, and what the library under it may not do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

import pytest

from sockudo.outbound.client import Client
from sockudo.outbound.ports import ExchangeError, Reply
from sockudo.outbound.resolver import Resolver
from support.receivers import Receiver, answer, raw

SOON = 5.0


@pytest.fixture
async def http() -> AsyncIterator[Client]:
    client = Client(allow_private=True)
    yield client
    await client.close()


async def post(
    http: Client, url: str, *headers: tuple[str, str], within: float = SOON, body_seconds: float | None = None
) -> Reply:
    deadline = asyncio.get_running_loop().time() + within
    return await http.post(url, headers, b"{}", deadline=deadline, body_seconds=body_seconds)


async def test_each_connection_leads_to_the_address_of_one_lookup() -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    asked: list[str] = []

    def lookup(host: str) -> Sequence[str]:
        asked.append(host)
        return answers.pop(0)

    http = Client(allow_private=True, resolver=Resolver(lookup))
    async with Receiver() as receiver:
        for _ in range(3):
            assert (await post(http, f"http://hooks.test:{receiver.port}/")).status == 200
        assert (asked, receiver.connections) == (["hooks.test"], 1)
    await http.close()


async def test_a_name_that_leads_to_a_private_address_is_refused() -> None:
    http = Client(resolver=Resolver(lambda _: ["10.0.0.1", "127.0.0.1"]))
    async with Receiver() as receiver:
        with pytest.raises(ExchangeError, match="address_refused"):
            await post(http, f"http://hooks.test:{receiver.port}/")
        assert receiver.connections == 0
    await http.close()


async def test_a_slow_body_is_waited_for_as_long_as_the_caller_wants(http: Client) -> None:
    async with Receiver(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")) as receiver:
        reply = await post(http, receiver.url, body_seconds=0.05)
        assert (reply.status, reply.body, reply.whole) == (200, b"some", False)


async def test_giving_up_within_the_body_leaves_no_connection_behind(http: Client) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        begun.set()
        await reader.read()
        ended.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(SOON):
        task = asyncio.create_task(post(http, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended.wait()


async def test_closing_ends_the_connections_that_are_kept(http: Client) -> None:
    async with Receiver() as receiver:
        await asyncio.gather(*(post(http, receiver.url) for _ in range(3)))
        await http.close()
        await post(http, receiver.url)
        assert receiver.connections == 4


async def test_lines_for_developers_of_the_library_show_nothing_of_a_request(
    http: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="httpcore")
    async with Receiver(answer(200, b"ok")) as receiver:
        await post(http, receiver.url + "?token=planted", ("authorization", "Bearer planted"))
    assert "planted" not in caplog.text
