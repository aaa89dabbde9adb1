"""The short way to a socket: the same bytes in the same order as through the transport, and never into another's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from sockudo.edge.direct import DirectWriter, writer_of
from support.edge import RecordingTransport

Scene = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def play(request: pytest.FixtureRequest) -> Callable[[Scene], None]:
    """Runs a test on each kind of loop: their transports differ in when they write."""

    def run(scene: Scene) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(scene())

    return run


class Closing(asyncio.Protocol):
    """Closes the writer when its transport does, and notes whether it was told to pause."""

    def __init__(self) -> None:
        self.writer: DirectWriter | None = None
        self.descriptors: list[int] = []
        self.paused = 0
        self.lost = asyncio.Event()

    def pause_writing(self) -> None:
        self.paused += 1

    def connection_lost(self, _: Exception | None) -> None:
        if self.writer is not None:
            self.writer.close()
        self.lost.set()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[DirectWriter, asyncio.Transport, Closing, socket.socket]]:
    """A writer over a transport with a small buffer in the kernel, and the socket of its peer."""
    ours, peer = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    transport, protocol = await asyncio.get_running_loop().create_connection(Closing, sock=ours)
    writer = writer_of(transport, protocol.descriptors.append)
    assert writer is not None
    protocol.writer = writer
    with peer:
        peer.setblocking(False)
        yield writer, transport, protocol, peer
        transport.abort()
        await protocol.lost.wait()


async def received(peer: socket.socket, size: int) -> bytes:
    """So many bytes."""
    loop, parts = asyncio.get_running_loop(), []
    async with asyncio.timeout(10):
        while size > 0:
            parts.append(await loop.sock_recv(peer, min(size, 50_000)))
            assert parts[-1], "the connection was closed"
            size -= len(parts[-1])
    return b"".join(parts)


def test_what_is_written_is_there_at_once(play: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        async with connected() as (writer, transport, _, peer):
            for number in range(3):
                writer.write(b"frame-%d" % number)
                assert peer.recv(100) == b"frame-%d" % number
            assert transport.get_write_buffer_size() == 0

    play(scene)


def test_it_says_when_the_descriptor_takes_bytes_past_it(play: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        async with connected() as (writer, transport, protocol, peer):
            number = transport.get_extra_info("socket").fileno()
            assert protocol.descriptors == []
            writer.write(b"now")
            assert protocol.descriptors == [number]
            writer.write(bytes(500_000))
            assert protocol.descriptors == [number, -1]
            await received(peer, 500_003)
            writer.write(b"again")
            writer.write(b"again")
            assert protocol.descriptors == [number, -1, number]
            writer.close()
            writer.close()
            assert protocol.descriptors == [number, -1, number, -1]
            writer.write(b"late")
            assert protocol.descriptors == [number, -1, number, -1]

    play(scene)


@pytest.mark.parametrize("seed", range(int(os.environ.get("SOCKUDO_EXAMPLES", "2"))))
def test_what_goes_past_it_when_it_says_so_is_in_order_too(play: Callable[[Scene], None], seed: int) -> None:
    async def scene() -> None:
        chance, past = random.Random(seed), 0
        async with connected() as (writer, _, protocol, peer):
            written, read = bytearray(), bytearray()
            for _ in range(400):
                data = bytes([chance.randrange(256)]) * chance.choice((1, 100, 5000, 90_000))
                written += data
                if protocol.descriptors and protocol.descriptors[-1] != -1 and chance.random() < 0.7:
                    past += 1
                    with contextlib.suppress(BlockingIOError):
                        data = data[os.write(protocol.descriptors[-1], data) :]
                if data:
                    writer.write(data)
                if chance.random() < 0.5:
                    read += await received(peer, min(len(written) - len(read), chance.choice((10, 10_000, 400_000))))
            read += await received(peer, len(written) - len(read))
            assert read == written
            assert past > 20
            assert protocol.descriptors.count(-1) > 5

    play(scene)


@pytest.mark.parametrize("seed", range(int(os.environ.get("SOCKUDO_EXAMPLES", "2"))))
def test_bytes_leave_in_order_however_slowly_they_are_read(play: Callable[[Scene], None], seed: int) -> None:
    async def scene() -> None:
        chance = random.Random(seed)
        async with connected() as (writer, transport, protocol, peer):
            written, read, behind, level = bytearray(), bytearray(), 0, 0
            for _ in range(400):
                data = bytes([chance.randrange(256)]) * chance.choice((1, 100, 5000, 90_000))
                (writer if chance.random() < 0.9 else transport).write(data)
                written += data
                behind += transport.get_write_buffer_size() > 0
                if chance.random() < 0.5:
                    read += await received(peer, min(len(written) - len(read), chance.choice((10, 10_000, 400_000))))
                level += transport.get_write_buffer_size() == 0
            read += await received(peer, len(written) - len(read))
            assert read == written
            # Both ways were taken, and the way back from one to the other.
            assert behind > 20
            assert level > 20
            assert protocol.paused > 0

    play(scene)


def test_a_number_that_somebody_else_has_by_now_is_never_written_to(play: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        async with connected() as (writer, transport, protocol, _):
            writer.write(b"mine")
            number = transport.get_extra_info("socket").fileno()
            transport.abort()
            await protocol.lost.wait()
            await asyncio.sleep(0)
            stranger, theirs = socket.socketpair()
            with stranger, theirs:
                if stranger.fileno() != number:
                    os.dup2(stranger.fileno(), number)
                # uvloop's transport says that it is closed.
                with contextlib.suppress(RuntimeError):
                    writer.write(b"not for you")
                theirs.setblocking(False)
                with pytest.raises(BlockingIOError):
                    theirs.recv(100)
                if stranger.fileno() != number:
                    os.close(number)

    play(scene)


def test_a_peer_that_has_gone_is_the_transports_affair(play: Callable[[Scene], None]) -> None:
    async def scene() -> None:
        async with connected() as (writer, _, protocol, peer):
            peer.close()
            writer.write(b"for nobody")
            async with asyncio.timeout(10):
                await protocol.lost.wait()

    play(scene)


def test_there_is_none_with_tls_or_without_a_socket() -> None:
    assert writer_of(RecordingTransport(), _nobody) is None

    class Encrypted(RecordingTransport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return {"sslcontext": object(), "socket": ours}.get(name, default)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert writer_of(Encrypted(), _nobody) is None


def _nobody(_: int) -> None:
    pass
