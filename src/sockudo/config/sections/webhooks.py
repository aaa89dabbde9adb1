"""Webhooks and the queue they wait in: ``webhooks queue`` (spec: platform § 1.4)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sockudo.config.keys import Key
from sockudo.config.sections.redis import useless_redis_nodes

__all__ = [
    "Queue",
    "QueueRedis",
    "QueueRedisCluster",
    "QueueReliability",
    "WebhookBatching",
    "WebhookRetries",
    "Webhooks",
]

_BROKERS = ("nats", "pulsar", "rabbitmq", "google-pubsub", "kafka", "iggy")
_SPELLINGS = (
    ("postgresql", "postgres"),
    ("pgsql", "postgres"),
    ("mariadb", "mysql"),
    ("rabbit-mq", "rabbitmq"),
    ("gcp-pubsub", "google-pubsub"),
    ("pubsub", "google-pubsub"),
    ("apache-iggy", "iggy"),
    ("redis_cluster", "redis-cluster"),
)


class QueueReliability(msgspec.Struct, frozen=True):
    """What the queue keeps. Retries of webhooks are set under ``webhooks.retry``."""

    completed_retention: Annotated[
        int, Key("Deliveries that are kept after success, to be looked at", env="QUEUE_COMPLETED_RETENTION")
    ] = 1000
    failed_retention: Annotated[
        int, Key("Dead letters that are kept; the oldest go first", env="QUEUE_FAILED_RETENTION")
    ] = 10_000
    memory_capacity: Annotated[
        int,
        Key(
            "Events that wait in this process for the queue, and deliveries in a queue in memory; more are refused",
            env="QUEUE_MEMORY_CAPACITY",
            low=1,
        ),
    ] = 100_000


class QueueRedis(msgspec.Struct, frozen=True):
    """The queue in the Redis server of `database.redis`, which several processes may share."""

    prefix: Annotated[str, Key("Begins the names of its keys there", env="QUEUE_REDIS_PREFIX")] = "sockudo_queue:"
    response_timeout_ms: Annotated[
        int, Key("Limit of one call; 0 = a minute", env="QUEUE_REDIS_RESPONSE_TIMEOUT_MS", unit="ms", high=3_600_000)
    ] = 5000
    url_override: Annotated[
        str | None,
        Key(
            "Address of another server, in place of all keys of `database.redis` but the files of its TLS",
            env="REDIS_URL",
            secret=True,
        ),
    ] = None

    def __repr__(self) -> str:
        return f"QueueRedis(prefix={self.prefix!r}, response_timeout_ms={self.response_timeout_ms})"


class QueueRedisCluster(msgspec.Struct, frozen=True):
    """The queue in a Redis Cluster: each queue is on the server that has the slot of its name."""

    nodes: Annotated[
        tuple[str, ...],
        Key(
            "Some of its servers, in place of `database.redis.cluster.nodes`",
            env="DATABASE_REDIS_CLUSTER_NODES REDIS_CLUSTER_NODES",
            check=useless_redis_nodes,
            secret=True,
            default_port=6379,
        ),
    ] = ()
    prefix: Annotated[str, Key("Begins the names of its keys there", env="REDIS_CLUSTER_QUEUE_PREFIX")] = (
        "sockudo_queue:"
    )
    request_timeout_ms: Annotated[
        int,
        Key("Limit of one call; 0 = a minute", env="REDIS_CLUSTER_QUEUE_REQUEST_TIMEOUT_MS", unit="ms", high=3_600_000),
    ] = 5000

    def __repr__(self) -> str:
        return f"QueueRedisCluster(prefix={self.prefix!r}, request_timeout_ms={self.request_timeout_ms})"


class Queue(msgspec.Struct, frozen=True):
    """Where webhook deliveries wait."""

    driver: Annotated[
        str,
        Key(
            "Where webhook deliveries wait: `sqlite` in `data_dir` survives the process; `postgres`, `mysql`, "
            "`redis` or `redis-cluster` are shared by several; `memory` is lost with it; `none` switches webhooks off",
            env="QUEUE_DRIVER",
            choices=("sqlite", "redis", "redis-cluster", "memory", "none", "postgres", "mysql"),
            elsewhere=(*_BROKERS, "sqs", "sns"),
            aliases=_SPELLINGS,
        ),
    ] = "sqlite"
    redis: QueueRedis = QueueRedis()
    redis_cluster: QueueRedisCluster = QueueRedisCluster()
    reliability: QueueReliability = QueueReliability()


class WebhookBatching(msgspec.Struct, frozen=True):
    """How events are gathered into one request."""

    enabled: Annotated[bool, Key("Events are gathered; false: a request each", env="WEBHOOK_BATCHING_ENABLED")] = True
    duration: Annotated[
        int, Key("How long events are gathered", env="WEBHOOK_BATCHING_DURATION", unit="ms", low=1, high=60_000)
    ] = 50
    size: Annotated[int, Key("Events of a request at most", env="WEBHOOK_BATCHING_SIZE", low=1, high=10_000)] = 100


class WebhookRetries(msgspec.Struct, frozen=True):
    """How an endpoint that fails is tried again; an app's webhook may have values of its own."""

    enabled: Annotated[bool, Key("Failed requests are made again")] = True
    max_attempts: Annotated[int | None, Key("Attempts at most; `none` = as many as fit in the time", low=1)] = None
    max_elapsed_time_ms: Annotated[
        int, Key("Time after which a delivery is given up as a dead letter", unit="ms", low=1)
    ] = 300_000
    initial_backoff_ms: Annotated[int, Key("Pause after the first attempt; it doubles", unit="ms", low=1)] = 1000
    max_backoff_ms: Annotated[int, Key("Longest pause", unit="ms", low=1)] = 60_000


class Webhooks(msgspec.Struct, frozen=True):
    """Requests to the endpoints of apps."""

    batching: WebhookBatching = WebhookBatching()
    retry: WebhookRetries = WebhookRetries()
    request_timeout_ms: Annotated[int, Key("Limit of one request", unit="ms", low=1, high=300_000)] = 10_000
    concurrency: Annotated[
        int,
        Key(
            "Requests at a time of a process to one endpoint, and one of a channel. With 10, an endpoint that takes "
            "50 ms gets two thousand channels one by one within about 10 s",
            low=1,
            high=64,
        ),
    ] = 10
    allow_private_addresses: Annotated[
        bool,
        Key(
            "Endpoints may have loopback, private and link-local addresses; false refuses them, whatever their name "
            "resolves to",
            env="WEBHOOK_ALLOW_PRIVATE_ADDRESSES",
        ),
    ] = False
