"""What the configuration says about the pipeline (spec: push § 10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["LEASE_MS", "BreakerOptions", "PipelineOptions", "RetryOptions"]

_DAY_MS: Final = 86_400_000

LEASE_MS: Final = 30_000
"""How long a worker has a message for itself, unless it asks for longer."""


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """How a notification that a provider did not take is sent again; ``jitter_percent`` 0 is none."""

    max_attempts: int = 5
    initial_backoff_ms: int = 1000
    max_backoff_ms: int = 60_000
    max_elapsed_ms: int = _DAY_MS
    jitter_percent: int = 20
    respect_retry_after: bool = True


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """When a provider that fails is left alone; ``half_open_requests`` are made at a time when it is tried again."""

    failure_threshold: int = 5
    cooldown_ms: int = 60_000
    half_open_requests: int = 10


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """Numbers of workers, sizes and times. A worker count of 0 leaves that stage to other nodes; an interval of 0
    switches the work off; what is kept for 0 is kept for ever.
    """

    planners: int = 1
    shard_workers: int = 1
    senders: int = 1
    feedback_workers: int = 1
    retry_workers: int = 1
    # Requests of one batch at a time.
    requests: int = 32
    fast_threshold: int = 10_000
    shard_size: int = 100_000
    repair_interval: float = 30.0
    repair_min_age_ms: int = 30_000
    repair_batch: int = 100
    cleanup_interval: float = 300.0
    cleanup_batch: int = 1000
    cleanup_most: int = 100_000
    statuses_kept_ms: int = 30 * _DAY_MS
    events_kept_ms: int = 30 * _DAY_MS
    retry: RetryOptions = field(default_factory=RetryOptions)
    breaker: BreakerOptions = field(default_factory=BreakerOptions)
