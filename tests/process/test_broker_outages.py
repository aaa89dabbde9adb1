"""Servers whose broker goes away and comes back: nobody leaves, and they are one again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from support.databases import postgres_server
from support.joined import Pair, pair_of
from support.nats import nats_cluster, nats_server

Outage = Callable[[], Awaitable[None]]

# Without a common store.
ALONE = {"history": {"enabled": False}, "connection_recovery": {"enabled": False}}
HEALTH = {"cluster_health": {"heartbeat_interval_ms": 300, "node_timeout_ms": 1500}}


@contextmanager
def a_nats_server() -> Iterator[tuple[dict[str, object], Outage]]:
    """It is away for longer than it takes to be held dead."""
    with nats_server() as server:

        async def restart() -> None:
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(2)
            await asyncio.to_thread(server.start)

        yield {"adapter": {**HEALTH, "driver": "nats", "nats": {"servers": [server.address]}}}, restart


@contextmanager
def a_nats_cluster() -> Iterator[tuple[dict[str, object], Outage]]:
    """One of its two servers ends, and does not come back."""
    with nats_cluster() as (first, second):

        async def lose() -> None:
            await asyncio.to_thread(first.kill)

        servers = [first.address, second.address]
        yield {"adapter": {**HEALTH, "driver": "nats", "nats": {"servers": servers}}}, lose


@contextmanager
def a_database() -> Iterator[tuple[dict[str, object], Outage]]:
    """One of its processes is killed, with which all others end, and what is not logged is lost."""
    with postgres_server() as server:

        async def crash() -> None:
            [(pid,)] = server.execute("SELECT pg_backend_pid()")
            os.kill(pid, signal.SIGKILL)

        place = {"postgres": structs.asdict(server.postgres)}
        yield {"adapter": {**HEALTH, "driver": "postgres"}, "database": place}, crash


@pytest.fixture(params=[a_nats_server, a_nats_cluster, a_database], ids=lambda of: of.__name__[2:])
async def outage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Pair, Outage]]:
    with request.param() as (settings, outage):
        async with pair_of(tmp_path, settings | ALONE, shared=False, joined="configured") as pair:
            yield pair, outage


async def test_an_outage_of_the_broker_ends_nothing(outage: tuple[Pair, Outage]) -> None:
    pair, happen = outage
    watchers = [await pair.client(server) for server in (0, 1)]
    for name, client in zip(("ana", "ben"), watchers, strict=True):
        await client.subscribe("presence-room", user_id=name)
    await happen()
    # What is published while nodes do not hear each other reaches the clients of one of them.
    async with asyncio.timeout(30):
        for number in range(1_000):
            sent = [{"number": number, "server": server} for server in (0, 1)]
            for backend, data in zip(pair.backends, sent, strict=True):
                await backend.publish("presence-room", "tide", data)
            await asyncio.sleep(0.1)
            heard = [[event.data for event in client.events if event.event == "tide"] for client in watchers]
            if all(data in datas for data in sent for datas in heard):
                break
    for backend in pair.backends:
        assert sorted(await backend.users("presence-room")) == ["ana", "ben"]
    left = [event for client in watchers for event in client.events if "member_removed" in event.event]
    assert left == []
