"""What is done about all streams of a store now and then, and what is counted (spec: history § 7.3 and 9): what is past
its time is removed, and what streams hold is looked up while that is asked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from sockudo.base.clock import Clock
from sockudo.base.measures import Latency
from sockudo.base.stream_records import SEED_PLACE
from sockudo.errors import SockudoError
from sockudo.history.calls import Sleep, StoreCalls
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.totals import Group, Total, group_of

__all__ = ["Expiry", "HistoryCounters", "HistoryOptions", "Tally"]


@dataclass(slots=True, eq=False)
class HistoryCounters:
    """Everything is by app and only grows. Messages are counted in ``writes`` and ``write_failures``.

    ``latency`` has the time of each commit for each app of which it stored something. ``refused_busy`` are publishes
    that found the queue full, ``degradations`` and ``healings`` changes of a stream's state.
    """

    writes: Counter[str] = field(default_factory=Counter)
    write_failures: Counter[str] = field(default_factory=Counter)
    refused_busy: Counter[str] = field(default_factory=Counter)
    degradations: Counter[str] = field(default_factory=Counter)
    healings: Counter[str] = field(default_factory=Counter)
    latency: dict[str, Latency] = field(default_factory=dict)

    def note_commit(self, app_id: str, seconds: float) -> None:
        """A transaction with something of an app was confirmed."""
        latency = self.latency.get(app_id)
        if latency is None:
            latency = self.latency[app_id] = Latency()
        latency.note(seconds)


# Seconds between two looks, which take the store one twentieth of its time at most; and for which one is waited.
_EVERY: Final = 5.0
_SHARE: Final = 20
_PATIENCE: Final = 0.5
# Seconds: between two removals at least, and between two batches of one.
_MIN_PURGE_INTERVAL: Final = 10.0
_PURGE_PAUSE: Final = 0.01

_log = structlog.get_logger("sockudo.history")


@dataclass(frozen=True, slots=True)
class HistoryOptions:
    """``backend`` is the store's name in the configuration; times are in seconds."""

    backend: str = "memory"
    node_id: str = "local"
    max_page_size: int = 100
    queue_capacity: int = 4096
    write_timeout: float = 5.0
    purge_interval: float = 300.0
    purge_batch_size: int = 1000
    max_purge_per_tick: int = 100_000


class Expiry:
    """Removes what is past its time, in batches between which publishes get their turn."""

    def __init__(
        self, store: HistoryStore, calls: StoreCalls, clock: Clock, sleep: Sleep, options: HistoryOptions
    ) -> None:
        self._store = store
        self._calls = calls
        self._clock = clock
        self._sleep = sleep
        self._options = options

    async def run(self) -> None:
        """Goes on for as long as the process."""
        while True:
            await self._sleep(max(self._options.purge_interval, _MIN_PURGE_INTERVAL))
            try:
                await self._tick()
            except SockudoError as problem:
                _log.warning("what is past its time could not be removed", reason=problem.text)

    async def _tick(self) -> None:
        left, more = self._options.max_purge_per_tick, True
        while more and left > 0:
            limit = min(self._options.purge_batch_size, left)
            started = self._clock.monotonic()
            now_ms = int(self._clock.time() * 1000)
            removed, more = await self._calls.read(self._store.expire(now_ms, limit))
            left -= max(removed, 1)
            # Publishes have at least as much of the store's time.
            await self._sleep(max(_PURGE_PAUSE, self._clock.monotonic() - started))


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
