"""What clients may use: ``websocket presence idempotency rate_limiter`` and limits (spec: platform § 1.3, 1.4)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sockudo.config.keys import Key

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


class WebSocket(msgspec.Struct, frozen=True):
    """Queues, sizes and extensions of WebSocket connections (spec: platform § 9.1)."""

    max_messages: Annotated[
        int | None,
        Key(
            "Messages queued for one slow connection; `none` or 0 = 1000, or 10000 where `max_bytes` is set",
            env="WEBSOCKET_MAX_MESSAGES",
            reload=True,
        ),
    ] = 1000
    max_bytes: Annotated[
        int | None,
        Key(
            "Bytes queued for one slow connection; also the largest message a client may send; `none` or 0 = not set",
            env="WEBSOCKET_MAX_BYTES",
            unit="bytes",
            high=_BYTES,
            reload=True,
        ),
    ] = None
    max_channels_per_connection: Annotated[
        int,
        Key(
            "Channels, patterns and metachannels that one connection may be subscribed to; 0 = no limit",
            env="WEBSOCKET_MAX_CHANNELS_PER_CONNECTION",
            reload=True,
        ),
    ] = 10_000
    max_patterns_per_connection: Annotated[
        int,
        Key(
            "Patterns (`news-*`) among them; 0 = no limit",
            env="WEBSOCKET_MAX_PATTERNS_PER_CONNECTION",
            reload=True,
        ),
    ] = 100
    max_filters_per_connection: Annotated[
        int,
        Key(
            "Subscriptions of one connection that have a filter; 0 = no limit",
            env="WEBSOCKET_MAX_FILTERS_PER_CONNECTION",
            reload=True,
        ),
    ] = 250
    disconnect_on_buffer_full: Annotated[
        bool,
        Key(
            "A connection over its queue is closed with 4100; false: the message is dropped for it",
            env="WEBSOCKET_DISCONNECT_ON_BUFFER_FULL",
            reload=True,
        ),
    ] = True
    max_message_size: Annotated[
        int,
        Key(
            "Upper bound of every limit on messages from clients",
            env="WEBSOCKET_MAX_MESSAGE_SIZE",
            unit="bytes",
            low=1,
            high=_BYTES,
            reload=True,
        ),
    ] = 67_108_864
    max_frame_size: Annotated[
        int,
        Key(
            "Largest single frame from a client",
            env="WEBSOCKET_MAX_FRAME_SIZE",
            unit="bytes",
            low=1,
            high=_BYTES,
            reload=True,
        ),
    ] = 16_777_216
    write_buffer_size: Annotated[
        int,
        Key("Hint: bytes gathered before a write", env="WEBSOCKET_WRITE_BUFFER_SIZE", unit="bytes", high=_BYTES),
    ] = 16_384
    max_backpressure: Annotated[
        int,
        Key(
            "Bytes the transport may hold before a connection counts as slow",
            env="WEBSOCKET_MAX_BACKPRESSURE",
            unit="bytes",
            low=1,
            high=_BYTES,
        ),
    ] = 1_048_576
    io_uring: Annotated[
        bool,
        Key(
            "Deliveries to many subscribers with one system call, where Linux has io_uring and lets us",
            env="WEBSOCKET_IO_URING",
        ),
    ] = True
    auto_ping: Annotated[
        bool, Key("Native WebSocket pings on protocol V2 connections", env="WEBSOCKET_AUTO_PING", reload=True)
    ] = True
    ping_interval: Annotated[
        int,
        Key("Native pings of protocol V2 connections; 0 = off", env="WEBSOCKET_PING_INTERVAL", unit="s", reload=True),
    ] = 30
    idle_timeout: Annotated[
        int,
        Key(
            "Silence after which a protocol V2 connection is closed",
            env="WEBSOCKET_IDLE_TIMEOUT",
            unit="s",
            reload=True,
        ),
    ] = 120
    compression: Annotated[
        str,
        Key(
            "permessage-deflate: anything but `disabled` offers it",
            env="WEBSOCKET_COMPRESSION",
            choices=("disabled", "dedicated", "shared", *_WINDOWS),
        ),
    ] = "disabled"


class ChannelLimits(msgspec.Struct, frozen=True):
    """Channels, for apps that set no limits of their own; 0 = no limit."""

    max_name_length: Annotated[
        int, Key("Longest channel name, where the app sets no limit", unit="characters", reload=True)
    ] = 200
    cache_ttl: Annotated[
        int, Key("How long a cache channel keeps its last event", env="CACHE_TTL_SECONDS", unit="s", low=1, reload=True)
    ] = 3600


class EventLimits(msgspec.Struct, frozen=True):
    """Events, for apps that set no limits of their own; 0 = no limit."""

    max_channels_at_once: Annotated[int, Key("Channels in one publish", reload=True)] = 100
    max_name_length: Annotated[int, Key("Longest event name", unit="characters", reload=True)] = 200
    max_payload_in_kb: Annotated[int, Key("Largest data of an event", unit="KB", reload=True)] = 100
    max_batch_size: Annotated[int, Key("Events in one batch", reload=True)] = 10


class Presence(msgspec.Struct, frozen=True):
    """Presence channels, for apps that set no limits of their own; 0 = no limit."""

    max_members_per_channel: Annotated[int, Key("Members of one presence channel", reload=True)] = 100
    max_member_size_in_kb: Annotated[int, Key("Largest user_info of a member", unit="KB", reload=True)] = 2
    ungraceful_timeout_seconds: Annotated[
        int,
        Key(
            "How long a member stays whose connection is lost without a close; 0 = it goes at once",
            env="PRESENCE_UNGRACEFUL_TIMEOUT_SECONDS",
            unit="s",
            reload=True,
        ),
    ] = 0
    v2_ungraceful_timeout_seconds: Annotated[
        int,
        Key(
            "The same for members on protocol V2 connections",
            env="PRESENCE_V2_UNGRACEFUL_TIMEOUT_SECONDS",
            unit="s",
            reload=True,
        ),
    ] = 15
    update_rate_limit_per_member_per_second: Annotated[
        int,
        Key(
            "Changes of its data that a member may send in a second; protocol V2 only",
            env="PRESENCE_UPDATE_RATE_LIMIT_PER_MEMBER_PER_SECOND",
            low=1,
            reload=True,
        ),
    ] = 10


class Idempotency(msgspec.Struct, frozen=True):
    """Publishes that carry an idempotency key."""

    enabled: Annotated[bool, Key("Idempotency keys are honoured", env="IDEMPOTENCY_ENABLED", reload=True)] = True
    ttl_seconds: Annotated[
        int, Key("How long a key is remembered", env="IDEMPOTENCY_TTL_SECONDS", unit="s", low=1, reload=True)
    ] = 120
    max_key_length: Annotated[
        int, Key("Longest key", env="IDEMPOTENCY_MAX_KEY_LENGTH", unit="characters", low=1, reload=True)
    ] = 128
    on_failure: Annotated[
        str,
        Key(
            "While the node that owns a key does not answer: publishes with a key are answered 503, or published at "
            "the risk of being published twice",
            env="IDEMPOTENCY_ON_FAILURE",
            choices=("refuse", "allow"),
            reload=True,
        ),
    ] = "refuse"


class RateLimit(msgspec.Struct, frozen=True):
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

    max_requests: Annotated[
        int | None,
        Key(
            "HTTP API requests of one address in a window, right ones included; not set = those are not limited, only "
            "failed authentication is (`rate_limiter.failed_auth`)",
            env="RATE_LIMITER_API_MAX_REQUESTS",
            low=1,
            reload=True,
        ),
    ] = None
    window_seconds: Annotated[
        int | None,
        Key(
            "The window; set alone, it limits to 100 requests",
            env="RATE_LIMITER_API_WINDOW_SECONDS",
            unit="s",
            low=1,
            reload=True,
            default_text="60, where `max_requests` is set",
        ),
    ] = None
    trust_hops: Annotated[
        int,
        Key(
            "Proxies in front that are trusted to add to X-Forwarded-For; 0 = the peer's address counts",
            env="RATE_LIMITER_API_TRUST_HOPS",
            high=64,
            reload=True,
        ),
    ] = 0


class WebSocketRateLimit(RateLimit, frozen=True):
    """WebSocket upgrades of one address."""

    max_requests: Annotated[
        int | None,
        Key(
            "WebSocket upgrades of one address in a window",
            env="RATE_LIMITER_WS_MAX_REQUESTS",
            low=1,
            reload=True,
            default_text="6000 in 60 s: only floods are refused",
        ),
    ] = None
    window_seconds: Annotated[
        int | None,
        Key(
            "The window; set alone, it limits to 20 upgrades",
            env="RATE_LIMITER_WS_WINDOW_SECONDS",
            unit="s",
            low=1,
            reload=True,
            default_text="60",
        ),
    ] = None
    trust_hops: Annotated[
        int,
        Key(
            "Proxies in front that are trusted to add to X-Forwarded-For; 0 = the peer's address counts",
            env="RATE_LIMITER_WS_TRUST_HOPS",
            high=64,
            reload=True,
        ),
    ] = 0


class FailedAuthLimit(msgspec.Struct, frozen=True):
    """Failed authentication of one address on the HTTP API; right requests of the address are answered all the same."""

    max_requests: Annotated[
        int,
        Key(
            "Requests of one address in a window whose key, signature or time is wrong; more are answered with 429",
            env="RATE_LIMITER_FAILED_AUTH_MAX_REQUESTS",
            low=1,
            reload=True,
        ),
    ] = 100
    window_seconds: Annotated[
        int, Key("The window", env="RATE_LIMITER_FAILED_AUTH_WINDOW_SECONDS", unit="s", low=1, reload=True)
    ] = 60


class RateLimiter(msgspec.Struct, frozen=True):
    """Rate limits by address (spec: platform § 4.3)."""

    enabled: Annotated[bool, Key("Requests are limited by address", env="RATE_LIMITER_ENABLED", reload=True)] = True
    driver: Annotated[
        str,
        Key(
            "Where counts are kept; `none` = no limit",
            env="RATE_LIMITER_DRIVER",
            choices=("memory", "none"),
            elsewhere=("redis", "redis-cluster"),
            aliases=(("redis_cluster", "redis-cluster"),),
        ),
    ] = "memory"
    on_failure: Annotated[
        str,
        Key(
            "Limits of addresses and apps while the node that adds up their hits does not answer: a share of the limit "
            "on each node, none, or everything is refused",
            env="RATE_LIMITER_ON_FAILURE",
            choices=("local", "open", "closed"),
            reload=True,
        ),
    ] = "local"
    api_rate_limit: ApiRateLimit = ApiRateLimit()
    websocket_rate_limit: WebSocketRateLimit = WebSocketRateLimit()
    failed_auth: FailedAuthLimit = FailedAuthLimit()
