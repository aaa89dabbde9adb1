"""What clients may use: ``websocket presence idempotency rate_limiter`` and limits (spec: platform § 1.3, 1.4)."""

from __future__ import annotations

from sockudo.config.keys import Section, setting
from sockudo.config.sections.redis_nodes import RateLimiterRedis

__all__ = [
    "ApiRateLimit",
    "ChannelLimits",
    "EventLimits",
    "FailedAuthLimit",
    "Idempotency",
    "Presence",
    "RateLimit",
    "RateLimiter",
    "WebSocket",
    "WebSocketRateLimit",
]

_BYTES = 2**31 - 1
_WINDOWS = tuple(f"window{size}" for size in ("256b", "512b", "1kb", "2kb", "4kb", "8kb", "16kb", "32kb"))


class WebSocket(Section, frozen=True):
    """Queues, sizes and extensions of WebSocket connections (spec: platform § 9.1)."""

    max_messages: int | None = setting(
        1000,
        "Messages queued for one slow connection; `none` or 0 = 1000, or 10000 where `max_bytes` is set",
        reload=True,
    )
    max_bytes: int | None = setting(
        None,
        "Bytes queued for one slow connection; also the largest message a client may send; `none` or 0 = not set",
        unit="bytes",
        high=_BYTES,
        reload=True,
    )
    max_channels_per_connection: int = setting(
        10_000,
        "Channels, patterns and metachannels that one connection may be subscribed to; 0 = no limit",
        reload=True,
    )
    max_patterns_per_connection: int = setting(100, "Patterns (`news-*`) among them; 0 = no limit", reload=True)
    max_filters_per_connection: int = setting(
        250, "Subscriptions of one connection that have a filter; 0 = no limit", reload=True
    )
    disconnect_on_buffer_full: bool = setting(
        True, "A connection over its queue is closed with 4100; false: the message is dropped for it", reload=True
    )
    max_message_size: int = setting(
        67_108_864, "Upper bound of every limit on messages from clients", unit="bytes", low=1, high=_BYTES, reload=True
    )
    max_frame_size: int = setting(
        16_777_216, "Largest single frame from a client", unit="bytes", low=1, high=_BYTES, reload=True
    )
    write_buffer_size: int = setting(16_384, "Hint: bytes gathered before a write", unit="bytes", high=_BYTES)
    max_backpressure: int = setting(
        1_048_576, "Bytes the transport may hold before a connection counts as slow", unit="bytes", low=1, high=_BYTES
    )
    io_uring: bool = setting(
        True, "Deliveries to many subscribers with one system call, where Linux has io_uring and lets us"
    )
    auto_ping: bool = setting(True, "Native WebSocket pings on protocol V2 connections", reload=True)
    ping_interval: int = setting(30, "Native pings of protocol V2 connections; 0 = off", unit="s", reload=True)
    idle_timeout: int = setting(120, "Silence after which a protocol V2 connection is closed", unit="s", reload=True)
    compression: str = setting(
        "disabled",
        "permessage-deflate: anything but `disabled` offers it",
        choices=("disabled", "dedicated", "shared", *_WINDOWS),
    )


class ChannelLimits(Section, frozen=True):
    """Channels, for apps that set no limits of their own; 0 = no limit."""

    max_name_length: int = setting(
        200, "Longest channel name, where the app sets no limit", env="", unit="characters", reload=True
    )
    cache_ttl: int = setting(
        3600, "How long a cache channel keeps its last event", env="CACHE_TTL_SECONDS", unit="s", low=1, reload=True
    )


class EventLimits(Section, frozen=True):
    """Events, for apps that set no limits of their own; 0 = no limit."""

    max_channels_at_once: int = setting(100, "Channels in one publish", env="", reload=True)
    max_name_length: int = setting(200, "Longest event name", env="", unit="characters", reload=True)
    max_payload_in_kb: int = setting(100, "Largest data of an event", env="", unit="KB", reload=True)
    max_batch_size: int = setting(10, "Events in one batch", env="", reload=True)


class Presence(Section, frozen=True):
    """Presence channels, for apps that set no limits of their own; 0 = no limit."""

    max_members_per_channel: int = setting(100, "Members of one presence channel", env="", reload=True)
    max_member_size_in_kb: int = setting(2, "Largest user_info of a member", env="", unit="KB", reload=True)
    ungraceful_timeout_seconds: int = setting(
        0,
        "How long a member stays whose connection is lost without a close; 0 = it goes at once",
        unit="s",
        reload=True,
    )
    v2_ungraceful_timeout_seconds: int = setting(
        15, "The same for members on protocol V2 connections", unit="s", reload=True
    )
    update_rate_limit_per_member_per_second: int = setting(
        10, "Changes of its data that a member may send in a second; protocol V2 only", low=1, reload=True
    )


class Idempotency(Section, frozen=True):
    """Publishes that carry an idempotency key."""

    enabled: bool = setting(True, "Idempotency keys are honoured", reload=True)
    ttl_seconds: int = setting(120, "How long a key is remembered", unit="s", low=1, reload=True)
    max_key_length: int = setting(128, "Longest key", unit="characters", low=1, reload=True)
    on_failure: str = setting(
        "refuse",
        "While what decides on a key, a node or `cache.driver`, does not answer: publishes with a key are answered "
        "503, or published at the risk of being published twice",
        choices=("refuse", "allow"),
        reload=True,
    )


class RateLimit(Section, frozen=True):
    """Requests of one address in a window. ``trust_hops`` proxies are trusted to add to X-Forwarded-For."""

    max_requests: int | None = None
    window_seconds: int | None = None
    trust_hops: int = 0

    def limit(self, requests: int) -> tuple[int, int] | None:
        """Requests and seconds as configured; None where neither is. ``requests`` count where only the window is."""
        if self.max_requests is None and self.window_seconds is None:
            return None
        return self.max_requests or requests, self.window_seconds or 60


class ApiRateLimit(RateLimit, frozen=True):
    """HTTP API requests of one address."""

    max_requests: int | None = setting(
        None,
        "HTTP API requests of one address in a window, right ones included; not set = those are not limited, only "
        "failed authentication is (`rate_limiter.failed_auth`)",
        env="RATE_LIMITER_API_MAX_REQUESTS",
        low=1,
        reload=True,
    )
    window_seconds: int | None = setting(
        None,
        "The window; set alone, it limits to 100 requests",
        env="RATE_LIMITER_API_WINDOW_SECONDS",
        unit="s",
        low=1,
        reload=True,
        default_text="60, where `max_requests` is set",
    )
    trust_hops: int = setting(
        0,
        "Proxies in front that are trusted to add to X-Forwarded-For; 0 = the peer's address counts",
        env="RATE_LIMITER_API_TRUST_HOPS",
        high=64,
        reload=True,
    )


class WebSocketRateLimit(RateLimit, frozen=True):
    """WebSocket upgrades of one address."""

    max_requests: int | None = setting(
        None,
        "WebSocket upgrades of one address in a window",
        env="RATE_LIMITER_WS_MAX_REQUESTS",
        low=1,
        reload=True,
        default_text="6000 in 60 s: only floods are refused",
    )
    window_seconds: int | None = setting(
        None,
        "The window; set alone, it limits to 20 upgrades",
        env="RATE_LIMITER_WS_WINDOW_SECONDS",
        unit="s",
        low=1,
        reload=True,
        default_text="60",
    )
    trust_hops: int = setting(
        0,
        "Proxies in front that are trusted to add to X-Forwarded-For; 0 = the peer's address counts",
        env="RATE_LIMITER_WS_TRUST_HOPS",
        high=64,
        reload=True,
    )


class FailedAuthLimit(Section, frozen=True):
    """Failed authentication of one address on the HTTP API; right requests of the address are answered all the same."""

    max_requests: int = setting(
        100,
        "Requests of one address in a window whose key, signature or time is wrong; more are answered with 429",
        low=1,
        reload=True,
    )
    window_seconds: int = setting(60, "The window", unit="s", low=1, reload=True)


class RateLimiter(Section, frozen=True):
    """Rate limits by address (spec: platform § 4.3)."""

    enabled: bool = setting(True, "Requests are limited by address", reload=True)
    driver: str = setting(
        "memory",
        "Where hits of addresses and apps are added up: in the `memory` of the nodes, or outside of them in `redis`, "
        "`redis-cluster` or `postgres`; `none` = no limit of addresses",
        choices=("memory", "redis", "redis-cluster", "postgres", "none"),
        aliases=(("redis_cluster", "redis-cluster"), ("pgsql", "postgres"), ("postgresql", "postgres")),
    )
    on_failure: str = setting(
        "local",
        "Limits of addresses and apps while what adds up their hits, a node or `driver`, does not answer: a share of "
        "the limit on each node, none, or everything is refused",
        choices=("local", "open", "closed"),
        reload=True,
    )
    redis: RateLimiterRedis = RateLimiterRedis()
    api_rate_limit: ApiRateLimit = ApiRateLimit()
    websocket_rate_limit: WebSocketRateLimit = WebSocketRateLimit()
    failed_auth: FailedAuthLimit = FailedAuthLimit()
