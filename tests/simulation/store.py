"""A database that nodes share, in memory: it takes its time, and is away at times."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from sockudo import errors
from sockudo.drivers import MemoryHistoryStore

__all__ = ["SharedStore", "StoreAccess"]

_SLOWEST = 0.01


class SharedStore:
    """What is stored outlives every node."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.inner = MemoryHistoryStore()
        self.away = self.was_away = False


class StoreAccess:
    """One node's way to the store, with the methods of a `HistoryStore`; a node that is ``dead`` does nothing there."""

    def __init__(self, shared: SharedStore) -> None:
        self.shared = shared
        self.dead = False
        self.evicted = shared.inner.evicted

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.shared.inner, name)

        async def call(*args: Any, **options: Any) -> Any:
            # On the way there and back.
            await asyncio.sleep(self.shared.rng.uniform(0, _SLOWEST))
            if self.dead or self.shared.away:
                raise errors.HISTORY_UNAVAILABLE("it is away")
            result = await method(*args, **options)
            await asyncio.sleep(self.shared.rng.uniform(0, _SLOWEST))
            return result

        return call
