"""What existing configurations contain and this version does not have: keys, sections and variables.

A part that is switched off loads silently, since nothing is lost. One whose switch is on is refused. Everything else
loads with a warning that it has no effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = [
    "INERT",
    "MISNOMERS",
    "NO_EFFECT",
    "PARTS",
    "SWITCHES",
    "is_inert",
    "is_inert_variable",
    "known_below",
    "part_of",
    "part_of_variable",
    "switched_on",
]

_NO_DATABASE = "the databases of this version are SQLite, PostgreSQL and MySQL"
_QUEUE = "webhook deliveries wait in this version's own queue"
_BROKERS = "nats pulsar rabbitmq google_pubsub kafka iggy sqs sns"
_COORDINATION = "every node makes its own differences, and nothing has to be agreed on"
_NODES_BEAT = "nodes know each other by their beats"
_NATS_QUEUES = "what NATS sends is taken at once, so nothing waits in this process"
_WATCHED = "joined nodes always watch each other, several times in each heartbeat"
_WITH_HISTORY = "versions are kept in the store of the history, whose settings hold for them too"
_APPS_IN_MEMORY = "apps are held in memory and changes are seen at once"

PARTS: Mapping[str, str] = {
    "ably_compat": "the Ably-compatible interface is not part of this version",
    "adapter": "it is of a broker, or a setting, that this version does not know",
    "ai_transport": "AI transport is not part of this version",
    "annotations": "annotations are not part of this version",
    "database.dynamodb": _NO_DATABASE,
    "database.scylladb": _NO_DATABASE,
    "database.surrealdb": _NO_DATABASE,
    "history.dynamodb": _NO_DATABASE,
    "history.scylladb": _NO_DATABASE,
    "history.surrealdb": _NO_DATABASE,
    "metrics.tcp_exporter": "the TCP exporter is not part of this version",
}
"""Sections and keys of parts that are not here yet, with the reason."""

NO_EFFECT: Mapping[str, str] = {
    "adapter.nats.client_capacity": _NATS_QUEUES,
    "adapter.nats.discovery_idle_wait_ms": _NODES_BEAT,
    "adapter.nats.discovery_max_wait_ms": _NODES_BEAT,
    "adapter.nats.max_reconnects": "a node that has lost its connection tries again for as long as it runs",
    "adapter.nats.no_echo": "nodes ping themselves through the bus, to see that they are not cut off",
    "adapter.nats.nodes_number": _NODES_BEAT,
    "adapter.nats.presence_sync_chunk_size": "presence is sent in parts of one size",
    "adapter.nats.subscription_capacity": _NATS_QUEUES,
    "adapter.cluster_health.cleanup_interval_ms": _WATCHED,
    "adapter.cluster_health.enabled": _WATCHED,
    "app_manager.cache": _APPS_IN_MEMORY,
    "app_manager.scylladb": "nothing reads it",
    "cache.memory.cleanup_interval": "entries are looked at when they end",
    "cache.memory.ttl": "entries end by `channel_limits.cache_ttl` and `idempotency.ttl_seconds`",
    "cache.redis.cluster_mode": "nothing reads it; the driver is `redis-cluster`",
    "cluster_health": "nothing reads it; the section is `adapter.cluster_health`",
    "database.redis.cluster_nodes": "write them in `database.redis.cluster.nodes`",
    "cleanup": "closed connections are cleaned up at once",
    "database.mysql.cache_cleanup_interval": _APPS_IN_MEMORY,
    "database.mysql.cache_max_capacity": _APPS_IN_MEMORY,
    "database.mysql.cache_ttl": _APPS_IN_MEMORY,
    "database.postgres.cache_cleanup_interval": _APPS_IN_MEMORY,
    "database.postgres.cache_max_capacity": _APPS_IN_MEMORY,
    "database.postgres.cache_ttl": _APPS_IN_MEMORY,
    "database.redis.key_prefix": "what is kept in Redis has a prefix of its own, like `queue.redis.prefix`",
    "delta_compression.cluster_coordination": _COORDINATION,
    "delta_compression.coordination_backend": _COORDINATION,
    "history.memory": "messages in memory have no tables, and no writes to wait for",
    "history.writer_shards": "one writer stores what waits for it in few transactions",
    "http_api.accept_traffic": "nothing reads it",
    "path_prefix": "nothing reads it; let the proxy in front strip the prefix",
    **{f"queue.{broker}": _QUEUE for broker in _BROKERS.split()},
    "queue.redis.cluster_mode": "nothing reads it",
    "queue.redis_cluster.concurrency": "`webhooks.concurrency` says how many requests are made at a time",
    "queue.redis.concurrency": "`webhooks.concurrency` says how many requests are made at a time",
    "queue.reliability": "`webhooks.retry` says how a delivery is tried again; polling has no settings",
    "rate_limiter.api_rate_limit.identifier": "nothing reads it",
    "rate_limiter.redis.cluster_mode": "nothing reads it; the driver is `redis-cluster`",
    "rate_limiter.websocket_rate_limit.identifier": "nothing reads it",
    "ssl.ca_path": "nothing reads it",
    "versioned_messages.driver": _WITH_HISTORY,
    "versioned_messages.max_purge_per_tick": _WITH_HISTORY,
    "versioned_messages.purge_batch_size": _WITH_HISTORY,
    "versioned_messages.purge_interval_seconds": _WITH_HISTORY,
    "ssl.passphrase": "nothing reads it; store the private key without a passphrase, readable by the server alone",
}
"""Sections and keys that this server understands and does not need, with the reason."""

SWITCHES: Sequence[str] = (
    "ably_compat.enabled",
    "ai_transport.enabled",
    "annotations.enabled",
    "metrics.tcp_exporter.enabled",
)
"""Switches of those parts: switching on is refused."""

INERT: frozenset[str] = frozenset(
    {
        "push.accept_worker_count",
        "push.analytics_enabled",
        "push.apns_credential_ref",
        "push.channel_shard_count",
        "push.default_quotas.inflight_max",
        "push.dry_run",
        "push.fanout_sync_threshold",
        "push.fcm_credential_ref",
        "push.hms_credential_ref",
        "push.kms_key_ref",
        "push.payload_redaction",
        "push.queue_partition_count",
        "push.scheduler_interval_secs",
        "push.stale_device_max_age_days",
        "push.vault_secret_ref",
        "push.webpush_credential_ref",
        "push.wns_credential_ref",
    }
)
"""Keys that no server of this kind reads, ours included: files that have them load without a word."""

_INERT_VARIABLES: frozenset[str] = frozenset(
    {*(path.upper().replace(".", "_") for path in INERT), "PUSH_DEFAULT_INFLIGHT_MAX", "PUSH_INFLIGHT_MAX"}
)

MISNOMERS: Mapping[str, str] = {
    "recovery": "connection_recovery",
    "delta": "delta_compression",
    "history.max_items_per_channel": "history.max_messages_per_channel",
    "rate_limiter.limits": "rate_limiter.api_rate_limit",
    "apps": "app_manager.array.apps",
    "app_manager.apps": "app_manager.array.apps",
}
"""Names that people write because they read them somewhere, with the key that exists."""

_PREFIXES: Mapping[str, str] = {
    "ADAPTER_IGGY_": "adapter",
    "AI_TRANSPORT_": "ai_transport",
    "CLEANUP_": "cleanup",
    "DATABASE_DYNAMODB_": "database.dynamodb",
    "DATABASE_SCYLLADB_": "database.scylladb",
    "DATABASE_SURREALDB_": "database.surrealdb",
    "METRICS_TCP_EXPORTER_": "metrics.tcp_exporter",
    "QUEUE_IGGY_": "queue.iggy",
    "QUEUE_SNS_": "queue.sns",
    "QUEUE_SQS_": "queue.sqs",
    "SCYLLADB_": "database.scylladb",
    "SOCKUDO_ABLY_COMPAT_": "ably_compat",
}

# Names that other software uses too are listed one by one: Kubernetes, for one, tells every container NATS_PORT.
_NAMES: Mapping[str, tuple[str, str]] = {
    "adapter": (
        "",
        (
            "PUBSUB_EMULATOR_HOST ADAPTER_BUFFER_MULTIPLIER_PER_CPU "
            "ADAPTER_AGGREGATE_COUNTS ADAPTER_FAST_PRESENCE_TRANSITIONS"
        ),
    ),
    "adapter.nats": (
        "NATS_",
        (
            "NODES_NUMBER DISCOVERY_MAX_WAIT_MS DISCOVERY_IDLE_WAIT_MS CLIENT_CAPACITY SUBSCRIPTION_CAPACITY "
            "MAX_RECONNECTS NO_ECHO PRESENCE_SYNC_CHUNK_SIZE"
        ),
    ),
    "adapter.rabbitmq": ("RABBITMQ_", "URL PREFIX REQUEST_TIMEOUT_MS CONNECTION_TIMEOUT_MS NODES_NUMBER"),
    "adapter.kafka": (
        "KAFKA_",
        "BROKERS PREFIX REQUEST_TIMEOUT_MS SECURITY_PROTOCOL SASL_MECHANISM SASL_USERNAME SASL_PASSWORD NODES_NUMBER",
    ),
    "adapter.pulsar": ("PULSAR_", "URL PREFIX REQUEST_TIMEOUT_MS TOKEN NODES_NUMBER"),
    "adapter.google_pubsub": ("GOOGLE_PUBSUB_", "PROJECT_ID PREFIX REQUEST_TIMEOUT_MS EMULATOR_HOST NODES_NUMBER"),
    "adapter.iggy": (
        "IGGY_",
        (
            "CONNECTION_STRING USERNAME PASSWORD CONSUMER_NAME STREAM TOPIC_PREFIX QUEUE_TOPIC_PREFIX "
            "CONSUMER_GROUP_PREFIX REQUEST_TIMEOUT_MS POLL_INTERVAL_MS POLL_BATCH_SIZE PARTITIONS_COUNT PARTITION_ID "
            "AUTO_CREATE START_FROM_LATEST NODES_NUMBER"
        ),
    ),
    "annotations": ("", "ANNOTATIONS_ENABLED"),
    "adapter.cluster_health.cleanup_interval_ms": ("", "CLUSTER_HEALTH_CLEANUP_INTERVAL"),
    "adapter.cluster_health.enabled": ("", "CLUSTER_HEALTH_ENABLED"),
    "cache.memory.cleanup_interval": ("", "CACHE_CLEANUP_INTERVAL"),
    "database.redis.key_prefix": ("", "DATABASE_REDIS_KEY_PREFIX"),
    "history.writer_shards": ("", "HISTORY_WRITER_SHARDS"),
    "queue.redis.concurrency": ("", "QUEUE_REDIS_CONCURRENCY"),
    "queue.redis_cluster.concurrency": ("", "REDIS_CLUSTER_QUEUE_CONCURRENCY"),
    **{
        f"versioned_messages.{name.lower()}": ("VERSIONED_MESSAGES_", name)
        for name in ("DRIVER", "MAX_PURGE_PER_TICK", "PURGE_BATCH_SIZE", "PURGE_INTERVAL_SECONDS")
    },
    "queue.reliability": (
        "QUEUE_",
        (
            "MAX_ATTEMPTS RETRY_BASE_DELAY_MS RETRY_MAX_DELAY_MS RETRY_JITTER LEASE_DURATION_MS "
            "LEASE_RENEW_INTERVAL_MS STALLED_BATCH_SIZE WORKER_POLL_INTERVAL_MS WORKER_PREFETCH SHUTDOWN_TIMEOUT_MS "
            "EVENT_RETENTION DEDUPLICATION_TTL_MS MAX_BATCH_SIZE"
        ),
    ),
}

_VARIABLES: Mapping[str, str] = {
    f"{prefix}{name}": path for path, (prefix, names) in _NAMES.items() for name in names.split()
}

_SWITCH_VARIABLES: Mapping[str, str] = {switch.upper().replace(".", "_"): switch for switch in SWITCHES}


def part_of(path: str) -> tuple[str, str] | None:
    """The entry of these tables that a dotted path lies in and why it has no effect; None when there is none."""
    while path:
        reason = PARTS.get(path) or NO_EFFECT.get(path)
        if reason is not None:
            return path, reason
        path = path.rpartition(".")[0]
    return None


def is_inert(path: str) -> bool:
    """Whether a dotted path is one of `INERT` or lies in one."""
    return any(path == known or path.startswith(f"{known}.") for known in INERT)


def is_inert_variable(name: str) -> bool:
    """The same for a variable."""
    return name in _INERT_VARIABLES or name.startswith("PUSH_PAYLOAD_REDACTION_")


def part_of_variable(name: str) -> tuple[str, str | None] | None:
    """The dotted path that a variable belongs to, and its switch when it is one; None when it is not in the table."""
    path = _VARIABLES.get(name) or next((path for prefix, path in _PREFIXES.items() if name.startswith(prefix)), None)
    if path is None:
        return None
    return path, _SWITCH_VARIABLES.get(name.removeprefix("SOCKUDO_"))


def switched_on(value: Any) -> bool:
    """True for a boolean that is true and for the words that mean it."""
    return value is True or (isinstance(value, str) and value.strip().lower() in {"true", "1", "yes", "on"})


def known_below(prefix: str) -> Iterator[str]:
    """The names of this table that stand directly under a section (``""`` or ``"section."``)."""
    for path in (*PARTS, *NO_EFFECT, *sorted(INERT)):
        if path.startswith(prefix):
            yield path[len(prefix) :].partition(".")[0]
