"""The stages that a notification goes through in its job queue."""

from __future__ import annotations

from typing import Final, Literal, get_args

from sockudo.jobs.ports import QueueSpec

__all__ = ["DELIVERY_STAGES", "FILE_NAME", "PUSH_QUEUE", "STAGES", "Stage"]

Stage = Literal[
    "publish_log",
    "shard_jobs",
    "delivery_jobs_fcm",
    "delivery_jobs_apns",
    "delivery_jobs_webpush",
    "delivery_jobs_hms",
    "delivery_jobs_wns",
    "delivery_jobs_realtime",
    "delivery_results",
    "retry_schedule",
    "dead_letters",
]

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
DELIVERY_STAGES: Final[tuple[Stage, ...]] = tuple(name for name in STAGES if name.startswith("delivery_jobs_"))

FILE_NAME: Final = "push-queue.sqlite3"

PUSH_QUEUE: Final = QueueSpec(STAGES, "push", "push queue", "notifications", "sockudo.push")
