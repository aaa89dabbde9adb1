"""Push notifications: ``push`` (spec: push § 10). Keys that other versions have and nothing reads are not here."""

from __future__ import annotations

from typing import Final

from sockudo.config.keys import Section, setting
from sockudo.config.sections.push_providers import PushApns, PushFcm, PushHms, PushWebpush, PushWns

__all__ = ["Push", "PushBackpressure", "PushCircuitBreaker", "PushDefaultQuotas", "PushQuotas", "PushRetry"]

_DATABASE_SPELLINGS: Final = (("postgresql", "postgres"), ("pgsql", "postgres"), ("mariadb", "mysql"))
_DAY_MS: Final = 86_400_000


class PushRetry(Section, frozen=True):
    """How a notification that a provider did not take is sent again."""

    max_attempts: int = setting(5, "Sends of one notification at most", low=1, high=100)
    initial_backoff_ms: int = setting(1000, "Pause after the first send; it doubles", unit="ms", high=_DAY_MS)
    max_backoff_ms: int = setting(60_000, "Longest pause", unit="ms", high=_DAY_MS)
    max_elapsed_secs: int = setting(
        86_400, "Time after which a notification is given up as a dead letter", unit="s", low=1, high=30 * 86_400
    )
    jitter: bool = setting(True, "Pauses differ a little, so that not all come at once")
    jitter_ratio_percent: int = setting(20, "By how much they differ", unit="%", high=100)
    respect_retry_after: bool = setting(True, "Waits as long as the provider asks for")

    @property
    def jitter_percent(self) -> int:
        """By how much pauses differ; 0 for not at all."""
        return self.jitter_ratio_percent if self.jitter else 0


class PushCircuitBreaker(Section, frozen=True):
    """When a provider that fails is left alone for a while."""

    failure_threshold: int = setting(
        5, "Failing batches after which it is left alone", env="PUSH_FAILURE_THRESHOLD", low=1
    )
    cooldown_secs: int = setting(60, "For how long", env="", unit="s", low=1, high=86_400)
    half_open_max_inflight: int = setting(10, "Sends at a time while it is tried again", env="", low=1)


class PushDefaultQuotas(Section, frozen=True):
    """What each app may do, unless a variable of `push.quotas` says otherwise; 0 = no limit."""

    acceptance_rps: int = setting(
        100,
        "Publishes per second, while `rate_limiter.enabled`",
        env="PUSH_ACCEPTANCE_RATE_LIMIT PUSH_DEFAULT_ACCEPTANCE_RPS",
    )
    delivery_quota_daily: int = setting(0, "Recipients of one publish", env="PUSH_DEFAULT_DELIVERY_QUOTA_DAILY")
    fanout_max: int = setting(0, "Recipients of one publish", env="PUSH_DEFAULT_FANOUT_MAX")


class PushQuotas(Section, frozen=True):
    """Limits on one publish. Unlike elsewhere 0 lets nothing through; `none` is no limit."""

    fanout_max: int | None = setting(None, "Recipients of one publish", env="PUSH_FANOUT_MAX", keeps_zero=True)
    delivery_daily: int | None = setting(
        None, "Recipients of one publish", env="PUSH_DELIVERY_QUOTA_DAILY", keeps_zero=True
    )
    fcm: int | None = setting(
        None, "Recipients by FCM", env="PUSH_PROVIDER_FCM_CEILING PUSH_PROVIDER_FCM_DAILY_QUOTA", keeps_zero=True
    )
    apns: int | None = setting(
        None, "Recipients by APNs", env="PUSH_PROVIDER_APNS_CEILING PUSH_PROVIDER_APNS_DAILY_QUOTA", keeps_zero=True
    )
    webpush: int | None = setting(
        None,
        "Recipients by Web Push",
        env="PUSH_PROVIDER_WEBPUSH_CEILING PUSH_PROVIDER_WEBPUSH_DAILY_QUOTA",
        keeps_zero=True,
    )
    hms: int | None = setting(
        None, "Recipients by HMS", env="PUSH_PROVIDER_HMS_CEILING PUSH_PROVIDER_HMS_DAILY_QUOTA", keeps_zero=True
    )
    wns: int | None = setting(
        None, "Recipients by WNS", env="PUSH_PROVIDER_WNS_CEILING PUSH_PROVIDER_WNS_DAILY_QUOTA", keeps_zero=True
    )
    realtime: int | None = setting(
        None,
        "Recipients by channels of this server",
        env="PUSH_PROVIDER_REALTIME_CEILING PUSH_PROVIDER_REALTIME_DAILY_QUOTA",
        keeps_zero=True,
    )


class PushBackpressure(Section, frozen=True):
    """When publishes are refused because too much waits already."""

    always: bool = setting(False, "Refuses every publish", env="PUSH_BACKPRESSURE")
    publish_log_max_lag: int = setting(
        100_000, "Publishes that may wait to be planned", env="PUSH_PUBLISH_LOG_MAX_LAG", low=1
    )
    critical_queue_max_lag: int = setting(
        100_000, "Messages that may wait in any other stage", env="PUSH_CRITICAL_QUEUE_MAX_LAG", low=1
    )
    retry_after_seconds: int = setting(5, "When callers are asked to come back", unit="s", low=1, high=3600)


class Push(Section, frozen=True):
    """Notifications through FCM, APNs, Web Push, HMS and WNS. The key never leaves through ``repr``."""

    storage_driver: str = setting(
        "sqlite",
        "Where devices, credentials and what became of each publish are kept: `sqlite` in `data_dir`, a database "
        "under `database`, or `memory`, which is lost with the process",
        choices=("sqlite", "memory", "postgres", "mysql"),
        elsewhere=("dynamodb", "surrealdb", "scylladb"),
        aliases=_DATABASE_SPELLINGS,
    )
    queue_driver: str = setting(
        "sqlite",
        "Where notifications wait: `sqlite` in `data_dir`; `postgres`, `mysql`, `redis` or `redis-cluster`, "
        "which several processes share; or `memory`, which is lost with the process",
        choices=("sqlite", "memory", "postgres", "mysql", "redis", "redis-cluster"),
        elsewhere=("nats", "pulsar", "rabbitmq", "google-pubsub", "kafka", "iggy", "sqs", "sns"),
        aliases=(*_DATABASE_SPELLINGS, ("redis_cluster", "redis-cluster"), ("google_pubsub", "google-pubsub")),
    )
    allow_memory_drivers: bool = setting(False, "`memory` is allowed although `mode` is `production`")
    fcm_enabled: bool = setting(False, "Sends through FCM")
    apns_enabled: bool = setting(False, "Sends through APNs")
    webpush_enabled: bool = setting(False, "Sends through Web Push")
    hms_enabled: bool = setting(False, "Sends through HMS")
    wns_enabled: bool = setting(False, "Sends through WNS")
    planner_worker_count: int = setting(1, "Workers that plan publishes; 0 = not on this node", env="", high=64)
    shard_worker_count: int = setting(1, "Workers that plan large ones", env="", high=64)
    dispatch_worker_count: int = setting(1, "Workers of each provider", env="", high=64)
    feedback_worker_count: int = setting(1, "Workers that note what became of deliveries", env="", high=64)
    retry_worker_count: int = setting(1, "Workers that send again", high=64)
    dispatch_max_outbound_requests: int = setting(32, "Requests of one worker at a time", low=1, high=1000)
    fanout_fast_threshold: int = setting(10_000, "Recipients from which a publish is planned in shards", low=1)
    fanout_shard_size: int = setting(100_000, "Recipients of a shard", low=1)
    backpressure_lag_threshold_secs: int = setting(
        60, "Age of what waits from which publishes are refused; 0 = any age", unit="s"
    )
    publish_status_ttl_days: int = setting(
        30, "How long what became of a publish is kept, dead letters included; 0 = for ever", unit="days", high=36_500
    )
    analytics_retention_days: int = setting(
        30, "How long single deliveries are kept; 0 = for ever", env="", unit="days", high=36_500
    )
    repair_interval_secs: int = setting(30, "How often publishes without a planner are looked for; 0 = never", unit="s")
    repair_min_age_secs: int = setting(30, "Age from which one counts as such", unit="s")
    repair_batch_size: int = setting(100, "How many at a time", low=1)
    cleanup_interval_secs: int = setting(300, "How often what is old is deleted; 0 = never", unit="s")
    cleanup_batch_size: int = setting(1000, "Rows of a kind at a time", low=1)
    cleanup_max_deleted_per_tick: int = setting(100_000, "Rows deleted at a time in all", low=1)
    credential_encryption_key: str | None = setting(
        None,
        "Text whose hash encrypts stored credentials; keep it, or they have to be uploaded again. Under `--dev` "
        "the data folder has a key of its own",
        secret=True,
    )
    webhooks_enabled: bool = setting(
        False, "Webhooks of apps that list `push.publish_failed` or `push.device_invalidated` get these events"
    )
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
        """Whether publishes without a planner are looked for."""
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
