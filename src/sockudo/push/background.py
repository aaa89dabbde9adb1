"""Publishes that nobody waits for: those of rules, accepted after their event was said (spec: push § 9)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Final, NamedTuple

import structlog

from sockudo import errors
from sockudo.base.spans import TraceHeaders
from sockudo.base.tasks import end_tasks
from sockudo.errors import SockudoError
from sockudo.push.bodies import PublishRequest
from sockudo.push.service import Push

__all__ = ["Background", "Refused", "Waiting"]

Refused = Callable[[str, PublishRequest, SockudoError], None]
"""Hears of an app's publish that was refused, and why."""

_CAPACITY: Final = 10_000
_WORKERS: Final = 8

_log = structlog.get_logger("sockudo.push")


class Waiting(NamedTuple):
    """A publish of an app, and the trace that it is a part of."""

    app_id: str
    request: PublishRequest
    trace: TraceHeaders = ()


class Background:
    """Accepts publishes a few at a time; what does not fit is dropped, counted and logged.

    They are in this process alone until they are accepted. ``refused`` hears of each that is not.
    """

    def __init__(self, push: Callable[[], Push | None], refused: Refused, *, capacity: int = _CAPACITY) -> None:
        self._push = push
        self._refused = refused
        self._capacity = capacity
        self._waiting: deque[Waiting] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self.dropped = 0

    def add(self, waiting: Waiting) -> None:
        """Never waits."""
        if len(self._waiting) >= self._capacity:
            self._drop(waiting)
            return
        self._waiting.append(waiting)
        if len(self._workers) < _WORKERS:
            # In a context of its own: it goes on with what others add.
            task = asyncio.get_running_loop().create_task(self._work(), context=Context())
            self._workers.add(task)
            task.add_done_callback(self._end)

    async def idle(self) -> None:
        """Returns when nothing waits."""
        while self._workers:
            await asyncio.wait(self._workers)

    async def close(self, seconds: float = 5.0) -> None:
        """Gives what waits so long to be accepted."""
        workers = set(self._workers)
        if workers:
            await asyncio.wait(workers, timeout=seconds)
        await end_tasks(workers)
        if self._waiting:
            _log.error("notifications of rules are lost with the process", lost=len(self._waiting))
            self._waiting.clear()

    async def _work(self) -> None:
        while self._waiting:
            app_id, request, trace = self._waiting.popleft()
            try:
                push = self._push()
                if push is None:
                    raise errors.PUSH_DISABLED("push is off: no provider is switched on")
                await push.publish(app_id, request, limited=False, trace=trace)
            except SockudoError as problem:
                self._refused(app_id, request, problem)
                _log.warning(
                    "a notification of a rule is not sent",
                    app_id=app_id,
                    error=problem.spec.slug,
                    reason=problem.text,
                )

    def _drop(self, waiting: Waiting) -> None:
        app_id = waiting.app_id
        self.dropped += 1
        self._refused(app_id, waiting.request, errors.PUSH_BACKPRESSURE("too many notifications of rules wait"))
        push = self._push()
        if push is not None:
            push.counters.count("rate_dropped_total", app_id)
        if self.dropped & (self.dropped - 1) == 0:
            _log.error("notifications of rules are dropped: too many wait", app_id=app_id, dropped=self.dropped)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._workers.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            _log.error("notifications of rules have stopped", exc_info=problem)
            # The others are not lost for that.
            if self._waiting:
                self.add(self._waiting.popleft())
