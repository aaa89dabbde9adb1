"""Two joined servers whose Redis goes away, comes back with nothing, or is taken over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from sockudo import errors
from sockudo.config import load
from sockudo.server.server import Server
from sockudo.testing import RecordingClient
from support.joined import Pair, pair_of
from support.redis import PASSWORD, RedisProcess, redis_server
from support.redis_sets import MASTER, SENTINEL_PASSWORD, sentinel_set

HEALTH = {"heartbeat_interval_ms": 200, "node_timeout_ms": 1000}


@asynccontextmanager
async def joined_by(folder: Path, redis: dict[str, object]) -> AsyncIterator[Pair]:
    changes: dict[str, object] = {
        "adapter": {"driver": "redis", "cluster_health": HEALTH},
        "database": {"redis": {"password": PASSWORD, **redis}},
        # Without a common store, and without a node that has to number messages.
        "history": {"enabled": False},
        "connection_recovery": {"enabled": False},
    }
    async with pair_of(folder, changes, shared=False, joined="redis") as pair:
        yield pair


async def until_up(pair: Pair, status: int) -> None:
    """Waits until both servers answer ``/up`` like this."""
    for server in (0, 1):
        for _ in range(400):
            if (await pair.get(server, "/up")).status_code == status:
                break
            await asyncio.sleep(0.05)
        else:
            raise TimeoutError(f"node {server} does not answer {status}")


async def members(pair: Pair) -> tuple[RecordingClient, RecordingClient]:
    """A member of a presence channel on each server."""
    ana, ben = await pair.client(0), await pair.client(1)
    await ana.subscribe("presence-room", user_id="ana")
    await ben.subscribe("presence-room", user_id="ben")
    await ana.expect("pusher_internal:member_added", channel="presence-room")
    return ana, ben


async def check_joined(pair: Pair, ana: RecordingClient, ben: RecordingClient) -> None:
    """Both servers serve each other's clients, and no member seemed to have left."""
    for backend in pair.backends:
        assert sorted(await backend.users("presence-room")) == ["ana", "ben"]
    for number, backend in enumerate(pair.backends):
        await backend.publish("presence-room", "tide", {"height": number})
        for client in (ana, ben):
            await client.expect("tide", channel="presence-room", data={"height": number})
    for client in (ana, ben):
        assert not [event for event in client.events if event.event == "pusher_internal:member_removed"]


async def test_nodes_find_each_other_again_after_redis_lost_everything(tmp_path: Path) -> None:
    with redis_server(appendonly="no") as redis:
        async with joined_by(tmp_path, {"port": redis.port}) as pair:
            ana, ben = await members(pair)
            redis.kill()
            await until_up(pair, 503)
            # Longer than a node that was silent would be held for.
            await asyncio.sleep(1.5)
            await pair.backends[0].publish("presence-room", "alone", {})
            await ana.expect("alone", channel="presence-room")
            await asyncio.to_thread(redis.start)
            await until_up(pair, 200)
            await check_joined(pair, ana, ben)


async def test_nodes_follow_the_master_of_sentinels(tmp_path: Path) -> None:
    with sentinel_set() as servers:
        sentinels = [f"127.0.0.1:{sentinel.port}" for sentinel in servers.sentinels]
        redis = {"sentinels": sentinels, "name": MASTER, "sentinel_password": SENTINEL_PASSWORD}
        async with joined_by(tmp_path, redis) as pair:
            ana, ben = await members(pair)
            servers.master.kill()
            await until_up(pair, 503)
            await until_up(pair, 200)
            await check_joined(pair, ana, ben)


async def test_three_servers_are_joined_by_one_line_of_each(tmp_path: Path, redis: RedisProcess) -> None:
    line: dict[str, object] = {"adapter": {"url": f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{redis.port}"}}
    # Of a server in development, where a history would be another one on each.
    async with pair_of(tmp_path, line, shared=False, joined="redis", servers=3) as pair:
        clients = [await pair.client(number) for number in range(3)]
        for client in clients:
            await client.subscribe("news")
        for number, backend in enumerate(pair.backends):
            await backend.publish("news", "tide", {"height": number})
        for client in clients:
            for number in range(3):
                await client.expect("tide", channel="news", data={"height": number})


async def test_a_node_does_not_make_an_app_that_the_others_do_not_know(tmp_path: Path, redis: RedisProcess) -> None:
    url = f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{redis.port}"
    environ = {"ADAPTER_URL": url, "SOCKUDO_DATA_DIR": str(tmp_path), "PORT": "0", "METRICS_ENABLED": "false"}
    server = Server(load(path=None, environ=environ, cwd=tmp_path).settings)
    with pytest.raises(errors.SockudoError, match="configure the apps on all joined nodes"):
        await server.start()
    await server.stop()
