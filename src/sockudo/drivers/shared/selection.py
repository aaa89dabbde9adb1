"""Which stores the configuration asks for, outside of the nodes, for keys, last events and limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sockudo.cluster.stores import CacheStore, WindowStore
from sockudo.config import Settings
from sockudo.config.installed import driver_missing

__all__ = ["cache_store", "window_store"]

T = TypeVar("T")


def cache_store(settings: Settings) -> CacheStore | None:
    """The store of ``cache.driver``, not opened yet; None where nodes keep it.

    Raises ConfigError without its driver.
    """
    match settings.cache.driver:
        case "redis" | "redis-cluster":
            return _redis(lambda: _redis_cache(settings))
        case "postgres":
            # Takes a while to import, which those that need no database should not pay for.
            from sockudo.drivers.shared.postgres import PostgresCache

            return PostgresCache(settings.database.postgres)
    return None


def window_store(settings: Settings) -> WindowStore | None:
    """The store of ``rate_limiter.driver``, like `cache_store`."""
    match settings.rate_limiter.driver:
        case "redis" | "redis-cluster":
            return _redis(lambda: _redis_windows(settings))
        case "postgres":
            from sockudo.drivers.shared.postgres import PostgresWindows

            return PostgresWindows(settings.database.postgres)
    return None


def _redis(make: Callable[[], T]) -> T:
    try:
        # Takes a while to import, and is an extra.
        return make()
    except ImportError as error:
        raise driver_missing("redis") from error


def _redis_cache(settings: Settings) -> CacheStore:
    from sockudo.drivers.shared.redis import RedisCache

    return RedisCache(settings.redis_of_cache(), settings.cache.redis.prefix)


def _redis_windows(settings: Settings) -> WindowStore:
    from sockudo.drivers.shared.redis import RedisWindows

    return RedisWindows(settings.redis_of_limits(), settings.rate_limiter.redis.prefix)
