"""What nodes keep together in Redis, version 6 or newer, or in a server that speaks like it.

Key names begin with ``{prefix}:{cache}`` and ``{prefix}:{limits}``, whose inner braces are part of the name: in a Redis
Cluster they are all in one hash slot. Each has its time to live.

===========================  ====  =======================================================================
``:format``                  text  version of this layout
``:key:{hash}``              hash  mark of a claimed key, and its claim's name or the reply
``:event:{hash}``            hash  the last event of a channel, and its place in a stream
``:{seconds}:{name}:{key}``  text  hits of a window
===========================  ====  =======================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sockudo.cluster.stores import Added
from sockudo.config.sections.redis import RedisAccess
from sockudo.drivers.shared.steps import CACHE, LIMITS, CacheSteps, Step
from sockudo.storage.redis_scripts import Kept, RedisScripts, lua_scripts

__all__ = ["RedisCache", "RedisWindows"]

_FORMAT: Final = 1
_TIMEOUT_MS: Final = 5000


class RedisCache(CacheSteps):
    """A `CacheStore` in Redis."""

    def __init__(self, access: RedisAccess, prefix: str, *, timeout_ms: int = _TIMEOUT_MS) -> None:
        super().__init__(self._run)
        self._redis = _scripts(access, prefix, "cache", Kept(CACHE, "", "", "cache.redis"), timeout_ms)

    async def start(self) -> None:
        await self._redis.open(_FORMAT, warns=False)

    async def close(self) -> None:
        await super().close()
        await self._redis.close()

    async def check(self) -> bool:
        return bool(await self._redis.run("open", _FORMAT))

    async def _run(self, steps: Sequence[Step]) -> Sequence[Sequence[Any]]:
        answers = await self._redis.run("cache", *(word for step in steps for word in step))
        return [
            (answer[0].decode(), answer[1]) if step.what == "claim" else answer
            for step, answer in zip(steps, answers, strict=True)
        ]


class RedisWindows:
    """A `WindowStore` in Redis."""

    def __init__(self, access: RedisAccess, prefix: str, *, timeout_ms: int = _TIMEOUT_MS) -> None:
        self._redis = _scripts(access, prefix, "limits", Kept(LIMITS, "", "", "rate_limiter.redis"), timeout_ms)

    async def start(self) -> None:
        await self._redis.open(_FORMAT, warns=False)

    async def close(self) -> None:
        await self._redis.close()

    async def check(self) -> bool:
        return bool(await self._redis.run("open", _FORMAT))

    async def add(self, hits: Sequence[Added]) -> Sequence[tuple[int, float]]:
        totals = await self._redis.run("windows", *(word for one in hits for word in _words(one)))
        return [(total, left / 1000) for total, left in totals]


def _scripts(access: RedisAccess, prefix: str, word: str, of: Kept, timeout_ms: int) -> RedisScripts:
    scripts = lua_scripts("sockudo.drivers.shared")
    return RedisScripts(access, scripts, base=f"{prefix.rstrip(':')}:{{{word}}}", timeout_ms=timeout_ms, of=of)


def _words(one: Added) -> tuple[str | int, ...]:
    name, key, seconds = one.place
    return f"{seconds}:{name}:{key}", one.added, one.total, max(1, round(one.left * 1000))
