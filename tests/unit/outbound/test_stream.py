"""The bytes between httpcore and a transport: when they leave, how many may wait, and how a connection ends."""

from __future__ import annotations

import asyncio

import httpcore
import pytest

from sockudo.outbound.stream import Stream


class Transport(asyncio.Transport):
    """Keeps what was done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.done: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def pause_reading(self) -> None:
        self.done.append("pause")

    def resume_reading(self) -> None:
        self.done.append("resume")

    def abort(self) -> None:
        self.done.append("abort")


async def connected() -> tuple[Stream, Transport]:
    stream, transport = Stream(), Transport()
    stream.connection_made(transport)
    return stream, transport


async def test_what_was_written_leaves_at_once_when_it_is_waited_for() -> None:
    stream, transport = await connected()
    await stream.write(b"head")
    await stream.write(b"body")
    assert transport.sent == []
    stream.data_received(b"answer")
    assert await stream.read(100) == b"answer"
    assert transport.sent == [b"headbody"]


async def test_reading_waits_for_bytes() -> None:
    stream, _ = await connected()
    reading = asyncio.create_task(stream.read(3))
    await asyncio.sleep(0)
    assert not reading.done()
    stream.data_received(b"abcd")
    assert await reading == b"abc"
    assert stream.get_extra_info("is_readable")
    assert await stream.read(3) == b"d"
    assert not stream.get_extra_info("is_readable")


async def test_no_more_than_64_kib_wait_unread() -> None:
    stream, transport = await connected()
    stream.data_received(b"x" * 65_536)
    assert transport.done == []
    stream.data_received(b"x")
    stream.data_received(b"x")
    assert transport.done == ["pause"]
    assert len(await stream.read(65_536)) == 65_536
    assert transport.done == ["pause", "resume"]


async def test_the_end_is_read_after_what_came_before_it() -> None:
    stream, _ = await connected()
    stream.data_received(b"last")
    stream.eof_received()
    stream.connection_lost(ConnectionResetError())
    assert await stream.read(100) == b"last"
    assert not stream.ended
    assert await stream.read(100) == b""
    assert stream.ended


async def test_a_connection_that_breaks_is_an_error_of_the_library() -> None:
    stream, _ = await connected()
    reading = asyncio.create_task(stream.read(100))
    await asyncio.sleep(0)
    stream.connection_lost(ConnectionResetError())
    with pytest.raises(httpcore.ReadError):
        await reading


async def test_an_end_without_a_request_makes_it_unusable() -> None:
    stream, transport = await connected()
    stream.eof_received()
    assert stream.get_extra_info("is_readable")
    await stream.aclose()
    assert transport.done == ["abort"]


async def test_giving_up_reading_loses_nothing() -> None:
    stream, _ = await connected()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await stream.read(100)
    stream.data_received(b"late")
    assert await stream.read(100) == b"late"
