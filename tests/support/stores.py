"""Stores outside of the nodes (`sockudo.cluster.stores`), in memory: a test has their time and answers in its hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sockudo import errors
from sockudo.cluster.stores import Added, WindowPlace
from sockudo.drivers.shared.steps import CacheSteps, Step

__all__ = ["MemoryCacheStore", "MemoryWindowStore"]


class _Away:
    """Answers until ``away`` is set."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.away = False
        self.calls = 0
        self.now = now

    async def start(self) -> None:
        await self.check()

    async def check(self) -> bool:
        if self.away:
            raise errors.SERVICE_UNAVAILABLE("it is away")
        return True


class MemoryCacheStore(_Away, CacheSteps):
    """A `CacheStore` in memory."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        _Away.__init__(self, now)
        CacheSteps.__init__(self, self._run)
        self._rows: dict[str, dict[str, Any]] = {}

    async def _run(self, steps: Sequence[Step]) -> Sequence[Sequence[Any]]:
        self.calls += 1
        await self.check()
        return [getattr(self, f"_{step.what}")(step, self._row(step.key)) for step in steps]

    def _row(self, key: str) -> dict[str, Any]:
        row = self._rows.get(key, {})
        return row if row.get("until", 0.0) > self.now() else {}

    def _keep(self, step: Step, **row: Any) -> None:
        self._rows[step.key] = {**row, "until": self.now() + step.ms / 1000}

    def _claim(self, step: Step, row: dict[str, Any]) -> Sequence[Any]:
        if not row:
            self._keep(step, mark=step.one, name=step.other)
            return ("claimed", b"")
        if row["mark"] != step.one:
            return ("conflict", b"")
        if "reply" in row:
            return ("done", row["reply"])
        if row["name"] != step.other:
            return ("running", b"")
        self._keep(step, mark=step.one, name=step.other)
        return ("claimed", b"")

    def _done(self, step: Step, row: dict[str, Any]) -> Sequence[Any]:
        if not row or row.get("name") == step.other:
            self._keep(step, mark=step.one, reply=step.value)
        return ()

    def _free(self, step: Step, row: dict[str, Any]) -> Sequence[Any]:
        if row.get("name") == step.other:
            del self._rows[step.key]
        return ()

    def _put(self, step: Step, row: dict[str, Any]) -> Sequence[Any]:
        same = step.one and row.get("stream") == step.one
        if not (same and row["serial"] > int(step.other)):
            self._keep(step, stream=step.one, serial=int(step.other), value=step.value)
        return ()

    def _get(self, _step: Step, row: dict[str, Any]) -> Sequence[Any]:
        return (row["value"], (row["until"] - self.now()) * 1000) if row else ()


class MemoryWindowStore(_Away):
    """A `WindowStore` in memory."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(now)
        self._windows: dict[WindowPlace, tuple[int, float]] = {}

    async def close(self) -> None:
        """Keeps what it has."""

    async def add(self, hits: Sequence[Added]) -> Sequence[tuple[int, float]]:
        self.calls += 1
        await self.check()
        now = self.now()
        totals = []
        for place, added, total, left in hits:
            known, ends = self._windows.get(place, (0, 0.0))
            known, ends = (known + added, ends) if ends > now else (max(added, total), now + left)
            self._windows[place] = known, ends
            totals.append((known, ends - now))
        return totals
