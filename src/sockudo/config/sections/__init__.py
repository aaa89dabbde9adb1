"""The sections of the configuration, declared."""

from __future__ import annotations

from sockudo.config.sections.drivers import (
    Adapter,
    AppManager,
    Cache,
    InlineApps,
    MemoryCache,
    Queue,
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
from sockudo.config.sections.server import Cors, HttpApi, Instance, Logging, Metrics, Prometheus, Ssl, UnixSocket

__all__ = [
    "Adapter",
    "ApiRateLimit",
    "AppManager",
    "Cache",
    "ChannelLimits",
    "Cors",
    "EventLimits",
    "HttpApi",
    "Idempotency",
    "InlineApps",
    "Instance",
    "Logging",
    "MemoryCache",
    "Metrics",
    "Presence",
    "Prometheus",
    "Queue",
    "RateLimit",
    "RateLimiter",
    "Ssl",
    "UnixSocket",
    "WebSocket",
    "WebSocketRateLimit",
]
