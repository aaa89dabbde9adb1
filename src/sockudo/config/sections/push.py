"""Push notifications: ``push`` (spec: push § 10). Keys that other versions have and nothing reads are not here."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from sockudo.config.keys import Key
from sockudo.config.sections.push_providers import PushApns, PushFcm, PushHms, PushWebpush, PushWns

__all__ = [
    "Push",
    "PushBackpressure",
    "PushCircuitBreaker",
    "PushDefaultQuotas",
    "PushQuotas",
    "PushRetry",
]

_DATABASE_SPELLINGS: Final = (("postgresql", "postgres"), ("pgsql", "postgres"), ("mariadb", "mysql"))
_DAY_MS: Final = 86_400_000


class PushRetry(msgspec.Struct, frozen=True):
    """How a notification that a provider did not take is sent again."""

    max_attempts: Annotated[
        int, Key("Sends of one notification at most", env="PUSH_RETRY_MAX_ATTEMPTS", low=1, high=100)
    ] = 5
    initial_backoff_ms: Annotated[
        int,
        Key("Pause after the first send; it doubles", env="PUSH_RETRY_INITIAL_BACKOFF_MS", unit="ms", high=_DAY_MS),
    ] = 1000
    max_backoff_ms: Annotated[int, Key("Longest pause", env="PUSH_RETRY_MAX_BACKOFF_MS", unit="ms", high=_DAY_MS)] = (
        60_000
    )
    max_elapsed_secs: Annotated[
        int,
        Key(
            "Time after which a notification is given up as a dead letter",
            env="PUSH_RETRY_MAX_ELAPSED_SECS",
            unit="s",
            low=1,
            high=30 * 86_400,
        ),
    ] = 86_400
    jitter: Annotated[bool, Key("Pauses differ a little, so that not all come at once", env="PUSH_RETRY_JITTER")] = True
    jitter_ratio_percent: Annotated[
        int, Key("By how much they differ", env="PUSH_RETRY_JITTER_RATIO_PERCENT", unit="%", high=100)
    ] = 20
    respect_retry_after: Annotated[
        bool, Key("Waits as long as the provider asks for", env="PUSH_RETRY_RESPECT_RETRY_AFTER")
    ] = True

    @property
    def jitter_percent(self) -> int:
        """By how much pauses differ; 0 for not at all."""
        return self.jitter_ratio_percent if self.jitter else 0


class PushCircuitBreaker(msgspec.Struct, frozen=True):
    """When a provider that fails is left alone for a while."""

    failure_threshold: Annotated[
        int, Key("Failing batches after which it is left alone", env="PUSH_FAILURE_THRESHOLD", low=1)
    ] = 5
    cooldown_secs: Annotated[int, Key("For how long", unit="s", low=1, high=86_400)] = 60
    half_open_max_inflight: Annotated[int, Key("Sends at a time while it is tried again", low=1)] = 10


class PushDefaultQuotas(msgspec.Struct, frozen=True):
    """What each app may do, unless a variable of `push.quotas` says otherwise; 0 = no limit."""

    acceptance_rps: Annotated[
        int,
        Key(
            "Publishes per second, while `rate_limiter.enabled`",
            env="PUSH_ACCEPTANCE_RATE_LIMIT PUSH_DEFAULT_ACCEPTANCE_RPS",
        ),
    ] = 100
    delivery_quota_daily: Annotated[int, Key("Recipients of one publish", env="PUSH_DEFAULT_DELIVERY_QUOTA_DAILY")] = 0
    fanout_max: Annotated[int, Key("Recipients of one publish", env="PUSH_DEFAULT_FANOUT_MAX")] = 0


class PushQuotas(msgspec.Struct, frozen=True):
    """Limits on one publish. Unlike elsewhere 0 lets nothing through; `none` is no limit."""

    fanout_max: Annotated[int | None, Key("Recipients of one publish", env="PUSH_FANOUT_MAX", keeps_zero=True)] = None
    delivery_daily: Annotated[
        int | None, Key("Recipients of one publish", env="PUSH_DELIVERY_QUOTA_DAILY", keeps_zero=True)
    ] = None
    fcm: Annotated[
        int | None,
        Key("Recipients by FCM", env="PUSH_PROVIDER_FCM_CEILING PUSH_PROVIDER_FCM_DAILY_QUOTA", keeps_zero=True),
    ] = None
    apns: Annotated[
        int | None,
        Key("Recipients by APNs", env="PUSH_PROVIDER_APNS_CEILING PUSH_PROVIDER_APNS_DAILY_QUOTA", keeps_zero=True),
    ] = None
    webpush: Annotated[
        int | None,
        Key(
            "Recipients by Web Push",
            env="PUSH_PROVIDER_WEBPUSH_CEILING PUSH_PROVIDER_WEBPUSH_DAILY_QUOTA",
            keeps_zero=True,
        ),
    ] = None
    hms: Annotated[
        int | None,
        Key("Recipients by HMS", env="PUSH_PROVIDER_HMS_CEILING PUSH_PROVIDER_HMS_DAILY_QUOTA", keeps_zero=True),
    ] = None
    wns: Annotated[
        int | None,
        Key("Recipients by WNS", env="PUSH_PROVIDER_WNS_CEILING PUSH_PROVIDER_WNS_DAILY_QUOTA", keeps_zero=True),
    ] = None
    realtime: Annotated[
        int | None,
        Key(
            "Recipients by channels of this server",
            env="PUSH_PROVIDER_REALTIME_CEILING PUSH_PROVIDER_REALTIME_DAILY_QUOTA",
            keeps_zero=True,
        ),
    ] = None


class PushBackpressure(msgspec.Struct, frozen=True):
    """When publishes are refused because too much waits already."""

    always: Annotated[bool, Key("Refuses every publish", env="PUSH_BACKPRESSURE")] = False
    publish_log_max_lag: Annotated[
        int, Key("Publishes that may wait to be planned", env="PUSH_PUBLISH_LOG_MAX_LAG", low=1)
    ] = 100_000
    critical_queue_max_lag: Annotated[
        int, Key("Messages that may wait in any other stage", env="PUSH_CRITICAL_QUEUE_MAX_LAG", low=1)
    ] = 100_000
    retry_after_seconds: Annotated[
        int,
        Key(
            "When callers are asked to come back",
            env="PUSH_BACKPRESSURE_RETRY_AFTER_SECONDS",
            unit="s",
            low=1,
            high=3600,
        ),
    ] = 5


class Push(msgspec.Struct, frozen=True):
    """Notifications through FCM, APNs, Web Push, HMS and WNS. The key never leaves through ``repr``."""

    storage_driver: Annotated[
        str,
        Key(
            "Where devices, credentials and what became of each publish are kept: `sqlite` in `data_dir`, a database "
            "under `database`, or `memory`, which is lost with the process",
            env="PUSH_STORAGE_DRIVER",
            choices=("sqlite", "memory", "postgres", "mysql"),
            elsewhere=("dynamodb", "surrealdb", "scylladb"),
            aliases=_DATABASE_SPELLINGS,
        ),
    ] = "sqlite"
    queue_driver: Annotated[
        str,
        Key(
            "Where notifications wait: `sqlite` in `data_dir`; `postgres`, `mysql`, `redis` or `redis-cluster`, "
            "which several processes share; or `memory`, which is lost with the process",
            env="PUSH_QUEUE_DRIVER",
            choices=("sqlite", "memory", "postgres", "mysql", "redis", "redis-cluster"),
            elsewhere=("nats", "pulsar", "rabbitmq", "google-pubsub", "kafka", "iggy", "sqs", "sns"),
            aliases=(*_DATABASE_SPELLINGS, ("redis_cluster", "redis-cluster"), ("google_pubsub", "google-pubsub")),
        ),
    ] = "sqlite"
    allow_memory_drivers: Annotated[
        bool, Key("`memory` is allowed although `mode` is `production`", env="PUSH_ALLOW_MEMORY_DRIVERS")
    ] = False
    fcm_enabled: Annotated[bool, Key("Sends through FCM", env="PUSH_FCM_ENABLED")] = False
    apns_enabled: Annotated[bool, Key("Sends through APNs", env="PUSH_APNS_ENABLED")] = False
    webpush_enabled: Annotated[bool, Key("Sends through Web Push", env="PUSH_WEBPUSH_ENABLED")] = False
    hms_enabled: Annotated[bool, Key("Sends through HMS", env="PUSH_HMS_ENABLED")] = False
    wns_enabled: Annotated[bool, Key("Sends through WNS", env="PUSH_WNS_ENABLED")] = False
    planner_worker_count: Annotated[int, Key("Workers that plan publishes; 0 = not on this node", high=64)] = 1
    shard_worker_count: Annotated[int, Key("Workers that plan large ones", high=64)] = 1
    dispatch_worker_count: Annotated[int, Key("Workers of each provider", high=64)] = 1
    feedback_worker_count: Annotated[int, Key("Workers that note what became of deliveries", high=64)] = 1
    retry_worker_count: Annotated[int, Key("Workers that send again", env="PUSH_RETRY_WORKER_COUNT", high=64)] = 1
    dispatch_max_outbound_requests: Annotated[
        int,
        Key("Requests of one worker at a time", env="PUSH_DISPATCH_MAX_OUTBOUND_REQUESTS", low=1, high=1000),
    ] = 32
    fanout_fast_threshold: Annotated[
        int, Key("Recipients from which a publish is planned in shards", env="PUSH_FANOUT_FAST_THRESHOLD", low=1)
    ] = 10_000
    fanout_shard_size: Annotated[int, Key("Recipients of a shard", env="PUSH_FANOUT_SHARD_SIZE", low=1)] = 100_000
    backpressure_lag_threshold_secs: Annotated[
        int,
        Key(
            "Age of what waits from which publishes are refused; 0 = any age",
            env="PUSH_BACKPRESSURE_LAG_THRESHOLD_SECS",
            unit="s",
        ),
    ] = 60
    publish_status_ttl_days: Annotated[
        int,
        Key(
            "How long what became of a publish is kept, dead letters included; 0 = for ever",
            env="PUSH_PUBLISH_STATUS_TTL_DAYS",
            unit="days",
            high=36_500,
        ),
    ] = 30
    analytics_retention_days: Annotated[
        int, Key("How long single deliveries are kept; 0 = for ever", unit="days", high=36_500)
    ] = 30
    repair_interval_secs: Annotated[
        int,
        Key(
            "How often publishes without a planner are looked for; 0 = never", env="PUSH_REPAIR_INTERVAL_SECS", unit="s"
        ),
    ] = 30
    repair_min_age_secs: Annotated[
        int, Key("Age from which one counts as such", env="PUSH_REPAIR_MIN_AGE_SECS", unit="s")
    ] = 30
    repair_batch_size: Annotated[int, Key("How many at a time", env="PUSH_REPAIR_BATCH_SIZE", low=1)] = 100
    cleanup_interval_secs: Annotated[
        int, Key("How often what is old is deleted; 0 = never", env="PUSH_CLEANUP_INTERVAL_SECS", unit="s")
    ] = 300
    cleanup_batch_size: Annotated[int, Key("Rows of a kind at a time", env="PUSH_CLEANUP_BATCH_SIZE", low=1)] = 1000
    cleanup_max_deleted_per_tick: Annotated[
        int, Key("Rows deleted at a time in all", env="PUSH_CLEANUP_MAX_DELETED_PER_TICK", low=1)
    ] = 100_000
    credential_encryption_key: Annotated[
        str | None,
        Key(
            "Text whose hash encrypts stored credentials; keep it, or they have to be uploaded again. Under `--dev` "
            "the data folder has a key of its own",
            env="PUSH_CREDENTIAL_ENCRYPTION_KEY",
            secret=True,
        ),
    ] = None
    webhooks_enabled: Annotated[
        bool,
        Key(
            "Webhooks of apps that list `push.publish_failed` or `push.device_invalidated` get these events",
            env="PUSH_WEBHOOKS_ENABLED",
        ),
    ] = False
    retry: PushRetry = PushRetry()
    circuit_breaker: PushCircuitBreaker = PushCircuitBreaker()
    default_quotas: PushDefaultQuotas = PushDefaultQuotas()
    quotas: PushQuotas = PushQuotas()
    backpressure: PushBackpressure = PushBackpressure()
    fcm: PushFcm = PushFcm()
    apns: PushApns = PushApns()
    webpush: PushWebpush = PushWebpush()
    hms: PushHms = PushHms()
    wns: PushWns = PushWns()

    @property
    def in_memory(self) -> bool:
        """Whether something is lost with the process."""
        return "memory" in (self.storage_driver, self.queue_driver)

    @property
    def repairs(self) -> bool:
        """Whether publishes that nobody plans are looked for."""
        return self.repair_interval_secs > 0

    @property
    def repair_min_age_ms(self) -> int:
        return self.repair_min_age_secs * 1000

    @property
    def fanout_max(self) -> int | None:
        """Recipients of one publish at most; None for no limit, 0 for none at all."""
        return _first(self.quotas.fanout_max, self.default_quotas.fanout_max)

    @property
    def delivery_quota_daily(self) -> int | None:
        """Like `fanout_max`: the quota that is compared with each publish."""
        return _first(self.quotas.delivery_daily, self.default_quotas.delivery_quota_daily)

    def __repr__(self) -> str:
        return f"Push(storage_driver={self.storage_driver!r}, queue_driver={self.queue_driver!r})"


def _first(own: int | None, fallback: int) -> int | None:
    return own if own is not None else fallback or None
