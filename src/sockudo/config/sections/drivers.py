"""Where things are kept and how nodes are joined: ``adapter cluster app_manager cache`` (spec: platform § 1.4)."""

from __future__ import annotations

from sockudo.config.apps import App
from sockudo.config.keys import Section, setting
from sockudo.config.sections.databases import AdapterPostgres
from sockudo.config.sections.join_url import useless_join_url
from sockudo.config.sections.nats import AdapterNats
from sockudo.config.sections.redis_nodes import AdapterCluster, AdapterRedis, CacheRedis

__all__ = ["Adapter", "AppManager", "Cache", "Cluster", "ClusterHealth", "InlineApps", "MemoryCache"]

_BROKERS = ("pulsar", "rabbitmq", "google-pubsub", "kafka", "iggy")
_BROKER_SPELLINGS = (
    ("rabbit-mq", "rabbitmq"),
    ("gcp-pubsub", "google-pubsub"),
    ("pubsub", "google-pubsub"),
    ("apache-iggy", "iggy"),
    ("redis_cluster", "redis-cluster"),
)
_DATABASE_SPELLINGS = (("postgres", "pgsql"), ("postgresql", "pgsql"), ("surreal", "surrealdb"), ("scylla", "scylladb"))


class ClusterHealth(Section, frozen=True):
    """How often a joined node sends beats, and when it counts as dead."""

    heartbeat_interval_ms: int = setting(
        2000, "How often a node shows the others that it lives", env="CLUSTER_HEALTH_HEARTBEAT_INTERVAL", unit="ms"
    )
    node_timeout_ms: int = setting(
        10_000,
        "A node that is silent for so long is held dead; at least five heartbeats",
        env="CLUSTER_HEALTH_NODE_TIMEOUT",
        unit="ms",
    )


class Adapter(Section, frozen=True):
    """How nodes are joined. The address never leaves through ``repr``, since it may have a password."""

    driver: str = setting(
        "local",
        "How nodes are joined: `local` is one node alone; with the others, all that use the same broker",
        choices=("local", "redis", "redis-cluster", "nats", "postgres"),
        elsewhere=_BROKERS,
        aliases=(*_BROKER_SPELLINGS, ("pgsql", "postgres"), ("postgresql", "postgres")),
    )
    url: str | None = setting(
        None,
        "What joins nodes, as one address in place of `driver` and where that is: `redis://host:6379` (`rediss://` "
        "with TLS), `nats://host:4222` (`tls://`), `postgres://user@host/database`",
        check=useless_join_url,
        secret=True,
    )
    fallback_to_local: bool = setting(
        False,
        "Where other nodes cannot be reached at the start, this one goes on alone until its next start; false: it "
        "does not start",
    )
    enable_socket_counting: bool = setting(
        True,
        "`max_connections` of an app holds for its connections on all joined nodes together; false: for those of each",
    )
    redis: AdapterRedis = AdapterRedis()
    cluster: AdapterCluster = AdapterCluster()
    nats: AdapterNats = AdapterNats()
    postgres: AdapterPostgres = AdapterPostgres()
    cluster_health: ClusterHealth = ClusterHealth()

    def __repr__(self) -> str:
        return f"Adapter(driver={self.driver!r})"


class Cluster(Section, frozen=True):
    """How a node behaves while it does not reach the others, or a store."""

    up_grace: int = setting(
        0,
        "A node that gets nothing from the others stays ready (`/up`) for this time, and so does one whose store of "
        "apps or history does not answer",
        env="SOCKUDO_CLUSTER_UP_GRACE",
        unit="s",
        high=86_400,
        reload=True,
    )


class InlineApps(Section, frozen=True):
    """Apps that stand in the configuration itself."""

    apps: tuple[App, ...] = setting((), "Apps of this server; see Apps", env="", reload=True)


class AppManager(Section, frozen=True):
    """Where apps are kept."""

    driver: str = setting(
        "sqlite",
        "Where apps are kept: `sqlite` in `data_dir`, a database under `database`, or `memory`, which knows the "
        "configured apps only",
        choices=("sqlite", "memory", "pgsql", "mysql"),
        elsewhere=("dynamodb", "surrealdb", "scylladb"),
        aliases=_DATABASE_SPELLINGS,
    )
    array: InlineApps = InlineApps()


class MemoryCache(Section, frozen=True):
    """The cache in this process, which it has with every driver."""

    max_capacity: int = setting(10_000, "Entries the cache keeps; the oldest go first", env="CACHE_MAX_CAPACITY", low=1)


class Cache(Section, frozen=True):
    """Where last events of cache channels and idempotency keys are kept."""

    driver: str = setting(
        "memory",
        "Where last events of cache channels and idempotency keys are kept: `memory` of the nodes, which lose them "
        "when the last one stops; in `redis`, `redis-cluster` or `postgres` they outlive them",
        choices=("memory", "redis", "redis-cluster", "postgres"),
        elsewhere=("none",),
        aliases=(("redis_cluster", "redis-cluster"), ("pgsql", "postgres"), ("postgresql", "postgres")),
    )
    memory: MemoryCache = MemoryCache()
    redis: CacheRedis = CacheRedis()
