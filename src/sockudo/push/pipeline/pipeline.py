"""All workers of the pipeline, as one thing that starts, is woken and stops (spec: push § 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from sockudo.base.ids import unique_id
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.config.sections.push import Push as PushSettings
from sockudo.errors import SockudoError
from sockudo.jobs.ports import Depth
from sockudo.push.delivery import PushProvider
from sockudo.push.pipeline.feedback import FeedbackWorker
from sockudo.push.pipeline.planner import Planner, ShardWorker
from sockudo.push.pipeline.retrier import Retrier
from sockudo.push.pipeline.sender import AT_ONCE, Sender
from sockudo.push.pipeline.upkeep import Upkeep
from sockudo.push.pipeline.works import Worker, Works
from sockudo.push.recipients import ROUTE_NAMES, Provider

__all__ = ["Pipeline"]

_POLL: Final = 0.2
# However late the queue reports the next message as due: the time of day may have been put back since that was written.
_LOOKED_AFTER: Final = 10.0
_LEAST_PAUSE: Final = 0.005


class Pipeline:
    """Plans what was accepted, has it sent by ``providers`` and notes what became of it.

    Store and queue are opened before and closed after. Several processes may run one on the same store and queue.
    """

    def __init__(self, works: Works, providers: Mapping[Provider, PushProvider]) -> None:
        self.works = works
        works.wake = self.wake
        options = works.options
        self.senders = [
            Sender(works, provider, adapter, number)
            for provider, adapter in providers.items()
            for number in range(options.dispatch_worker_count)
        ]
        self._workers: list[Worker] = [
            *(Planner(works, number) for number in range(options.planner_worker_count)),
            *(ShardWorker(works, number) for number in range(options.shard_worker_count)),
            *self.senders,
            *(FeedbackWorker(works, number) for number in range(options.feedback_worker_count)),
            *(Retrier(works, number) for number in range(options.retry_worker_count)),
        ]
        self._by_stage: dict[str, list[Worker]] = {}
        for worker in self._workers:
            self._by_stage.setdefault(worker.stage, []).append(worker)
        self.upkeep = Upkeep(works, unique_id())
        self._running: list[asyncio.Task[None]] = []
        self._rounds: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins; there must be a running loop."""
        rounds: list[Coroutine[Any, Any, None]] = [
            self._poll(),
            self.upkeep.run_jobs(),
            self.upkeep.run_repair(),
            self.upkeep.run_cleanup(),
            *(sender.renew() for sender in self.senders),
        ]
        self._running = start_tasks(*(worker.run() for worker in self._workers))
        self._rounds = start_tasks(*rounds)

    def wake(self, stage: str) -> None:
        """Something was put into this stage, or may be taken from it."""
        for worker in self._by_stage.get(stage, ()):
            worker.news.set()

    def configure(self, options: PushSettings) -> None:
        """Takes over what may change while running: everything but the numbers of workers."""
        self.works.options = options

    async def check(self) -> bool:
        """Whether every worker does its work."""
        return not any(worker.failing for worker in self._workers)

    async def close(self, seconds: float) -> None:
        """Takes nothing new, lets what is under way end for so long, and gives the rest back."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        for worker in self._workers:
            worker.stop()
        if self._running:
            await asyncio.wait(self._running, timeout=max(0.0, deadline - loop.time()))
        await asyncio.gather(*(sender.finish(deadline - loop.time()) for sender in self.senders))
        await end_tasks((*self._running, *self._rounds))
        self._running, self._rounds = [], []

    async def _poll(self) -> None:
        """For ever: finds what other processes have produced, and what has become due.

        Every stage is polled now and then, independent of its times: the queue notices then that clocks were put back.
        """
        stages, loop = list(self._by_stage), asyncio.get_running_loop()
        woken = loop.time()
        while True:
            pause = _POLL
            try:
                due = await self.works.queue.next_due(stages)
            except SockudoError:
                # The workers say so themselves.
                due = self.works.now_ms()
            left = None if due is None else (due - self.works.now_ms()) / 1000
            if (left is not None and left <= 0) or loop.time() - woken >= _LOOKED_AFTER:
                woken = loop.time()
                for stage in stages:
                    self.wake(stage)
            elif left is not None:
                pause = min(_POLL, left + _LEAST_PAUSE)
            await asyncio.sleep(pause)

    # ---- numbers ----

    def measure(self, depths: Mapping[str, Depth]) -> None:
        """Brings the gauges up to date; ``depths`` are those of the queue."""
        counters, now = self.works.counters, self.works.now_ms()
        log = depths.get("publish_log", Depth())
        counters.set("publish_log_lag_seconds", log.ready + log.delayed)
        for stage, depth in depths.items():
            ages = {"ready": depth.oldest_ready_ms, "delayed": depth.oldest_delayed_ms}
            for state, age in {**ages, "inflight": depth.oldest_inflight_ms}.items():
                counters.set("queue_oldest_age_seconds", age / 1000, stage, state)
        busy: dict[str, int] = {}
        size: dict[str, int] = {}
        for sender in self.senders:
            provider = ROUTE_NAMES[sender.provider]
            busy[provider] = busy.get(provider, 0) + sender.busy
            size[provider] = size.get(provider, 0) + AT_ONCE
            for app_id, breaker in sender.breakers.items():
                counters.set("circuit_breaker_state", breaker.state(now), provider, app_id)
        for provider, count in busy.items():
            counters.set("worker_pool_busy", count, provider)
            counters.set("worker_pool_size", size[provider], provider)
