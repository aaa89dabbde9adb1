"""An app as the running server uses it: the record with every default resolved and every key prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sockudo.apps.policies import RecoveryPolicy, StreamPolicies
from sockudo.apps.signer import Signer
from sockudo.config.apps import App, Features, MessageRateLimit, Namespace

__all__ = ["LiveApp", "LiveLimits"]


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """An app's limits with the server's defaults filled in; 0 means unlimited.

    Sizes are in the unit of their name, a kB being 1024 bytes. ``message_rate_limit`` is None unless it is enabled.
    """

    max_connections: int
    max_client_events_per_second: int
    client_event_window_seconds: int
    terminate_on_limit: bool
    message_rate_limit: MessageRateLimit | None
    max_backend_events_per_second: int
    max_read_requests_per_second: int
    max_presence_members: int
    max_presence_member_kb: int
    max_channel_name_length: int
    max_channels_at_once: int
    max_event_name_length: int
    max_event_payload_kb: int
    max_batch_size: int


@dataclass(frozen=True, slots=True)
class LiveApp:
    """One app, ready for the hot path. Replaced as a whole when its record changes, never altered.

    ``origin_allowed`` decides on an Origin header (None when absent), by the patterns of spec: platform § 1.3.
    ``streams`` is None when nothing is kept of any channel; ``recovery``, the same for all channels, when they keep
    nothing in this process. ``delta_channels`` is the map that `sockudo.config.app_reader` describes, and
    ``v1_recovery`` lets protocol V1 connections resume.
    """

    record: App
    id: str
    key: str
    enabled: bool
    signer: Signer
    limits: LiveLimits
    features: Features
    namespaces: Mapping[str, Namespace]
    origin_allowed: Callable[[str | None], bool]
    idempotency_enabled: bool
    idempotency_ttl: int
    streams: StreamPolicies | None
    recovery: RecoveryPolicy | None
    delta_channels: Mapping[str, Any]
    v1_recovery: bool
