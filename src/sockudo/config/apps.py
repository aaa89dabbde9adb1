"""The record of an app and the limits that hold for it (spec: platform § 2.1).

Plain data: reading it from a file, a table or the flat legacy form is the part of the module that has the bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "App",
    "Channels",
    "ConnectionRecovery",
    "Features",
    "History",
    "Idempotency",
    "Limits",
    "MessageRateLimit",
    "Namespace",
    "NamespaceHistory",
    "Policy",
    "PresenceHistory",
    "PreviousSecret",
]


class MessageRateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limit on every inbound frame of a socket, in a fixed window of ``decay_seconds``."""

    enabled: bool = False
    max_attempts: int = 60
    decay_seconds: int = 60
    terminate_on_limit: bool = False


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an app may use. None means: the server's default for it; sizes are in the unit of their name."""

    max_connections: int = 0
    max_client_events_per_second: int = 0
    decay_seconds: int = 1
    terminate_on_limit: bool = False
    message_rate_limit: MessageRateLimit | None = None
    max_backend_events_per_second: int | None = None
    max_read_requests_per_second: int | None = None
    max_presence_members_per_channel: int | None = None
    max_presence_member_size_in_kb: int | None = None
    max_channel_name_length: int | None = None
    max_event_channels_at_once: int | None = None
    max_event_name_length: int | None = None
    max_event_payload_in_kb: int | None = None
    max_event_batch_size: int | None = None


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an app may do; everything optional is off until switched on."""

    enable_client_messages: bool = False
    enable_user_authentication: bool | None = None
    enable_watchlist_events: bool | None = None
    enable_subscription_count: bool | None = None
    enable_subscription_error: bool | None = None


class NamespaceHistory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much is stored of a channel; None means the app's value. 0 messages or bytes mean no limit."""

    rewind_enabled: bool | None = None
    retention_window_seconds: int | None = None
    max_messages_per_channel: int | None = None
    max_bytes_per_channel: int | None = None


class History(NamespaceHistory, frozen=True, forbid_unknown_fields=True):
    """Whether and how much is stored of the channels of an app; None means the server's value."""

    enabled: bool | None = None


class PresenceHistory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether and how much is stored of who comes and goes; None means the next wider value. 0 means no limit."""

    enabled: bool | None = None
    retention_window_seconds: int | None = None
    max_events_per_channel: int | None = None
    max_bytes_per_channel: int | None = None


class Namespace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules for the channels whose logical name begins with ``name:`` (spec: websocket § 6.2)."""

    name: str
    channel_name_pattern: str | None = None
    max_channel_name_length: int | None = None
    annotations_enabled: bool | None = None
    allow_user_limited_channels: bool | None = None
    allow_subscribe_for_client: bool | None = None
    allow_publish_for_client: bool | None = None
    allow_presence_for_client: bool | None = None
    history: NamespaceHistory = NamespaceHistory()
    presence_history: PresenceHistory = PresenceHistory()


class Channels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which pages may connect, how channels are named and what they can do.

    ``channel_delta_compression`` maps patterns to what `sockudo.config.app_reader` describes.
    """

    allowed_origins: tuple[str, ...] = ()
    annotations_enabled: bool | None = None
    channel_delta_compression: dict[str, Any] | None = None
    channel_namespaces: tuple[Namespace, ...] = ()
    v1_recovery: bool | None = None


class Idempotency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An app's own values in place of the server's; None means the server's."""

    enabled: bool | None = None
    ttl_seconds: int | None = None


class ConnectionRecovery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An app's own values in place of the server's; None means the server's."""

    enabled: bool | None = None
    buffer_ttl_seconds: int | None = None
    max_buffer_size: int | None = None


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about an app besides its credentials.

    Webhooks are kept as they came, so that a record survives a round trip; see `sockudo.config.webhooks`.
    """

    limits: Limits = Limits()
    features: Features = Features()
    channels: Channels = Channels()
    webhooks: tuple[dict[str, Any], ...] = ()
    idempotency: Idempotency = Idempotency()
    connection_recovery: ConnectionRecovery = ConnectionRecovery()
    history: History = History()
    presence_history: PresenceHistory = PresenceHistory()


class PreviousSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret that was replaced and is accepted ``until`` then, in Unix seconds. It never leaves through ``repr``."""

    secret: str = ""
    until: int = 0

    def __repr__(self) -> str:
        return f"PreviousSecret(until={self.until})"


class App(msgspec.Struct, frozen=True):
    """One tenant of the server: credentials and policy. The secret never leaves through ``repr``."""

    id: str
    key: str
    secret: str
    enabled: bool = False
    policy: Policy = Policy()
    previous_secret: PreviousSecret | None = None

    def __repr__(self) -> str:
        return f"App(id={self.id!r}, key={self.key!r}, enabled={self.enabled})"
