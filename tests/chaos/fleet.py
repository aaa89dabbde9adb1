"""Three real processes that are joined, behind a balancer, and what may happen to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import psycopg

from sockudo.cli.restart import RESTART_SIGNAL
from sockudo.client.auth import Credentials
from sockudo.client.http import ApiClient
from sockudo.config.sections.databases import Postgres
from sockudo.testing import FaultProxy
from support.balancer import Balancer
from support.databases import postgres_server
from support.endpoint import WebhookEndpoint
from support.nats import nats_server
from support.redis import PASSWORD, redis_server
from support.server import DEFAULT_APP, NUMERIC_APP, ServerProcess, app_record, log_lines, start_server
from support.signing import Credentials as App
from support.waiting import until

__all__ = [
    "BROKERS",
    "BUFFERED",
    "DURABLE",
    "LEASE",
    "PLAIN",
    "QUICK",
    "Fleet",
    "Lease",
    "Nodes",
    "Workers",
    "client_of",
    "fleet_of",
    "nodes_of",
    "seeded",
    "show",
    "signing",
    "stored_in",
]

DURABLE = DEFAULT_APP
"""Its channels are stored."""
BUFFERED = NUMERIC_APP
"""Its channels keep their last messages in memory, and are recoverable."""
PLAIN = App("plain-id", "plain-key", "plain-secret")
"""Its channels keep nothing; it has webhooks."""

BROKERS = ("redis", "nats", "postgres")
NODES: Final = 3
_SEED: Final = "SOCKUDO_SEED"


class Lease(NamedTuple):
    """How often nodes show that they live and when one is held dead, in seconds."""

    beat: float = 0.5
    timeout: float = 2.5

    @property
    def settings(self) -> dict[str, int]:
        return {"heartbeat_interval_ms": round(self.beat * 1000), "node_timeout_ms": round(self.timeout * 1000)}


QUICK: Final = Lease()
"""Shorter than in production, where a node beats every two seconds."""

LEASE: Final = Lease(2.0, 10.0) if "SOCKUDO_LONG" in os.environ else QUICK
"""That of production in the long form."""


def seeded() -> random.Random:
    """Random numbers from a seed that a failing test shows; ``SOCKUDO_SEED`` gives it again."""
    seed = int(os.environ.get(_SEED, random.randrange(1 << 32)))
    print(f"{_SEED}={seed}")
    return random.Random(seed)


def signing(app: App) -> Credentials:
    """What this package's own clients know of an app."""
    return Credentials(app.id, app.key, app.secret)


def show(figures: str) -> None:
    """Tells what was measured to who runs the long form."""
    print(f"\nfigures: {figures}")


def client_of(url: str, app: App) -> ApiClient:
    return ApiClient(url, signing(app))


def _settings(hook: str) -> dict[str, Any]:
    nothing = {"history": {"enabled": False}}
    events = ["channel_occupied", "channel_vacated"]
    recovering = {"channels": {"v1_recovery": True}}
    records = [
        app_record(DURABLE, **recovering),
        app_record(BUFFERED, **recovering, **nothing),
        app_record(
            PLAIN, **nothing, connection_recovery={"enabled": False}, webhooks=[{"url": hook, "event_types": events}]
        ),
    ]
    return {
        "log_level": "info",
        "shutdown_grace_period": 3,
        "drain_window": 1,
        "webhooks": {"allow_private_addresses": True},
        "connection_recovery": {"enabled": True, "max_buffer_size": 10_000},
        "presence": {"ungraceful_timeout_seconds": 0},
        "app_manager": {"driver": "memory", "array": {"apps": records}},
    }


Joins = Callable[[int], dict[str, Any]]
"""The settings of a node whose broker is at this port."""


def stored_in(server: Postgres, joined: Mapping[str, Any], *, port: int | None = None) -> dict[str, Any]:
    """The settings of nodes that have history and queue in this database, and are joined in this way."""
    place = {"username": server.username, "password": server.password, "database": server.database}
    database = {"postgres": {"host": "127.0.0.1", "port": port or server.port, **place}, **joined.get("database", {})}
    stores = {"history": {"enabled": True, "backend": "postgres"}, "queue": {"driver": "postgres"}}
    return {**stores, **joined, "database": database}


@contextmanager
def broker(kind: str) -> Iterator[tuple[int, Joins]]:
    """A broker beside a database: its port, and how nodes use it."""
    with postgres_server() as database, contextlib.ExitStack() as stack:
        server = database.postgres

        def over_redis(port: int) -> dict[str, Any]:
            place = {"redis": {"port": port, "password": PASSWORD}}
            return stored_in(server, {"adapter": {"driver": "redis"}, "database": place})

        def over_nats(port: int) -> dict[str, Any]:
            return stored_in(server, {"adapter": {"driver": "nats", "nats": {"servers": [f"127.0.0.1:{port}"]}}})

        def over_postgres(port: int) -> dict[str, Any]:
            return stored_in(server, {"adapter": {"driver": "postgres"}}, port=port)

        match kind:
            case "redis":
                yield stack.enter_context(redis_server()).port, over_redis
            case "nats":
                yield stack.enter_context(nats_server()).port, over_nats
            case _:
                yield server.port, over_postgres


class Fleet:
    """Processes that are one server to clients: ``servers`` can be asked, ``balancer`` is before them."""

    def __init__(self, config: Mapping[str, Any], rng: random.Random, lease: Lease, hooks: WebhookEndpoint) -> None:
        self.rng = rng
        self.lease = lease
        self.hooks = hooks
        self.servers: list[ServerProcess] = []
        self.balancer = Balancer(random.Random(rng.randrange(1 << 32)))
        self._config = config

    async def __aenter__(self) -> Self:
        await self.balancer.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        await self.balancer.__aexit__(None, None, None)
        for server in self.servers:
            try:
                if kind is not None:
                    print(f"the log of {server.port}:", server.log[-20_000:])
                else:
                    assert await asyncio.to_thread(server.terminate) == 0, server.log[-6000:]
                    server.check_log()
            finally:
                server.close()

    async def start(self, changes: Mapping[str, Any]) -> ServerProcess:
        server = await asyncio.to_thread(start_server, {**self._config, **changes})
        self.balancer.ports.append(server.port)
        return server

    async def is_whole(self, seconds: float = 30.0) -> None:
        """Waits until every process is ready for clients and known to the balancer as that."""
        ports = {server.port for server in self.servers}
        await until(lambda: self.balancer.healthy == ports, f"{ports} to be ready", seconds=seconds)

    @property
    def pids(self) -> list[int]:
        """The processes that serve clients."""
        return [server.process.pid for server in self.servers]

    def stored_kinds(self, app: App, channel: str) -> dict[int, str]:
        """What kind of row each serial of a channel has in the store itself."""
        folder = self.servers[0].folder
        config = json.loads((folder / "config.json").read_text())
        of_channel = "FROM sockudo_history_entries WHERE app_id = {0} AND channel = {0} ORDER BY serial"
        query = f"SELECT serial, operation_kind {of_channel}"
        if config["history"]["backend"] == "sqlite":
            with contextlib.closing(sqlite3.connect(next(folder.rglob("history.sqlite3")))) as file:
                return dict(file.execute(query.format("?"), (app.id, channel)).fetchall())
        of = config["database"]["postgres"]
        place = {"host": of["host"], "port": of["port"], "dbname": of["database"]}
        with psycopg.connect(user=of["username"], password=of["password"], **place) as database:
            return dict(database.execute(query.format("%s"), (app.id, channel)).fetchall())

    async def kill(self) -> None:
        """Ends a random process without a chance to say a word."""
        raise NotImplementedError

    async def restore(self) -> None:
        """Has as many processes as there were before one was ended; returns when all are ready."""
        raise NotImplementedError

    async def replace_all(self) -> None:
        """Replaces every process by a new one, in order, while it serves."""
        raise NotImplementedError


class Nodes(Fleet):
    """Servers of their own over a broker; with ``links`` each through a proxy, which can fail."""

    def __init__(self, joins: Joins, port: int, *of_all: Any, links: bool = False) -> None:
        super().__init__(*of_all)
        self._joins = joins
        self._broker = port
        self._proxied = links
        self.links: list[FaultProxy] = []
        self._killed = 0

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        for _ in range(NODES):
            port = self._broker
            if self._proxied:
                self.links.append(await FaultProxy(f"http://127.0.0.1:{port}").__aenter__())
                port = self.links[-1].port
            self.servers.append(await self._start(port))
        await self.is_whole()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        for link in self.links:
            link.heal()
        await super().__aexit__(kind, *error)
        for link in self.links:
            await link.__aexit__(None, None, None)

    async def _start(self, port: int) -> ServerProcess:
        joined = self._joins(port)
        return await self.start({**joined, "adapter": {**joined["adapter"], "cluster_health": self.lease.settings}})

    def url(self, place: int) -> str:
        return self.servers[place].url

    async def kill(self) -> None:
        self._killed = self.rng.randrange(NODES)
        server = self.servers.pop(self._killed)
        server.send_signal(signal.SIGKILL)
        await asyncio.to_thread(server.wait)
        self._forget(server)

    async def restore(self) -> None:
        self.servers.insert(self._killed, await self._start(self._broker))
        await self.is_whole()

    async def replace_all(self) -> None:
        for place in range(NODES):
            await self.replace(place)

    async def replace(self, place: int) -> None:
        """One is stopped in order, and then there is a new one."""
        old = self.servers[place]
        assert await asyncio.to_thread(old.terminate) == 0, old.log[-6000:]
        old.check_log()
        self._forget(old)
        self.servers[place] = await self._start(self._broker)
        await self.is_whole()

    def _forget(self, server: ServerProcess) -> None:
        self.balancer.ports.remove(server.port)
        server.close()


class Workers(Fleet):
    """The workers of one server on one machine."""

    _capacity = 5000

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        stores = {"history": {"enabled": True, "backend": "sqlite"}, "workers": NODES}
        health = {"adapter": {"cluster_health": self.lease.settings}}
        self.servers.append(await self.start({**stores, **health}))
        await self._workers_are_ready(1)
        await self.is_whole()
        return self

    @property
    def pids(self) -> list[int]:
        pid = self.servers[0].process.pid
        return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def _told(self, message: str) -> int:
        return sum(line["fields"]["message"] == message for line in log_lines(self.servers[0]))

    async def _workers_are_ready(self, times: int) -> None:
        await until(lambda: self._told("all workers are ready") >= times, "every worker to be ready", pause=0.05)

    async def kill(self) -> None:
        self.send_one(signal.SIGKILL)

    def send_one(self, number: int) -> None:
        """Sends a random worker a signal that ends it, or has the supervisor end it."""
        self._ready = self._told("ready")
        os.kill(self.rng.choice(self.pids), number)

    async def restore(self) -> None:
        await until(lambda: self._told("ready") > self._ready, "a new worker", pause=0.05)
        await self.is_whole()

    async def replace_all(self) -> None:
        server, left = self.servers[0], self._told("a worker has left")
        if self.rng.random() < 0.5:
            server.send_signal(RESTART_SIGNAL)
        else:
            # What cannot change while it runs has all of them replaced.
            self._capacity += 1
            path = server.folder / "config.json"
            config = json.loads(path.read_text())
            config["history"]["writer_queue_capacity"] = self._capacity
            path.write_text(json.dumps(config))
            server.send_signal(signal.SIGHUP)
        await until(lambda: self._told("a worker has left") >= left + NODES, "old workers to leave", pause=0.05)


@asynccontextmanager
async def fleet_of(kind: str, rng: random.Random, *, lease: Lease = LEASE, links: bool = False) -> AsyncIterator[Fleet]:
    """Three processes joined by a broker of this kind, or as ``workers``."""
    if kind == "workers":
        with WebhookEndpoint() as hooks:
            async with Workers(_settings(hooks.url), rng, lease, hooks) as workers:
                yield workers
        return
    with broker(kind) as (port, joins):
        async with nodes_of(joins, port, rng, lease, links=links) as nodes:
            yield nodes


@asynccontextmanager
async def nodes_of(
    joins: Joins, port: int, rng: random.Random, lease: Lease, *, links: bool = False
) -> AsyncIterator[Nodes]:
    """Three servers that are joined as ``joins`` says, by what is at this port."""
    with WebhookEndpoint() as hooks:
        async with Nodes(joins, port, _settings(hooks.url), rng, lease, hooks, links=links) as nodes:
            yield nodes
