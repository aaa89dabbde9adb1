"""What the streams of a store hold, asked of it now and then while somebody wants to know (spec: history § 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from sockudo.base.clock import Clock
from sockudo.errors import SockudoError
from sockudo.history.calls import StoreCalls
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.records import SEED_PLACE
from sockudo.hub.streams.totals import Group, Total, group_of

__all__ = ["Tally"]

# Seconds between two looks, which take the store one twentieth of its time at most; and for which one is waited.
_EVERY: Final = 5.0
_SHARE: Final = 20
_PATIENCE: Final = 0.5

_log = structlog.get_logger("sockudo.history")


class Tally:
    """``totals`` are what was found last. A group that was there once and holds nothing any more has zeros."""

    def __init__(self, store: HistoryStore, calls: StoreCalls, clock: Clock) -> None:
        self.totals: Mapping[Group, Total] = {}
        self._store = store
        self._calls = calls
        self._clock = clock
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Looks again, unless that was done just now. A slow store is not waited for: it is known the next time."""
        if self._task is None and self._clock.monotonic() >= self._next:
            self._task = asyncio.get_running_loop().create_task(self._look())
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_PATIENCE)

    async def close(self) -> None:
        """Gives up a look that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _look(self) -> None:
        began = self._clock.monotonic()
        try:
            found = await self._calls.read(self._store.totals())
            found.pop(group_of(*SEED_PLACE), None)
            self.totals = {**dict.fromkeys(self.totals, Total()), **found}
        except SockudoError as problem:
            _log.debug("what streams hold is not known", reason=problem.text)
        finally:
            now = self._clock.monotonic()
            self._next = now + max(_EVERY, _SHARE * (now - began))
            self._task = None
