"""Which driver keeps the jobs of a queue."""

from __future__ import annotations

from pathlib import Path

from sockudo.config import Settings
from sockudo.config.databases import database_of
from sockudo.config.installed import driver_missing
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import ListedJobQueue, QueueSpec

__all__ = ["job_queue"]


def job_queue(
    spec: QueueSpec,
    driver: str,
    settings: Settings,
    file_name: str,
    *,
    capacity: int | None = None,
) -> ListedJobQueue:
    """The queue of this driver, not opened yet; ``file_name`` is in the data directory.

    ``capacity`` bounds a queue in memory. Raises ConfigError when the driver is not installed.
    """
    match driver:
        case "memory":
            return MemoryJobQueue(spec) if capacity is None else MemoryJobQueue(spec, capacity)
        case "redis" | "redis-cluster":
            return _redis_queue(spec, settings, driver)
    # Takes a while to import, which those that need no database should not pay for.
    from sockudo.jobs.sql import server_jobs, sqlite_jobs

    if (database := database_of(driver)) is not None:
        return server_jobs(spec, database.server(settings))
    return sqlite_jobs(spec, Path(settings.data_dir) / file_name)


def _redis_queue(spec: QueueSpec, settings: Settings, driver: str) -> ListedJobQueue:
    try:
        # Takes a while to import, and is an extra.
        from sockudo.jobs.redis import RedisJobQueue
    except ImportError as error:
        raise driver_missing("redis") from error
    queue = settings.queue
    access = settings.redis_of_queue(driver)
    if driver == "redis":
        return RedisJobQueue(spec, access, prefix=queue.redis.prefix, timeout_ms=queue.redis.response_timeout_ms)
    cluster = queue.redis_cluster
    return RedisJobQueue(spec, access, prefix=cluster.prefix, timeout_ms=cluster.request_timeout_ms)
