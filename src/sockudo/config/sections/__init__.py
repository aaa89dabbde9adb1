"""The sections of the configuration, declared."""

from __future__ import annotations

from sockudo.config.sections.dashboard import Dashboard
from sockudo.config.sections.databases import AdapterPostgres, Database, DatabasePooling, Mysql, Postgres, SqlDatabase
from sockudo.config.sections.delivery import (
    DeltaCompression,
    EchoControl,
    Ephemeral,
    EventNameFiltering,
    TagFiltering,
)
from sockudo.config.sections.drivers import (
    Adapter,
    AppManager,
    Cache,
    Cluster,
    ClusterHealth,
    InlineApps,
    MemoryCache,
)
from sockudo.config.sections.limits import (
    ApiRateLimit,
    ChannelLimits,
    EventLimits,
    Idempotency,
    Presence,
    RateLimit,
    RateLimiter,
    WebSocket,
    WebSocketRateLimit,
)
from sockudo.config.sections.nats import AdapterNats, NatsTls
from sockudo.config.sections.push import (
    Push,
    PushBackpressure,
    PushCircuitBreaker,
    PushDefaultQuotas,
    PushQuotas,
    PushRetry,
)
from sockudo.config.sections.push_providers import PushApns, PushFcm, PushHms, PushWebpush, PushWns
from sockudo.config.sections.redis import Redis, RedisAccess, RedisServer, RedisTls
from sockudo.config.sections.redis_nodes import AdapterCluster, AdapterRedis
from sockudo.config.sections.server import Cors, HttpApi, Instance, Logging, Metrics, Prometheus, Ssl, UnixSocket
from sockudo.config.sections.streams import (
    ConnectionRecovery,
    History,
    HistoryMysql,
    HistoryPostgres,
    HistorySqlite,
    HistoryTables,
    PresenceHistory,
)
from sockudo.config.sections.webhooks import (
    Queue,
    QueueRedis,
    QueueReliability,
    WebhookBatching,
    WebhookRetries,
    Webhooks,
)

__all__ = [
    "Adapter",
    "AdapterCluster",
    "AdapterNats",
    "AdapterPostgres",
    "AdapterRedis",
    "ApiRateLimit",
    "AppManager",
    "Cache",
    "ChannelLimits",
    "Cluster",
    "ClusterHealth",
    "ConnectionRecovery",
    "Cors",
    "Dashboard",
    "Database",
    "DatabasePooling",
    "DeltaCompression",
    "EchoControl",
    "Ephemeral",
    "EventLimits",
    "EventNameFiltering",
    "History",
    "HistoryMysql",
    "HistoryPostgres",
    "HistorySqlite",
    "HistoryTables",
    "HttpApi",
    "Idempotency",
    "InlineApps",
    "Instance",
    "Logging",
    "MemoryCache",
    "Metrics",
    "Mysql",
    "NatsTls",
    "Postgres",
    "Presence",
    "PresenceHistory",
    "Prometheus",
    "Push",
    "PushApns",
    "PushBackpressure",
    "PushCircuitBreaker",
    "PushDefaultQuotas",
    "PushFcm",
    "PushHms",
    "PushQuotas",
    "PushRetry",
    "PushWebpush",
    "PushWns",
    "Queue",
    "QueueRedis",
    "QueueReliability",
    "RateLimit",
    "RateLimiter",
    "Redis",
    "RedisAccess",
    "RedisServer",
    "RedisTls",
    "SqlDatabase",
    "Ssl",
    "TagFiltering",
    "UnixSocket",
    "WebSocket",
    "WebSocketRateLimit",
    "WebhookBatching",
    "WebhookRetries",
    "Webhooks",
]
