"""Whether durable publishes are taken: health checks of the store's writes, which a read does not cover.

A disk that is full and a database that may only be read answer every read. So what counts is what became of the last
commits; and while they are refused, a small write of our own finds out when the store takes some again, also when no
publisher tries any more.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.history.calls import Sleep, StoreCalls, unavailable
from sockudo.history.degraded import DegradedStreams
from sockudo.hub.streams.ports import HistoryStore

__all__ = ["PROBE_SECONDS", "Taking"]

PROBE_SECONDS: Final = 5.0
"""How long a refusal counts at least, and how often a write is tried while nothing is taken."""

_log = structlog.get_logger("sockudo.history")


class Taking:
    """Takes the outcome of each commit from the writer; `run` goes on for as long as the process."""

    def __init__(
        self, store: HistoryStore, calls: StoreCalls, degraded: DegradedStreams, clock: Clock, sleep: Sleep
    ) -> None:
        self._store = store
        self._calls = calls
        self._degraded = degraded
        self._clock = clock
        self._sleep = sleep
        self._problem: errors.SockudoError | None = None
        self._since = 0.0
        self._refused = asyncio.Event()
        self._stored = False

    def stored(self) -> None:
        """A commit went well."""
        self._stored = True

    def refused(self, problem: errors.SockudoError) -> None:
        """The store did not take a commit."""
        self._stored = False
        if self._problem is None:
            self._since = self._clock.monotonic()
            _log.error("durable publishes are refused", reason=problem.text)
        self._problem = problem
        self._refused.set()

    @property
    def reason(self) -> str | None:
        """Why no commit is taken, None while they are."""
        return None if self._problem is None else self._problem.text

    async def check(self) -> bool:
        """True while durable publishes are taken. Raises the reason why they are not."""
        if self._problem is not None:
            raise unavailable(f"Durable publishes are refused: {self._problem.text}")
        if self._degraded:
            raise errors.HISTORY_DEGRADED(f"Publishes to {len(self._degraded)} channels are refused: they are degraded")
        return True

    async def run(self) -> None:
        """After a refusal, waits until a time without any has passed and the store takes a write."""
        while True:
            await self._refused.wait()
            self._refused.clear()
            await self._sleep(PROBE_SECONDS)
            if self._refused.is_set():
                continue
            # Of degraded streams others see whether the store answers.
            if self._stored or (not self._degraded and await self._takes_a_write()):
                self._problem = None
                seconds = self._clock.monotonic() - self._since
                _log.info("durable publishes are taken again", seconds=round(seconds, 1))
            else:
                self._refused.set()

    async def _takes_a_write(self) -> bool:
        async with self._calls.lock:
            try:
                await self._calls.change(self._store.probe())
            except errors.SockudoError as problem:
                self._problem = problem
                return False
        return True
