"""Thousands of hostile connections, many at once: the server serves on, forgets them all and has nothing to report."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
import struct
from collections.abc import Iterator

import pytest
import uvloop

from hostile.attacks import ATTACKS, Attack, attacks
from support.server import STREAMS, ServerProcess, start_server
from support.waiting import wait_until
from support.websocket import WebSocket

COUNT = int(os.environ.get("SOCKUDO_HOSTILE", "20000"))
"""Connections in all."""

SEED = int(os.environ.get("SOCKUDO_HOSTILE_SEED", random.SystemRandom().randrange(2**32)))

AT_ONCE = 200
WARM_UP = 3000
ANSWER_WITHIN = 0.1
PAUSE = 0.05
MAY_GROW = 2 * 1024 * 1024
"""Bytes of resident memory between the end of the warm-up and the end: what an allocator does not give back."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    # What a server is told to keep of messages is full before the warm-up ends.
    config = {
        **STREAMS,
        "connection_recovery": {"enabled": True, "max_buffer_size": 5},
        "history": {"enabled": True, "backend": "memory", "max_messages_per_channel": 5},
        "presence_history": {"enabled": True, "max_events_per_channel": 5},
        "log_level": "warn",
    }
    with start_server(config) as running:
        yield running


def sample(server: ServerProcess, name: str) -> float:
    """A metric, summed over its labels."""
    pattern = re.compile(rf"{name}(?:\{{[^}}]*\}})? (\S+)")
    return sum(float(found[1]) for line in server.metrics().splitlines() if (found := pattern.fullmatch(line)))


async def carry_out(attack: Attack, host: str, port: int) -> None:
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return
    try:
        for piece in attack.pieces:
            writer.write(piece)
            if attack.slow:
                await asyncio.sleep(PAUSE)
        if attack.end != "reset":
            async with asyncio.timeout(ANSWER_WITHIN):
                await writer.drain()
        if attack.end == "half-close":
            writer.write_eof()
        if attack.end in {"half-close", "answer"}:
            async with asyncio.timeout(ANSWER_WITHIN):
                while await reader.read(65_536):
                    pass
    except OSError:
        # A peer of this kind expects nothing; a timeout is one, too.
        pass
    finally:
        if attack.end == "reset":
            peer: socket.socket | None = writer.get_extra_info("socket")
            if peer is not None:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()


async def storm(chosen: Iterator[Attack], server: ServerProcess) -> None:
    """Carries out all of them, `AT_ONCE` at a time."""

    async def worker() -> None:
        for attack in chosen:
            await carry_out(attack, server.host, server.port)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())


def settle(server: ServerProcess, descriptors: float) -> None:
    """Waits until every attacker has been forgotten."""
    wait_until(lambda: sample(server, "sockudo_connected") == 0, "no connection to be left", timeout=20)
    wait_until(lambda: sample(server, "process_open_fds") <= descriptors, "the descriptors to be closed", timeout=20)
    assert sample(server, "sockudo_active_channels") == 0


@pytest.mark.timeout(300)
def test_thousands_of_hostile_connections(server: ServerProcess) -> None:
    print(f"seed: SOCKUDO_HOSTILE_SEED={SEED}")
    descriptors = sample(server, "process_open_fds")
    uvloop.run(storm(attacks(min(WARM_UP, COUNT), SEED, server.app), server))
    settle(server, descriptors)
    warm = sample(server, "process_resident_memory_bytes")
    uvloop.run(storm(attacks(max(COUNT - WARM_UP, 0), SEED + 1, server.app), server))
    settle(server, descriptors)
    grown = sample(server, "process_resident_memory_bytes") - warm
    print(f"resident memory grew by {grown / 1024:.0f} KB over {COUNT - WARM_UP} connections")
    assert grown <= MAY_GROW
    assert server.exit_code is None
    assert_serves(server)
    assert_nothing_to_report(server)


def assert_serves(server: ServerProcess) -> None:
    with WebSocket(server) as client:
        client.greeting()
        client.subscribe("presence-after", "ana")
        server.publish("presence-after", "event", "still here")
        assert client.event()["data"] == "still here"
    assert server.request("GET", "/up").text == "OK"


def assert_nothing_to_report(server: ServerProcess) -> None:
    """Refusals may be logged; errors may not."""
    server.check_log()
    for line in server.log.splitlines():
        if line.startswith("{"):
            assert json.loads(line)["level"] not in {"ERROR", "CRITICAL"}, line


@pytest.mark.parametrize("name", ATTACKS)
def test_one_of_each_kind_does_not_disturb_a_client(server: ServerProcess, name: str) -> None:
    """A client that was there before hears what is published while the attacks go on."""
    with WebSocket(server) as client:
        client.greeting()
        client.subscribe(f"calm-{name}")
        chosen = (attack for attack in attacks(len(ATTACKS) * 10, SEED, server.app) if attack.name == name)
        uvloop.run(storm(chosen, server))
        server.publish(f"calm-{name}", "event", "calm")
        assert client.event()["data"] == "calm"
        client.hears_nothing()
