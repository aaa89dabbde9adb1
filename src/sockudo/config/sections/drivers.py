"""Where things are kept and how nodes are joined: ``adapter app_manager cache`` (spec: platform § 1.4)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sockudo.config.apps import App
from sockudo.config.keys import Key

__all__ = ["Adapter", "AppManager", "Cache", "InlineApps", "MemoryCache"]

_BROKERS = ("redis", "redis-cluster", "nats", "pulsar", "rabbitmq", "google-pubsub", "kafka", "iggy")
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


class Adapter(msgspec.Struct, frozen=True):
    """How nodes are joined. This version is one node."""

    driver: Annotated[
        str,
        Key(
            "How nodes are joined",
            env="ADAPTER_DRIVER",
            choices=("local",),
            elsewhere=_BROKERS,
            aliases=_BROKER_SPELLINGS,
        ),
    ] = "local"


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
