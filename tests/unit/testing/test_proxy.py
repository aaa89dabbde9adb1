"""The fault proxy, between a plain TCP client and an echo server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from sockudo.testing import FaultProxy
from support.waiting import until


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    """An echo server that ends when its client does."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, text: bytes) -> bytes:
        self.writer.write(text)
        await self.writer.drain()
        return await self.reader.readexactly(len(text))


@pytest.fixture
async def proxy(echo: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(echo) as proxy:
        yield proxy
    assert proxy.connections == 0


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield Client(reader, writer)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def test_passes_everything_on(proxy: FaultProxy, client: Client) -> None:
    data = bytes(range(256)) * 2_000
    assert await client.say(data) == data
    assert (proxy.bytes_to_server, proxy.bytes_to_client) == (len(data), len(data))
    assert proxy.connections == 1


async def test_an_orderly_end_stays_one(proxy: FaultProxy, client: Client) -> None:
    client.writer.write(b"last words")
    client.writer.write_eof()
    assert await client.reader.read() == b"last words"


async def test_cut_resets_and_later_connections_work(proxy: FaultProxy, client: Client) -> None:
    await client.say(b"x")
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await client.reader.readexactly(1)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await Client(reader, writer).say(b"again") == b"again"
    writer.close()
    await writer.wait_closed()


async def test_cut_in_the_middle_of_a_message(proxy: FaultProxy, client: Client) -> None:
    proxy.cut_after(3)
    client.writer.write(b"abcdef")
    with pytest.raises(ConnectionResetError):
        await client.reader.read()
    assert proxy.bytes_to_client == 3


async def test_refusing(proxy: FaultProxy) -> None:
    proxy.refuse()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()


async def test_a_server_that_is_gone_looks_refused() -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    async with FaultProxy(f"http://127.0.0.1:{port}") as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()


async def test_stall_one_way_and_resume(proxy: FaultProxy, client: Client) -> None:
    await client.say(b"x")
    proxy.stall("client")
    client.writer.write(b"held")
    reading = asyncio.ensure_future(client.reader.readexactly(4))
    await until(lambda: proxy.bytes_to_server >= 5, pause=0.001)
    await asyncio.sleep(0.01)
    assert not reading.done()
    assert proxy.bytes_to_client == 1
    proxy.resume("client")
    assert await reading == b"held"


async def test_leaving_while_stalled_does_not_hang(echo: str) -> None:
    async with FaultProxy(echo) as proxy:
        proxy.stall()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"never")
        await writer.drain()
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    assert proxy.connections == 0


async def test_trickle(proxy: FaultProxy, client: Client) -> None:
    proxy.trickle(1, towards="client")
    assert await client.say(b"slowly") == b"slowly"
    with pytest.raises(ValueError, match="at least one byte"):
        proxy.trickle(0)


async def test_delay_and_heal(proxy: FaultProxy, client: Client) -> None:
    loop = asyncio.get_running_loop()
    proxy.delay(0.05)
    began = loop.time()
    await client.say(b"x")
    assert loop.time() - began >= 0.1
    proxy.heal()
    assert await client.say(b"quick") == b"quick"
