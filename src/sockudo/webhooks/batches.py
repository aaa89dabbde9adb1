"""From events to deliveries: what is gathered for each channel and endpoint, and how it gets into the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from sockudo.base.ids import unique_id
from sockudo.base.measures import Latency
from sockudo.errors import SockudoError
from sockudo.webhooks.endpoints import AppEndpoints
from sockudo.webhooks.queue import WebhookQueue
from sockudo.webhooks.records import Delivery, Event
from sockudo.webhooks.requests import body_of
from sockudo.webhooks.traced import WebhookTraces

__all__ = ["BatchOptions", "Batches"]

Sleep = Callable[[float], "asyncio.Future[None] | asyncio.Task[None]"]

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
# Deliveries that go to the queue in one call.
_AT_ONCE: Final = 500

_log = structlog.get_logger("sockudo.webhooks")


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """``duration`` in seconds, ``size`` in events; ``capacity`` bounds those that wait for the queue here."""

    enabled: bool = True
    duration: float = 0.05
    size: int = 100
    capacity: int = 100_000


@dataclass(slots=True)
class _Batch:
    """What was gathered of one channel since ``opened_at``, in monotonic seconds."""

    opened_at: float
    events: list[Event] = field(default_factory=list)
    # Where the newest count stands: only that one is worth telling.
    count: int | None = None

    def add(self, event: Event) -> None:
        if event.name == "subscription_count":
            if self.count is not None:
                self.events[self.count] = event
                return
            self.count = len(self.events)
        self.events.append(event)


class Batches:
    """Gathers events and appends them to the queue, all from one task of its own, in the order in which they came.

    While the queue does not take them they wait here, up to the capacity; what does not fit is lost, counted and
    logged. ``appended`` is called after each append.
    """

    def __init__(
        self,
        queue: WebhookQueue,
        now: Callable[[], float],
        time: Callable[[], float],
        options: BatchOptions,
        appended: Callable[[], None],
    ) -> None:
        self.options = options
        self.lost = 0
        # Deliveries that the queue took.
        self.queued = 0
        # How long the queue took for an append of one delivery, and of several at once.
        self.append_times = Latency()
        self.batch_append_times = Latency()
        self._queue = queue
        self._now = now
        self._time = time
        self._appended = appended
        # None where nothing is traced.
        self.traces: WebhookTraces | None = None
        # By app, endpoint and channel, in the order in which they were opened.
        self._open: dict[tuple[str, str, str], _Batch] = {}
        self._ready: list[Delivery] = []
        self._waiting = 0
        self._wake = asyncio.Event()
        # Why the queue refused the last append, None when it took it.
        self.problem: str | None = None

    @property
    def depth(self) -> int:
        """Events that are not in the queue yet."""
        return self._waiting

    @property
    def failing(self) -> bool:
        """Whether the queue refused the last append."""
        return self.problem is not None

    def add(self, endpoints: AppEndpoints, event: Event) -> None:
        """Takes an event for every endpoint that wants it. Never waits."""
        for endpoint in endpoints.endpoints:
            if not endpoint.wants(event.name, event.channel):
                continue
            if self._waiting >= self.options.capacity:
                self._lose(endpoint.app_id, endpoint.id)
                continue
            key = (endpoint.app_id, endpoint.id, event.channel)
            batch = self._open.get(key)
            if batch is None:
                batch = self._open[key] = _Batch(self._now())
                self._wake.set()
            before = len(batch.events)
            batch.add(event)
            self._waiting += len(batch.events) - before
            if not self.options.enabled or len(batch.events) >= self.options.size:
                self._close(key)

    def _lose(self, app_id: str, endpoint: str) -> None:
        self.lost += 1
        if self.lost & (self.lost - 1) == 0:
            _log.error(
                "webhook events are lost: the queue takes none", app_id=app_id, endpoint=endpoint, lost=self.lost
            )

    def _close(self, key: tuple[str, str, str]) -> None:
        batch = self._open.pop(key)
        app_id, endpoint, channel = key
        now_ms = int(self._time() * 1000)
        delivery = Delivery(
            id=unique_id(),
            app_id=app_id,
            endpoint=endpoint,
            channel=channel,
            body=body_of(min(event.time_ms for event in batch.events), [event.body for event in batch.events]),
            events=len(batch.events),
            created_at_ms=now_ms,
            due_at_ms=now_ms,
        )
        if self.traces is not None:
            self.traces.begin(delivery, batch.events)
        self._ready.append(delivery)
        self._wake.set()

    # ---- into the queue ----

    async def run(self) -> None:
        """Appends what is ready, for ever."""
        while True:
            self._wake.clear()
            if self._ready:
                await self._append()
                continue
            pause = self._close_due() if self._open else None
            if self._ready:
                continue
            try:
                async with asyncio.timeout(pause):
                    # A batch that is full is not waited for.
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def flush(self) -> None:
        """Appends everything that has been gathered, if the queue takes it; for when `run` has ended."""
        for key in tuple(self._open):
            self._close(key)
        while self._ready:
            if not await self._try_append():
                _log.error("webhook events are lost with the process: the queue takes none", events=self._waiting)
                if self.traces is not None:
                    self.traces.lost(self._ready)
                return

    def _close_due(self) -> float:
        """Closes what has been gathered for long enough; seconds until the next is."""
        now = self._now()
        while self._open:
            key, batch = next(iter(self._open.items()))
            left = batch.opened_at + self.options.duration - now
            if left > 0:
                return left
            self._close(key)
        return self.options.duration

    async def _append(self) -> None:
        pause = _FIRST_PAUSE
        while not await self._try_append():
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _try_append(self) -> bool:
        deliveries = self._ready[:_AT_ONCE]
        began = self._now()
        try:
            await self._queue.append(deliveries)
        except SockudoError as problem:
            if self.problem is None:
                _log.error("the webhook queue takes nothing; events wait in memory", reason=problem.text)
            self.problem = problem.text
            return False
        if self.problem is not None:
            self.problem = None
            _log.info("the webhook queue takes events again", waiting=self._waiting)
        times = self.append_times if len(deliveries) == 1 else self.batch_append_times
        times.note(self._now() - began)
        del self._ready[: len(deliveries)]
        self._waiting -= sum(delivery.events for delivery in deliveries)
        self.queued += len(deliveries)
        if self.traces is not None:
            self.traces.queued(deliveries)
        self._appended()
        return True
