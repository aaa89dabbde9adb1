"""What the push store keeps (spec: push § 2, 3). Times are Unix milliseconds; JSON names are camelCase."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from sockudo.push.recipients import Provider, Recipient, token_hash

__all__ = [
    "TERMINAL",
    "Counters",
    "Credential",
    "DeadLetter",
    "DeliveryEvent",
    "DeliveryResult",
    "Device",
    "DeviceState",
    "FailureClass",
    "FailureSample",
    "Localized",
    "Outcome",
    "OutcomeError",
    "Override",
    "Payload",
    "PublishIntent",
    "PublishStatus",
    "RatePolicy",
    "Regime",
    "ScheduledJob",
    "Shard",
    "State",
    "Subscription",
    "Target",
    "TargetType",
    "Template",
]

TargetType = Literal[
    "device",
    "client",
    "channel",
    "recipient",
    "registeredTopic",
    "userTopic",
    "providerTopic",
    "providerCondition",
    "indexedFilter",
]
DeviceState = Literal["ACTIVE", "FAILING", "FAILED"]
Regime = Literal["fastPath", "shardPath"]
State = Literal[
    "queued",
    "planning",
    "throttled",
    "dispatching",
    "cancelled",
    "expired",
    "failed",
    "succeeded",
    "partiallySucceeded",
    "quota_exceeded",
    "dead_lettered",
]
Outcome = Literal["accepted", "rejected", "retryable", "expired", "cancelled"]
FailureClass = Literal[
    "device_terminal",
    "device_transient",
    "provider_quota",
    "provider_transient",
    "credential_auth",
    "caller_payload",
    "network_transport",
    "unknown",
]

TERMINAL: Final[frozenset[State]] = frozenset(
    {"cancelled", "expired", "failed", "succeeded", "partiallySucceeded", "quota_exceeded", "dead_lettered"}
)


class _Record(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Changed by `msgspec.structs.replace`."""


# ---- devices and subscriptions ----


class RatePolicy(_Record, frozen=True, kw_only=True):
    """How many notifications a device gets at once; both numbers are positive."""

    capacity: float
    refill_per_second: float


class Device(_Record, frozen=True, kw_only=True):
    """A registered device. ``secret_hash`` is that of its identity token (spec: push § 2.1); None without one."""

    app_id: str
    id: str
    client_id: str | None = None
    form_factor: str
    platform: str
    metadata: Any = None
    timezone: str
    locale: str
    last_active_at_ms: int = 0
    state: DeviceState = "ACTIVE"
    failure_count: int = 0
    error_reason: str | None = None
    recipient: Recipient
    rate_policy: RatePolicy | None = None
    secret_hash: str | None = None

    @property
    def token_hash(self) -> str:
        return token_hash(self.recipient.token)

    def __repr__(self) -> str:
        return f"<Device {self.app_id} {self.id}>"


class Subscription(_Record, frozen=True, kw_only=True):
    """A device on a channel; ``provider`` and ``token_hash`` as given, or as the device had them then."""

    app_id: str
    channel: str
    device_id: str
    client_id: str | None = None
    provider: Provider
    token_hash: str
    credential_version: int | None = None


# ---- what an app has with the providers, and its texts ----


class Credential(_Record, frozen=True, kw_only=True):
    """Secrets of ``material`` are envelopes (spec: push § 2.3): nothing in here opens one without the server's key."""

    app_id: str
    credential_id: str
    provider: Provider
    version: int = 1
    material: dict[str, str]
    updated_at_ms: int = 0


class Localized(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """A template's text in one language."""

    title: str
    body: str
    icon: str | None = None
    sound: str | None = None
    collapse_key: str | None = None


class Override(_Record, frozen=True, kw_only=True):
    """A payload in a provider's own shape, instead of the generic one."""

    provider: Provider
    payload: dict[str, Any]


class Template(_Record, frozen=True, kw_only=True):
    app_id: str
    template_id: str
    default_locale: str
    locales: dict[str, Localized]
    provider_overrides: dict[str, Override] = {}


# ---- publishes ----


class Payload(_Record, frozen=True, kw_only=True):
    """A notification as the caller means it, merged with its template, placeholders still in place."""

    title: str | None = None
    body: str | None = None
    icon: str | None = None
    sound: str | None = None
    collapse_key: str | None = None
    template_id: str | None = None
    template_data: dict[str, Any] | None = None


class Target(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of ``recipients`` (spec: push § 3): ``type`` determines which of the others it has."""

    type: TargetType
    device_id: str | None = None
    client_id: str | None = None
    channel: str | None = None
    recipient: Recipient | None = None
    provider: Provider | None = None
    topic: str | None = None
    condition: str | None = None
    filter: str | None = None


class PublishIntent(_Record, frozen=True, kw_only=True):
    """An accepted publish: all that planning needs, independent of later changes."""

    app_id: str
    publish_id: str
    targets: list[Target]
    payload: Payload
    overrides: list[Override] = []
    not_before_ms: int | None = None
    expires_at_ms: int | None = None
    regime: Regime
    accepted_at_ms: int
    # W3C headers of the request that published it.
    trace: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<PublishIntent {self.app_id} {self.publish_id}>"


class Counters(_Record, frozen=True, kw_only=True):
    """What became of a publish so far (spec: push § 6)."""

    planned: int = 0
    dispatched: int = 0
    succeeded: int = 0
    failed: int = 0
    expired: int = 0
    retry_scheduled: int = 0
    retry_attempted: int = 0
    dead_lettered: int = 0

    @property
    def settled(self) -> int:
        """Recipients for which nothing more will happen."""
        return self.succeeded + self.failed + self.expired + self.dead_lettered


class FailureSample(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """How often a provider failed in one way, and its reason for one of them; holds no token and no endpoint."""

    provider: Provider
    failure_class: FailureClass
    code: str
    count: int = 0
    device_id: str | None = None
    reason: str | None = None


class PublishStatus(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """Where a publish stands. ``code`` is the catalogue's word for ``error_reason``.

    ``revision`` and ``updated_at_ms`` are the store's: a status is changed only if it still has the ones that were
    read.
    """

    app_id: str
    publish_id: str
    state: State
    counters: Counters = Counters()
    regime: Regime | None = msgspec.field(default=None, name="fanoutRegime")
    retry_after_ms: int | None = None
    error_reason: str | None = None
    code: str | None = None
    failures: list[FailureSample] = []
    # Targets without a recipient, as their kind and id.
    missing: list[str] = []
    not_before_ms: int | None = None
    expires_at_ms: int | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    revision: int = 0


class Shard(_Record, frozen=True, kw_only=True):
    """Where planning one target of a large publish goes on: behind ``cursor``."""

    app_id: str
    publish_id: str
    shard_id: str
    target: Target
    cursor: str | None = None
    emitted: int = 0
    done: bool = False


class ScheduledJob(_Record, frozen=True, kw_only=True):
    app_id: str
    publish_id: str
    due_at_ms: int
    intent: PublishIntent


# ---- what became of a delivery ----


class OutcomeError(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """Why a provider did not take a notification: ``kind`` is a class of spec: push § 8, such as ``invalid_token``."""

    kind: str = msgspec.field(name="class")
    failure_class: FailureClass | None = None
    reason: str | None = None
    retry_after_ms: int | None = None


class DeliveryResult(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt at one recipient (spec: push § 2.5)."""

    app_id: str
    publish_id: str
    provider: Provider
    batch_id: str
    device_id: str | None = None
    outcome: Outcome
    provider_message_id: str | None = None
    error: OutcomeError | None = None
    attempt: int = 1


class DeliveryEvent(_Record, frozen=True, kw_only=True):
    event_id: str
    occurred_at_ms: int
    result: DeliveryResult


class DeadLetter(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """Something the pipeline gave up. ``payload`` is the queue's message, to be replayed; None for a mere marker."""

    dead_letter_id: str
    app_id: str
    publish_id: str
    provider: Provider | None = None
    stage: str
    key: str
    reason: str
    occurred_at_ms: int
    payload: bytes | None = None

    @property
    def replayable(self) -> bool:
        return self.payload is not None

    def __repr__(self) -> str:
        return f"<DeadLetter {self.app_id} {self.dead_letter_id}>"
