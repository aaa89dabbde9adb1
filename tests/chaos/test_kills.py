"""Three servers that are joined by a broker, and killed at random while clients come back: the truth is left.

Bounded here; ``scripts/chaos`` makes it longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from sockudo.client.auth import Credentials
from sockudo.client.http import ApiClient
from sockudo.testing import RecordingClient
from support.databases import postgres_server
from support.nats import nats_server
from support.redis import PASSWORD, redis_server
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server

KILLS = int(os.environ.get("SOCKUDO_NODE_KILLS", "3"))
MEMBERS = 12
APP = Credentials(DEFAULT_APP.id, DEFAULT_APP.key, DEFAULT_APP.secret)
ROOM = "presence-harbor"
TIMEOUT_MS = 1500
HEALTH = {"heartbeat_interval_ms": 300, "node_timeout_ms": TIMEOUT_MS}
# What a burial, and the beats around it, may take on a busy machine.
WITHIN = TIMEOUT_MS / 1000 + 8


@contextlib.contextmanager
def broker_settings(kind: str) -> Iterator[dict[str, Any]]:
    """The configuration that joins servers over a broker of this kind, which runs meanwhile."""
    match kind:
        case "redis":
            with redis_server() as redis:
                yield {
                    "adapter": {"driver": "redis", "cluster_health": HEALTH},
                    "database": {"redis": {"port": redis.port, "password": PASSWORD}},
                }
        case "nats":
            with nats_server() as nats:
                servers = [f"127.0.0.1:{nats.port}"]
                yield {"adapter": {"driver": "nats", "cluster_health": HEALTH, "nats": {"servers": servers}}}
        case _:
            with postgres_server() as database:
                server = database.postgres
                yield {
                    "adapter": {"driver": "postgres", "cluster_health": HEALTH},
                    "database": {
                        "postgres": {
                            "host": server.host,
                            "port": server.port,
                            "username": server.username,
                            "password": server.password,
                            "database": server.database,
                        }
                    },
                }


class Harbor:
    """The servers, one member for each user, and a watcher on each server."""

    def __init__(self, settings: dict[str, Any], rng: random.Random) -> None:
        self.rng = rng
        app = app_record(DEFAULT_APP)
        self._config = {
            **settings,
            "shutdown_grace_period": 1,
            "connection_recovery": {"enabled": False},
            "history": {"enabled": False},
            "app_manager": {"driver": "memory", "array": {"apps": [app]}},
        }
        self.servers: list[ServerProcess] = []
        self.members: dict[str, tuple[int, RecordingClient]] = {}
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        for _ in range(3):
            self.servers.append(await asyncio.to_thread(start_server, self._config))
        for number in range(MEMBERS):
            await self.join(f"user-{number}", number % 3)

    async def join(self, user: str, place: int) -> None:
        url = self.servers[place].url
        client = await self._stack.enter_async_context(await RecordingClient.connect(url, APP))
        await client.subscribe(ROOM, user_id=user)
        self.members[user] = (place, client)

    async def kill(self, place: int) -> list[str]:
        """Kills a server; the users who were on it."""
        self.servers[place].send_signal(signal.SIGKILL)
        await asyncio.to_thread(self.servers[place].wait)
        self.servers[place].close()
        return [user for user, (where, _) in self.members.items() if where == place]

    async def start_again(self, place: int) -> None:
        self.servers[place] = await asyncio.to_thread(start_server, self._config)

    async def users(self, place: int) -> list[str]:
        async with ApiClient(self.servers[place].url, APP) as backend:
            return sorted(await backend.users(ROOM))

    async def until_all_agree(self, expected: list[str], *, without: int | None = None) -> None:
        """Waits until every running server names exactly these members."""
        deadline = asyncio.get_running_loop().time() + WITHIN
        seen: dict[int, list[str]] = {}
        while asyncio.get_running_loop().time() < deadline:
            places = [place for place in range(3) if place != without]
            seen = {place: await self.users(place) for place in places}
            if all(users == expected for users in seen.values()):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"expected {expected}, the servers name {seen}")

    async def close(self) -> None:
        await self._stack.aclose()
        for server in self.servers:
            with contextlib.suppress(AssertionError):
                await asyncio.to_thread(server.terminate)
            server.close()


@pytest.fixture(params=["redis", "nats", "postgres"])
async def harbor(request: pytest.FixtureRequest) -> AsyncIterator[Harbor]:
    seed = int(os.environ.get("SOCKUDO_SEED", random.randrange(1 << 32)))
    print(f"SOCKUDO_SEED={seed}")
    with broker_settings(request.param) as settings:
        harbor = Harbor(settings, random.Random(seed))
        try:
            await harbor.start()
            yield harbor
        finally:
            await harbor.close()


def departures(client: RecordingClient, users: list[str]) -> Counter[str]:
    """How often a client heard that each of these users left."""
    removed = (event.data for event in client.events if event.event == "pusher_internal:member_removed")
    return Counter(dict.fromkeys(users, 0)) + Counter(
        data["user_id"] for data in removed if isinstance(data, dict) and data["user_id"] in users
    )


@pytest.mark.timeout(60 + 30 * KILLS)
async def test_members_of_killed_servers_leave_once_and_the_truth_is_left(harbor: Harbor) -> None:
    everyone = sorted(harbor.members)
    await harbor.until_all_agree(everyone)
    for _ in range(KILLS):
        victim = harbor.rng.randrange(3)
        lost = await harbor.kill(victim)
        staying = sorted(set(everyone) - set(lost))
        watchers = {user: client for user, (place, client) in harbor.members.items() if place != victim}
        before = {user: departures(client, lost) for user, client in watchers.items()}
        await harbor.until_all_agree(staying, without=victim)
        await asyncio.sleep(0.3)
        for user, client in watchers.items():
            removed = departures(client, lost)
            removed.subtract(before[user])
            assert removed == Counter(lost), f"{user} heard {removed}"
        await harbor.start_again(victim)
        for user in lost:
            await harbor.join(user, harbor.rng.randrange(3))
        await harbor.until_all_agree(everyone)
        for place in range(3):
            async with ApiClient(harbor.servers[place].url, APP) as backend:
                state = await backend.channel(ROOM, info=("user_count", "subscription_count"))
                assert (state["user_count"], state["subscription_count"]) == (MEMBERS, MEMBERS)
