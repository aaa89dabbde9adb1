"""From an app's record to the app the hot path uses: defaults filled in, patterns and keys prepared."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from sockudo.apps.live import LiveApp, LiveLimits
from sockudo.apps.policies import StreamDefaults, resolve_recovery, resolve_streams
from sockudo.apps.signer import Signer
from sockudo.config import origins
from sockudo.config.apps import App
from sockudo.config.settings import Settings

__all__ = ["Defaults", "resolve"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Defaults:
    """The server's own values, which hold for every app that does not set its own; 0 means unlimited.

    Sizes are in kB, the time to live in seconds (spec: platform § 1.3, 1.4).
    """

    max_channel_name_length: int = 200
    max_event_name_length: int = 200
    max_channels_at_once: int = 100
    max_event_payload_kb: int = 100
    max_batch_size: int = 10
    max_presence_members: int = 100
    max_presence_member_kb: int = 2
    idempotency_enabled: bool = True
    idempotency_ttl: int = 120
    streams: StreamDefaults = field(default_factory=lambda: StreamDefaults.from_settings(Settings()))

    @classmethod
    def from_settings(cls, settings: Settings) -> Defaults:
        """The values of the configuration."""
        return cls(
            max_channel_name_length=settings.channel_limits.max_name_length,
            max_event_name_length=settings.event_limits.max_name_length,
            max_channels_at_once=settings.event_limits.max_channels_at_once,
            max_event_payload_kb=settings.event_limits.max_payload_in_kb,
            max_batch_size=settings.event_limits.max_batch_size,
            max_presence_members=settings.presence.max_members_per_channel,
            max_presence_member_kb=settings.presence.max_member_size_in_kb,
            idempotency_enabled=settings.idempotency.enabled,
            idempotency_ttl=settings.idempotency.ttl_seconds,
            streams=StreamDefaults.from_settings(settings),
        )


def resolve(app: App, defaults: Defaults) -> LiveApp:
    """The app ready for use; its record must have passed the checks that every record is read with.

    A limit of the app holds when it is set, 0 included; else the server's default does. Backend events and reads have
    no default and are unlimited until set.
    """
    policy = app.policy
    idempotency = policy.idempotency
    return LiveApp(
        record=app,
        id=app.id,
        key=app.key,
        enabled=app.enabled,
        signer=Signer(app.secret, None if app.previous_secret is None else app.previous_secret.secret),
        limits=_limits(app, defaults),
        features=policy.features,
        namespaces=MappingProxyType({namespace.name: namespace for namespace in policy.channels.channel_namespaces}),
        origin_allowed=origins.matcher(policy.channels.allowed_origins),
        idempotency_enabled=_either(idempotency.enabled, defaults.idempotency_enabled),
        idempotency_ttl=_either(idempotency.ttl_seconds, defaults.idempotency_ttl),
        streams=resolve_streams(policy, defaults.streams),
        recovery=resolve_recovery(policy, defaults.streams),
        delta_channels=MappingProxyType(policy.channels.channel_delta_compression or {}),
        v1_recovery=bool(policy.channels.v1_recovery),
    )


def _either(own: _T | None, default: _T) -> _T:
    return default if own is None else own


def _limits(app: App, defaults: Defaults) -> LiveLimits:
    own = app.policy.limits
    frames = own.message_rate_limit
    return LiveLimits(
        max_connections=own.max_connections,
        max_client_events_per_second=own.max_client_events_per_second,
        client_event_window_seconds=own.decay_seconds,
        terminate_on_limit=own.terminate_on_limit,
        message_rate_limit=frames if frames is not None and frames.enabled else None,
        max_backend_events_per_second=_either(own.max_backend_events_per_second, 0),
        max_read_requests_per_second=_either(own.max_read_requests_per_second, 0),
        max_presence_members=_either(own.max_presence_members_per_channel, defaults.max_presence_members),
        max_presence_member_kb=_either(own.max_presence_member_size_in_kb, defaults.max_presence_member_kb),
        max_channel_name_length=_either(own.max_channel_name_length, defaults.max_channel_name_length),
        max_channels_at_once=_either(own.max_event_channels_at_once, defaults.max_channels_at_once),
        max_event_name_length=_either(own.max_event_name_length, defaults.max_event_name_length),
        max_event_payload_kb=_either(own.max_event_payload_in_kb, defaults.max_event_payload_kb),
        max_batch_size=_either(own.max_event_batch_size, defaults.max_batch_size),
    )
