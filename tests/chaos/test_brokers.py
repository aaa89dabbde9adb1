"""What joins the nodes fails for all of them at once: it is emptied, fails over, or moves what it carries."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from chaos.fleet import BUFFERED, DURABLE, LEASE, PLAIN, Nodes, client_of, nodes_of, seeded, show, stored_in
from chaos.traffic import ROOM, TIDES, Traffic
from sockudo.storage.redis_slots import slot_of
from support.databases import postgres_server
from support.redis import PASSWORD, redis_server
from support.redis_sets import MASTER, SENTINEL_PASSWORD, cluster_set, say, sentinel_set
from support.waiting import wait_until

HEALED_WITHIN = 10.0
"""Seconds from the moment at which the broker is right again."""

Incident = tuple[dict[str, Any], Callable[[], None]]
"""How nodes are joined, and what happens to that; it returns when the broker is right again."""


@contextmanager
def restarted_empty() -> Iterator[Incident]:
    with redis_server() as redis:

        def restart() -> None:
            redis.kill()
            shutil.rmtree(redis.folder / "appendonlydir")
            redis.start()

        yield {"adapter": {"driver": "redis"}, "database": {"redis": redis_at(redis.port)}}, restart


@contextmanager
def failed_over() -> Iterator[Incident]:
    with sentinel_set() as servers:
        sentinels = [f"127.0.0.1:{sentinel.port}" for sentinel in servers.sentinels]
        place = {"password": PASSWORD, "sentinels": sentinels, "name": MASTER, "sentinel_password": SENTINEL_PASSWORD}

        def lose_the_master() -> None:
            servers.master.kill()
            wait_until(lambda: say(servers.replica, "ROLE")[0] == "master", "the replica to take over")

        yield {"adapter": {"driver": "redis"}, "database": {"redis": place}}, lose_the_master


@contextmanager
def moved_slots() -> Iterator[Incident]:
    with cluster_set() as servers:
        topics = [f"c:{app.id}:{channel}" for app in (DURABLE, BUFFERED, PLAIN) for channel in (TIDES, ROOM)]
        slots = {slot_of(f"sockudo_adapter:{topic}".encode()) for topic in ("all", *topics)}

        def move() -> None:
            for slot in slots:
                owner = servers.owner(slot)
                servers.move(slot, next(server for server in servers.servers if server is not owner))

        nodes = [f"127.0.0.1:{server.port}" for server in servers.servers]
        adapter = {"driver": "redis-cluster", "cluster": {"nodes": nodes}}
        yield {"adapter": adapter, "database": {"redis": {"password": PASSWORD}}}, move


def redis_at(port: int) -> dict[str, Any]:
    return {"port": port, "password": PASSWORD}


@pytest.mark.parametrize("incident", [restarted_empty, failed_over, moved_slots], ids=lambda of: of.__name__)
async def test_nodes_are_one_again(
    incident: Callable[[], AbstractContextManager[Incident]],
) -> None:
    rng = seeded()
    with postgres_server() as database, incident() as (joined, happen):
        settings = stored_in(database.postgres, joined)
        async with nodes_of(lambda _: settings, 0, rng, LEASE) as fleet, Traffic(fleet) as traffic:
            await traffic.goes_on(10)
            await asyncio.to_thread(happen)
            began = asyncio.get_running_loop().time()
            await asyncio.wait_for(hear_each_other(fleet, traffic), HEALED_WITHIN)
            await fleet.is_whole(HEALED_WITHIN)
            took = asyncio.get_running_loop().time() - began
            show(f"{incident.__name__}: one again after {took:.2f} s")
            assert took < HEALED_WITHIN
            await traffic.is_true()
            await traffic.goes_on(10)
            await traffic.end()
            await traffic.check_durable()
            traffic.check_buffered(whole=False)
            traffic.check_members(ordered=False)


async def hear_each_other(fleet: Nodes, traffic: Traffic) -> None:
    """Returns once what is published on every node reaches every client."""
    for number in range(1000):
        sent = {f"again-{place}:{number}" for place in range(len(fleet.servers))}
        for place, server in enumerate(fleet.servers):
            async with client_of(server.url, PLAIN) as backend:
                await backend.publish(TIDES, "e", f"again-{place}:{number}")
        await asyncio.sleep(0.2)
        if all(member.heard and sent <= set(member.heard[-1][-200:]) for member in traffic.members):
            return
