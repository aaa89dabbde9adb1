"""Webhooks and the queue they wait in: ``webhooks queue`` (spec: platform § 1.4)."""

from __future__ import annotations

from sockudo.config.keys import Section, setting
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


class QueueReliability(Section, frozen=True):
    """What the queue keeps. Retries of webhooks are set under ``webhooks.retry``."""

    completed_retention: int = setting(
        1000, "Deliveries that are kept after success, to be looked at", env="QUEUE_COMPLETED_RETENTION"
    )
    failed_retention: int = setting(
        10_000, "Dead letters that are kept; the oldest go first", env="QUEUE_FAILED_RETENTION"
    )
    memory_capacity: int = setting(
        100_000,
        "Events that wait in this process for the queue, and deliveries in a queue in memory; more are refused",
        env="QUEUE_MEMORY_CAPACITY",
        low=1,
    )


class QueueRedis(Section, frozen=True):
    """The queue in the Redis server of `database.redis`, which several processes may share."""

    prefix: str = setting("sockudo_queue:", "Begins the names of its keys there")
    response_timeout_ms: int = setting(5000, "Limit of one call; 0 = a minute", unit="ms", high=3_600_000)
    url_override: str | None = setting(
        None,
        "Address of another server, in place of all keys of `database.redis` but the files of its TLS",
        env="REDIS_URL",
        secret=True,
    )

    def __repr__(self) -> str:
        return f"QueueRedis(prefix={self.prefix!r}, response_timeout_ms={self.response_timeout_ms})"


class QueueRedisCluster(Section, frozen=True):
    """The queue in a Redis Cluster: each queue is on the server that has the slot of its name."""

    nodes: tuple[str, ...] = setting(
        (),
        "Some of its servers, in place of `database.redis.cluster.nodes`",
        env="DATABASE_REDIS_CLUSTER_NODES REDIS_CLUSTER_NODES",
        check=useless_redis_nodes,
        secret=True,
        default_port=6379,
    )
    prefix: str = setting("sockudo_queue:", "Begins the names of its keys there", env="REDIS_CLUSTER_QUEUE_PREFIX")
    request_timeout_ms: int = setting(
        5000, "Limit of one call; 0 = a minute", env="REDIS_CLUSTER_QUEUE_REQUEST_TIMEOUT_MS", unit="ms", high=3_600_000
    )

    def __repr__(self) -> str:
        return f"QueueRedisCluster(prefix={self.prefix!r}, request_timeout_ms={self.request_timeout_ms})"


class Queue(Section, frozen=True):
    """Where webhook deliveries wait."""

    driver: str = setting(
        "sqlite",
        "Where webhook deliveries wait: `sqlite` in `data_dir` survives the process; `postgres`, `mysql`, "
        "`redis` or `redis-cluster` are shared by several; `memory` is lost with it; `none` switches webhooks off",
        choices=("sqlite", "redis", "redis-cluster", "memory", "none", "postgres", "mysql"),
        elsewhere=(*_BROKERS, "sqs", "sns"),
        aliases=_SPELLINGS,
    )
    redis: QueueRedis = QueueRedis()
    redis_cluster: QueueRedisCluster = QueueRedisCluster()
    reliability: QueueReliability = QueueReliability()


class WebhookBatching(Section, frozen=True):
    """How events are gathered into one request."""

    enabled: bool = setting(True, "Events are gathered; false: a request each", env="WEBHOOK_BATCHING_ENABLED")
    duration: int = setting(
        50, "How long events are gathered", env="WEBHOOK_BATCHING_DURATION", unit="ms", low=1, high=60_000
    )
    size: int = setting(100, "Events of a request at most", env="WEBHOOK_BATCHING_SIZE", low=1, high=10_000)


class WebhookRetries(Section, frozen=True):
    """How an endpoint that fails is tried again; an app's webhook may have values of its own."""

    enabled: bool = setting(True, "Failed requests are made again", env="")
    max_attempts: int | None = setting(None, "Attempts at most; `none` = as many as fit in the time", env="", low=1)
    max_elapsed_time_ms: int = setting(
        300_000, "Time after which a delivery is given up as a dead letter", env="", unit="ms", low=1
    )
    initial_backoff_ms: int = setting(1000, "Pause after the first attempt; it doubles", env="", unit="ms", low=1)
    max_backoff_ms: int = setting(60_000, "Longest pause", env="", unit="ms", low=1)


class Webhooks(Section, frozen=True):
    """Requests to the endpoints of apps."""

    batching: WebhookBatching = WebhookBatching()
    retry: WebhookRetries = WebhookRetries()
    request_timeout_ms: int = setting(10_000, "Limit of one request", env="", unit="ms", low=1, high=300_000)
    concurrency: int = setting(
        10,
        "Requests at a time of a process to one endpoint, and one of a channel. With 10, an endpoint that takes "
        "50 ms gets two thousand channels one by one within about 10 s",
        env="",
        low=1,
        high=64,
    )
    allow_private_addresses: bool = setting(
        False,
        "Endpoints may have loopback, private and link-local addresses; false refuses them under any name resolves to",
        env="WEBHOOK_ALLOW_PRIVATE_ADDRESSES",
    )
