"""Where things are kept and how nodes are joined: ``adapter cluster app_manager cache`` (spec: platform § 1.4)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sockudo.config.apps import App
from sockudo.config.keys import Key
from sockudo.config.sections.databases import AdapterPostgres
from sockudo.config.sections.nats import AdapterNats
from sockudo.config.sections.redis_nodes import AdapterCluster, AdapterRedis

__all__ = ["Adapter", "AppManager", "Cache", "Cluster", "ClusterHealth", "InlineApps", "MemoryCache"]

_BROKERS = ("pulsar", "rabbitmq", "google-pubsub", "kafka", "iggy")
_BROKER_SPELLINGS = (
    ("rabbit-mq", "rabbitmq"),
    ("gcp-pubsub", "google-pubsub"),
    ("pubsub", "google-pubsub"),
    ("apache-iggy", "iggy"),
    ("redis_cluster", "redis-cluster"),
)
_DATABASE_SPELLINGS = (
    ("postgres", "pgsql"),
    ("postgresql", "pgsql"),
    ("surreal", "surrealdb"),
    ("scylla", "scylladb"),
)


class ClusterHealth(msgspec.Struct, frozen=True):
    """When a joined node is heard, and when it is held dead."""

    heartbeat_interval_ms: Annotated[
        int,
        Key("How often a node shows the others that it lives", env="CLUSTER_HEALTH_HEARTBEAT_INTERVAL", unit="ms"),
    ] = 2000
    node_timeout_ms: Annotated[
        int,
        Key(
            "A node that is silent for so long is held dead; at least five heartbeats",
            env="CLUSTER_HEALTH_NODE_TIMEOUT",
            unit="ms",
        ),
    ] = 10_000


class Adapter(msgspec.Struct, frozen=True):
    """How nodes are joined."""

    driver: Annotated[
        str,
        Key(
            "How nodes are joined: `local` is one node alone; with the others, all that use the same broker",
            env="ADAPTER_DRIVER",
            choices=("local", "redis", "redis-cluster", "nats", "postgres"),
            elsewhere=_BROKERS,
            aliases=(*_BROKER_SPELLINGS, ("pgsql", "postgres"), ("postgresql", "postgres")),
        ),
    ] = "local"
    fallback_to_local: Annotated[
        bool,
        Key(
            "Where other nodes cannot be reached at the start, this one goes on alone until its next start; false: it "
            "does not start",
            env="ADAPTER_FALLBACK_TO_LOCAL",
        ),
    ] = False
    redis: AdapterRedis = AdapterRedis()
    cluster: AdapterCluster = AdapterCluster()
    nats: AdapterNats = AdapterNats()
    postgres: AdapterPostgres = AdapterPostgres()
    cluster_health: ClusterHealth = ClusterHealth()


class Cluster(msgspec.Struct, frozen=True):
    """How a joined node behaves when it cannot reach the others."""

    up_grace: Annotated[
        int,
        Key(
            "A node that gets nothing from the others stays ready (`/up`) for this time",
            env="SOCKUDO_CLUSTER_UP_GRACE",
            unit="s",
            high=86_400,
            reload=True,
        ),
    ] = 0


class InlineApps(msgspec.Struct, frozen=True):
    """Apps that stand in the configuration itself."""

    apps: Annotated[tuple[App, ...], Key("Apps of this server; see Apps", reload=True)] = ()


class AppManager(msgspec.Struct, frozen=True):
    """Where apps are kept."""

    driver: Annotated[
        str,
        Key(
            "Where apps are kept: `sqlite` in `data_dir`, a database under `database`, or `memory`, which knows the "
            "configured apps only",
            env="APP_MANAGER_DRIVER",
            choices=("sqlite", "memory", "pgsql", "mysql"),
            elsewhere=("dynamodb", "surrealdb", "scylladb"),
            aliases=_DATABASE_SPELLINGS,
        ),
    ] = "sqlite"
    array: InlineApps = InlineApps()


class MemoryCache(msgspec.Struct, frozen=True):
    """The cache in this process."""

    max_capacity: Annotated[
        int,
        Key("Entries the cache keeps; the oldest go first", env="CACHE_MAX_CAPACITY", low=1),
    ] = 10_000


class Cache(msgspec.Struct, frozen=True):
    """Where last events of cache channels and idempotency keys are kept."""

    driver: Annotated[
        str,
        Key(
            "Where last events of cache channels and idempotency keys are kept",
            env="CACHE_DRIVER",
            choices=("memory",),
            elsewhere=("redis", "redis-cluster", "none"),
            aliases=(("redis_cluster", "redis-cluster"),),
        ),
    ] = "memory"
    memory: MemoryCache = MemoryCache()
