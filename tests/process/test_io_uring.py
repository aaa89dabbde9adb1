"""Deliveries to many: with io_uring, without it, and where a security profile forbids it."""

from __future__ import annotations

import random
import sys
from array import array
from contextlib import AsyncExitStack, ExitStack

import pytest

from sockudo.edge.direct import DirectSends
from sockudo.edge.ring import SendRing
from sockudo.hub import BulkWriter
from sockudo.testing import serve
from sockudo.testing.runners import InProcess
from support.io_uring import needs_io_uring
from support.server import FROM_NOTHING, ServerProcess, log_lines, start_server, wait_for_line
from support.websocket import WebSocket

COUNT = 300
CLIENTS = 12
FILLER = "x" * 10_000
"""So much that sockets are full again and again, and take a part of what they are given."""

FORBID = """
import ctypes, os, struct, sys
allow, refuse, setup, load, jump_if_equal, answer = 0x7FFF0000, 0x00050001, 425, 0x20, 0x15, 0x06
program = ((load, 0, 0, 0), (jump_if_equal, 0, 1, setup), (answer, 0, 0, refuse), (answer, 0, 0, allow))
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
profile = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(profile), 0, 0):
    sys.exit(f"no seccomp: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a command where io_uring_setup is answered with EPERM, as Docker's profile does."""


def deliver(server: ServerProcess) -> None:
    """Everyone hears everything in order, however they read."""
    dice = random.Random(1)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(WebSocket(server, receive_buffer=4096 if number % 3 == 0 else None))
            for number in range(CLIENTS)
        ]
        heard = dict.fromkeys(clients, 0)

        def read(client: WebSocket, until: int) -> None:
            while heard[client] < until:
                assert client.event()["data"] == f"{heard[client]} {FILLER}"
                heard[client] += 1

        for client in clients:
            client.greeting()
            client.subscribe("news")
        for number in range(COUNT):
            server.publish("news", "e", f"{number} {FILLER}")
            for client in dice.sample(clients, 2):
                read(client, dice.randrange(number + 1) if number % 50 else number + 1)
        for client in clients:
            read(client, COUNT)
            client.hears_nothing()


class Watched:
    """What was written at once: to how many, and how many of them did not take all."""

    def __init__(self, bulk: BulkWriter) -> None:
        self.bulk = bulk
        self.seen: list[tuple[int, int]] = []

    def write(self, descriptors: array[int], data: bytes) -> list[tuple[int, int]]:
        refused = self.bulk.write(descriptors, data)
        self.seen.append((len(descriptors), len(refused)))
        return refused


@pytest.mark.parametrize(
    ("on", "kind"), [pytest.param(True, SendRing, marks=needs_io_uring), pytest.param(False, DirectSends)]
)
async def test_what_many_hear_is_written_with_one_call(*, on: bool, kind: type[BulkWriter]) -> None:
    async with serve({"websocket": {"io_uring": on}}) as server, AsyncExitStack() as stack:
        assert isinstance(server._runner, InProcess)
        hub = server._runner.server.services.hub  # type: ignore[union-attr]
        assert isinstance(hub.bulk, kind)
        watched = hub.bulk = Watched(hub.bulk)
        clients = [await stack.enter_async_context(server.client()) for _ in range(CLIENTS)]
        for client in clients:
            await client.subscribe("news")
        api = await stack.enter_async_context(server.api())
        await api.publish("news", "first", {})
        for client in clients:
            await client.expect("first", channel="news")
        await api.publish("news", "second", {}, socket_id=clients[3].socket_id)
        await clients[0].expect("second", channel="news")
        assert watched.seen == [(CLIENTS, 0), (CLIENTS - 1, 0)]


@pytest.mark.parametrize("on", [True, False])
def test_everyone_hears_everything_in_order_however_slowly_they_read(*, on: bool) -> None:
    limits = {"io_uring": on, "max_messages": COUNT, "max_backpressure": 65_536}
    with start_server({"websocket": limits}) as server:
        deliver(server)
        told = [line["fields"]["message"] for line in log_lines(server) if "io_uring" in line["fields"]["message"]]
        assert on or told == []
        assert not on or len(told) == 1


def test_where_it_is_forbidden_the_server_says_so_and_does_without() -> None:
    command = (sys.executable, "-c", FORBID, *FROM_NOTHING)
    with start_server({"websocket": {"max_messages": COUNT}}, command=command) as server:
        told = wait_for_line(server, "no io_uring: each delivery is a system call")
        assert told["reason"] == "it is forbidden here: kernel.io_uring_disabled, or a security profile"
        deliver(server)
