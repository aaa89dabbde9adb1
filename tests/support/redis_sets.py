"""Throw-away Redis servers that belong together: a master with a replica and Sentinels, a cluster of three masters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sockudo.config.sections.redis import Redis, RedisAccess, RedisCluster, RedisTls
from sockudo.storage.redis_slots import SLOTS
from support.certificates import write_chain
from support.ports import free_port
from support.redis import PASSWORD, RedisProcess, redis_server
from support.waiting import wait_until

__all__ = ["MASTER", "SENTINEL_PASSWORD", "ClusterSet", "SentinelSet", "cluster_set", "sentinel_set", "tls_server"]

MASTER = "harbor"
SENTINEL_PASSWORD = "of the sentinels"


class SentinelSet:
    """A master, its replica, and three Sentinels that agree within two seconds."""

    def __init__(self, master: RedisProcess, replica: RedisProcess, sentinels: list[RedisProcess]) -> None:
        self.master = master
        self.replica = replica
        self.sentinels = sentinels

    @property
    def access(self) -> RedisAccess:
        return Redis(
            password=PASSWORD,
            sentinels=tuple(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels),
            name=MASTER,
            sentinel_password=SENTINEL_PASSWORD,
        ).access()


class ClusterSet:
    """Three masters that share the slots."""

    def __init__(self, servers: list[RedisProcess]) -> None:
        self.servers = servers

    @property
    def access(self) -> RedisAccess:
        nodes = tuple(f"127.0.0.1:{server.port}" for server in self.servers)
        return Redis(password=PASSWORD, cluster=RedisCluster(nodes=nodes)).cluster_access()

    def owner(self, slot: int) -> RedisProcess:
        """The server that has a slot."""
        ranges = say(self.servers[0], "CLUSTER SLOTS")
        ports = {master[1] for first, last, master, *_ in ranges if first <= slot <= last}
        return next(server for server in self.servers if server.port in ports)

    def move(self, slot: int, target: RedisProcess) -> None:
        """Gives a slot and its keys to another server."""
        source = self.owner(slot)
        names = {server: server_id(server) for server in self.servers}
        say(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
        say(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
        for keys in iter(lambda: say(source, "CLUSTER", "GETKEYSINSLOT", slot, 100), []):
            say(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "AUTH", PASSWORD, "KEYS", *keys)
        for server in (target, source, *self.servers):
            say(server, "CLUSTER", "SETSLOT", slot, "NODE", names[target])


def say(server: RedisProcess, *command: Any) -> Any:
    with server.client() as client:
        return client.execute_command(*command)


def server_id(server: RedisProcess) -> str:
    return str(say(server, "CLUSTER", "MYID"))


@contextlib.contextmanager
def sentinel_set() -> Iterator[SentinelSet]:
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(redis_server(masterauth=PASSWORD))
        replica = stack.enter_context(redis_server(lines=[f"replicaof 127.0.0.1 {master.port}"], masterauth=PASSWORD))
        lines = [
            f"sentinel monitor {MASTER} 127.0.0.1 {master.port} 2",
            f'sentinel auth-pass {MASTER} "{PASSWORD}"',
            f"sentinel down-after-milliseconds {MASTER} 1000",
            f"sentinel failover-timeout {MASTER} 5000",
        ]
        sentinels = [
            stack.enter_context(
                redis_server(
                    arguments=["--sentinel"],
                    password=SENTINEL_PASSWORD,
                    lines=[*lines, f'sentinel sentinel-pass "{SENTINEL_PASSWORD}"'],
                )
            )
            for _ in range(3)
        ]
        made = SentinelSet(master, replica, sentinels)

        def agreed() -> bool:
            for sentinel in sentinels:
                state = say(sentinel, "SENTINEL MASTER", MASTER)
                if int(state["num-other-sentinels"]) < 2 or int(state["num-slaves"]) < 1:
                    return False
            return True

        wait_until(agreed, "the Sentinels to find each other", timeout=30)
        yield made


@contextlib.contextmanager
def cluster_set(*, replica: bool = False, kind: str = "redis") -> Iterator[ClusterSet]:
    """Three masters, and with ``replica`` one of the first of them, which is the last of the servers."""
    with contextlib.ExitStack() as stack:
        buses = [free_port() for _ in range(4 if replica else 3)]
        servers = [
            stack.enter_context(
                redis_server(
                    kind=kind,
                    cluster_enabled="yes",
                    cluster_port=str(bus),
                    cluster_node_timeout="2000",
                    masterauth=PASSWORD,
                )
            )
            for bus in buses
        ]
        share = SLOTS // 3 + 1
        for number, server in enumerate(servers):
            if number < 3:
                say(server, "CLUSTER", "ADDSLOTSRANGE", number * share, min((number + 1) * share, SLOTS) - 1)
            say(server, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server, bus in zip(servers[1:], buses[1:], strict=True):
            say(servers[0], "CLUSTER", "MEET", "127.0.0.1", server.port, bus)

        def joined() -> bool:
            if any(say(server, "CLUSTER INFO")["cluster_state"] != "ok" for server in servers):
                return False
            # Before each has reached each, what is published at one may not come to another.
            views = [say(server, "CLUSTER NODES") for server in servers]
            return all(len(view) == len(servers) and all(each["connected"] for each in view.values()) for view in views)

        wait_until(joined, "the cluster to form", timeout=30)
        if replica:
            say(servers[3], "CLUSTER", "REPLICATE", server_id(servers[0]))
            wait_until(lambda: say(servers[3], "ROLE")[3] == "connected", "the replica", timeout=30)
        yield ClusterSet(servers)


NODES_USER = "nodes"
NODES_PASSWORD = "only for pub/sub"


@contextlib.contextmanager
def tls_server() -> Iterator[RedisAccess]:
    """The way to a server that speaks TLS alone, for a user that may do no more than carry messages."""
    with TemporaryDirectory(prefix="sockudo-redis-tls-") as name:
        authority, (certificate, key) = write_chain(Path(name))
        users = Path(name) / "users.acl"
        users.write_text(
            "user default off\n"
            f"user {NODES_USER} on #{_digest(NODES_PASSWORD)} resetchannels &sockudo_adapter:* -@all "
            "+auth +ping +role +select +publish +subscribe +unsubscribe\n"
        )
        with redis_server(tls=(certificate, key), password="", aclfile=str(users)) as server:
            settings = Redis(
                host="127.0.0.1",
                port=server.port,
                db=3,
                username=NODES_USER,
                password=NODES_PASSWORD,
                master_tls=RedisTls(
                    enabled=True, ca_path=str(authority), client_cert_path=str(certificate), client_key_path=str(key)
                ),
            )
            yield settings.access()


def _digest(password: str) -> str:
    return sha256(password.encode()).hexdigest()
