"""What is kept of each channel of an app: for recovery, as history, as presence history
(spec: platform § 2.1; history § 9).

A namespace's own value holds first, then the app's, then the server's. Everything is settled when the app's record is
read, so that the hot path only looks up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sockudo.base.message_records import log_of
from sockudo.base.stream_records import Retention
from sockudo.config.apps import ConnectionRecovery, History, Namespace, NamespaceHistory, Policy, PresenceHistory
from sockudo.config.sections.streams import VersionedMessages
from sockudo.config.settings import Settings
from sockudo.protocol.names import CHANNEL_PREFIXES, USER_CHANNEL_PREFIX, namespace_of

__all__ = [
    "HistoryPolicy",
    "PresenceHistoryPolicy",
    "RecoveryPolicy",
    "StreamDefaults",
    "StreamPolicies",
    "StreamPolicy",
    "VersionsPolicy",
    "resolve_recovery",
    "resolve_streams",
]


@dataclass(frozen=True, slots=True)
class RecoveryPolicy:
    """How long, in seconds, and how many messages a channel keeps in this process."""

    buffer_ttl: float
    max_size: int


@dataclass(frozen=True, slots=True)
class HistoryPolicy:
    """What is stored of a channel, and whether a subscription may begin with it."""

    rewind: bool
    retention: Retention


@dataclass(frozen=True, slots=True)
class PresenceHistoryPolicy:
    """What is stored of the comings and goings on a presence channel; ``max_messages`` counts these events."""

    retention: Retention


@dataclass(frozen=True, slots=True)
class VersionsPolicy:
    """How long versions of messages are kept; how long a message may become, and how many appends it may have.

    0 bytes or appends are no bound.
    """

    retention: Retention
    max_message_bytes: int = 0
    max_appends: int = 0


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """Everything that is kept of a channel; None is what is not. ``versions`` are kept with a history alone."""

    recovery: RecoveryPolicy | None = None
    history: HistoryPolicy | None = None
    presence_history: PresenceHistoryPolicy | None = None
    versions: VersionsPolicy | None = None


@dataclass(frozen=True, slots=True)
class StreamDefaults:
    """The server's own values, every field set; 0 messages, events or bytes mean no limit.

    ``versions`` is None while messages cannot change.
    """

    recovery: ConnectionRecovery
    history: History
    presence_history: PresenceHistory
    versions: VersionsPolicy | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> StreamDefaults:
        """The values of the configuration."""
        recovery, history, presence = settings.connection_recovery, settings.history, settings.presence_history
        return cls(
            ConnectionRecovery(
                enabled=recovery.enabled,
                buffer_ttl_seconds=recovery.buffer_ttl_seconds,
                max_buffer_size=recovery.max_buffer_size,
            ),
            History(
                enabled=history.enabled,
                rewind_enabled=history.rewind_enabled,
                retention_window_seconds=history.retention_window_seconds,
                max_messages_per_channel=history.max_messages_per_channel or 0,
                max_bytes_per_channel=history.max_bytes_per_channel or 0,
            ),
            PresenceHistory(
                enabled=presence.enabled,
                retention_window_seconds=presence.retention_window_seconds,
                max_events_per_channel=presence.max_events_per_channel or 0,
                max_bytes_per_channel=presence.max_bytes_per_channel or 0,
            ),
            _versions(settings.versioned_messages),
        )


@dataclass(frozen=True, slots=True)
class StreamPolicies:
    """The policies of all channels of an app.

    ``by_head`` holds those of its namespaces by what stands before the first ``:`` of a channel's name, the prefix of
    the channel's kind included; ``common`` holds for every other channel.
    """

    common: StreamPolicy
    by_head: Mapping[str, StreamPolicy]

    def of(self, channel: str) -> StreamPolicy:
        """The policy of a channel; costs a look-up, and that only for apps with namespaces that change something."""
        if not self.by_head or ":" not in channel:
            return self.common
        return self.by_head.get(channel[: channel.index(":")], self.common)

    def versions_of(self, channel: str) -> VersionsPolicy | None:
        """The policy of a channel whose messages can change; None for every other one, and for one user's own."""
        versions = self.of(channel).versions
        return None if versions is None or channel.startswith(USER_CHANNEL_PREFIX) else versions

    def stream_of(self, channel: str) -> str:
        """The stream that a channel's messages are delivered in the order of: its log, where they can change."""
        return channel if self.versions_of(channel) is None else log_of(channel)

    @property
    def change(self) -> bool:
        """Whether messages of any channel can change."""
        return any(policy.versions for policy in (self.common, *self.by_head.values()))

    @property
    def stores(self) -> bool:
        """Whether anything of any channel has to outlive the process: a presence history does where a history does."""
        return any(policy.history for policy in (self.common, *self.by_head.values()))

    @property
    def keeps_presence(self) -> bool:
        """Whether any channel has a presence history."""
        return any(policy.presence_history for policy in (self.common, *self.by_head.values()))


_NO_OVERRIDE: Final = Namespace("")


def resolve_streams(policy: Policy, defaults: StreamDefaults) -> StreamPolicies | None:
    """The policies of an app; None when nothing is kept of any of its channels."""
    recovery = resolve_recovery(policy, defaults)

    def settled(namespace: Namespace) -> StreamPolicy:
        history = _history(namespace.history, policy.history, defaults.history)
        return StreamPolicy(
            recovery,
            history,
            _presence_history(namespace.presence_history, policy.presence_history, defaults.presence_history),
            None if history is None else defaults.versions,
        )

    common = settled(_NO_OVERRIDE)
    by_head: dict[str, StreamPolicy] = {}
    for namespace in policy.channels.channel_namespaces:
        own = settled(namespace)
        if own != common:
            by_head.update(dict.fromkeys(_heads(namespace.name), own))
    if common == StreamPolicy() and not by_head:
        return None
    return StreamPolicies(common, by_head)


def resolve_recovery(policy: Policy, defaults: StreamDefaults) -> RecoveryPolicy | None:
    """What all channels of an app keep in this process; None when that is nothing."""
    own, usual = policy.connection_recovery, defaults.recovery
    if not _first(own.enabled, usual.enabled):
        return None
    return RecoveryPolicy(
        float(_first(own.buffer_ttl_seconds, usual.buffer_ttl_seconds)),
        _first(own.max_buffer_size, usual.max_buffer_size),
    )


def _heads(namespace: str) -> Iterator[str]:
    for prefix in ("", *CHANNEL_PREFIXES):
        # Not of a namespace that is itself called like a kind: `private-a:b` lies in `a`, never in `private-a`.
        if namespace_of(f"{prefix}{namespace}:") == namespace:
            yield f"{prefix}{namespace}"


def _history(namespace: NamespaceHistory, own: History, usual: History) -> HistoryPolicy | None:
    if not _first(own.enabled, usual.enabled):
        return None
    layers = (namespace, own, usual)
    return HistoryPolicy(
        bool(_first(*(layer.rewind_enabled for layer in layers))),
        _retention(
            _first(*(layer.retention_window_seconds for layer in layers)),
            _first(*(layer.max_messages_per_channel for layer in layers)),
            _first(*(layer.max_bytes_per_channel for layer in layers)),
        ),
    )


def _versions(settings: VersionedMessages) -> VersionsPolicy | None:
    window = settings.retention_window_seconds * 1000
    if not settings.enabled:
        return None
    return VersionsPolicy(Retention(window or None), settings.max_message_bytes, settings.max_appends_per_message)


def _presence_history(*layers: PresenceHistory) -> PresenceHistoryPolicy | None:
    if not _first(*(layer.enabled for layer in layers)):
        return None
    return PresenceHistoryPolicy(
        _retention(
            _first(*(layer.retention_window_seconds for layer in layers)),
            _first(*(layer.max_events_per_channel for layer in layers)),
            _first(*(layer.max_bytes_per_channel for layer in layers)),
        )
    )


def _retention(seconds: int, count: int, size: int) -> Retention:
    return Retention(seconds * 1000, count or None, size or None)


def _first(*values: int | None) -> int:
    """The first value that is set; the last one, a server's own, always is."""
    return next(value for value in values if value is not None)
