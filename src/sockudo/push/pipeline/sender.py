"""The workers of a provider: which batches are sent now, and which are not yet (spec: push § 7.3)."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Final

import structlog

from sockudo import errors
from sockudo.base.tasks import end_tasks
from sockudo.errors import SockudoError
from sockudo.jobs.ports import Job, Lease
from sockudo.push.delivery import Batch, PushProvider, Sent
from sockudo.push.messages import Delivery, Feedback, delivery_stage, feedback_message, read_body
from sockudo.push.pipeline.breaker import Breaker, Lane
from sockudo.push.pipeline.sending import Sending, run_traced
from sockudo.push.pipeline.works import LEASE_MS, Worker, Works
from sockudo.push.recipients import ROUTE_NAMES, Provider

__all__ = ["AT_ONCE", "Sender"]

AT_ONCE: Final = 256
"""Batches of one worker at a time; a large one counts for several."""

# Of one app: so many small batches or four of the largest.
_PER_APP: Final = 32
_JOBS: Final = 64
_TICK: Final = 32
_SHARE: Final = 8
_RENEWED_EVERY: Final = 10.0
_UNREADY_MS: Final = 5000
_SOON_MS: Final = 1000
_LONGEST_PAUSE: Final = 5.0

_log = structlog.get_logger("sockudo.push")


class Sender(Worker):
    """Sends the batches of one provider: some at a time, of each app a few, so that none keeps the others waiting.

    Each app has a circuit breaker and a lane of its own.
    """

    kind = "sender"

    def __init__(self, works: Works, provider: Provider, adapter: PushProvider, number: int = 0) -> None:
        super().__init__(works, number)
        self.stage = delivery_stage(provider)
        self.name = f"sender-{ROUTE_NAMES[provider]}-{number}"
        self.provider = provider
        self.breakers: dict[str, Breaker] = {}
        self._adapter = adapter
        self._lanes: dict[str, Lane] = {}
        self._batches: dict[asyncio.Task[None], Lease] = {}
        self._sendings: dict[asyncio.Task[None], Sending] = {}
        self._per_app: Counter[str] = Counter()

    @property
    def busy(self) -> int:
        """Batches being sent."""
        return len(self._batches)

    # ---- taking batches ----

    async def round(self) -> bool:
        free = AT_ONCE - self._per_app.total()
        if free <= 0 or self.stopping:
            return False
        works = self.works
        now = works.now_ms()
        busiest = max(self._per_app.values(), default=0)
        # One app alone gets all it may have; of several each gets its turn, also while one of them has enough.
        share = _SHARE if len(self._per_app) > 1 else max(1, _PER_APP - busiest)
        leases = await works.queue.lease(self.stage, min(free, _TICK), now, now + LEASE_MS, per_app=min(share, _TICK))
        enough = []
        for lease in leases:
            if self._per_app[lease.job.app_id] >= _PER_APP:
                enough.append(lease)
            else:
                self._begin(lease)
        if enough:
            works.counters.count("queue_local_requeued_total", self.stage, "fairness", by=len(enough))
            await works.queue.release(enough, works.now_ms() + _SOON_MS)
        return len(leases) > len(enough) and max(self._per_app.values(), default=0) < _PER_APP

    def _begin(self, lease: Lease) -> None:
        body = read_body(lease.job.body)
        batch = body.batch if isinstance(body, Delivery) and body.batch.provider == self.provider else None
        weight = 1 if batch is None else 1 + len(batch.jobs) // _JOBS
        work = self.works.refuse(lease) if batch is None else self._deliver(lease, batch)
        task = asyncio.get_running_loop().create_task(work)
        self._batches[task] = lease
        self._per_app[lease.job.app_id] += weight
        task.add_done_callback(partial(self._ended, weight))

    def _ended(self, weight: int, task: asyncio.Task[None]) -> None:
        app_id = self._batches.pop(task).job.app_id
        self._sendings.pop(task, None)
        self._per_app[app_id] -= weight
        if not self._per_app[app_id]:
            del self._per_app[app_id]
        self.news.set()
        if task.cancelled() or (problem := task.exception()) is None:
            return
        # It comes back when its lease ends.
        if isinstance(problem, SockudoError):
            _log.error("a push batch waits", worker=self.name, reason=problem.text)
        else:
            self._failed("exception")
            _log.error("a push batch failed", worker=self.name, exc_info=problem)

    async def renew(self) -> None:
        """For ever: keeps the batches being sent; those that another process has by now are stopped."""
        while True:
            await asyncio.sleep(_RENEWED_EVERY)
            held = dict(self._batches)
            if not held:
                continue
            until = self.works.now_ms() + LEASE_MS
            try:
                kept = await self.works.queue.extend(list(held.values()), until)
            except SockudoError as problem:
                _log.error("push batches cannot be kept for longer", worker=self.name, reason=problem.text)
                continue
            for task, still in zip(held, kept, strict=True):
                sending = self._sendings.get(task)
                if sending is None:
                    continue
                if still:
                    sending.held_until_ms = until
                else:
                    sending.lost = True

    def stop(self) -> None:
        super().stop()
        for sending in self._sendings.values():
            sending.stopping = True

    async def finish(self, seconds: float) -> None:
        """Lets what is under way end, for so long; then it is given back, to be sent by another worker."""
        if self._batches:
            await asyncio.wait(tuple(self._batches), timeout=max(0.0, seconds))
        left = dict(self._batches)
        await end_tasks(left)
        if left:
            try:
                await self.works.queue.release(list(left.values()), self.works.now_ms())
            except SockudoError as problem:
                _log.error("push batches come back when their leases end", worker=self.name, reason=problem.text)

    # ---- one batch ----

    async def _deliver(self, lease: Lease, batch: Batch) -> None:
        works = self.works
        now = works.now_ms()
        if batch.has_expired(now):
            outcomes = [Sent("expired")] * len(batch.jobs)
            await self._finish([lease], [feedback_message(Feedback(batch=batch, sent=outcomes, at_ms=now))])
            return
        if batch.not_before_ms is not None and batch.not_before_ms > now:
            await self.put_back(lease, "not_before", batch.not_before_ms)
            return
        breaker = self.breakers.get(batch.app_id)
        if breaker is None:
            breaker = self.breakers[batch.app_id] = Breaker(works.options.circuit_breaker)
        if await self._is_held(lease, batch, breaker):
            return
        lane = self._lanes.setdefault(batch.app_id, Lane())
        sending = Sending(works, batch, self._adapter, breaker, lane)
        sending.held_until_ms = now + LEASE_MS
        sending.stopping = self.stopping
        task = asyncio.current_task()
        if task is not None:
            self._sendings[task] = sending
        works.counters.count("wfq_dispatched_total", ROUTE_NAMES[self.provider], batch.app_id)
        tracer = works.tracer
        messages = await (sending.run() if tracer is None else run_traced(tracer, batch, sending))
        if sending.put_off_ms is not None:
            await self.put_back(lease, "put_off", sending.put_off_ms)
            return
        await self._finish([] if sending.lost else [lease], messages)

    async def _is_held(self, lease: Lease, batch: Batch, breaker: Breaker) -> bool:
        """Puts the batch back while its provider cannot be asked, as it is left alone or has no credentials."""
        works, now = self.works, self.works.now_ms()
        labels = ROUTE_NAMES[self.provider], batch.app_id
        held = breaker.held_until(now)
        if held is None and not (await self._adapter.readiness(batch.app_id)).ready:
            await self.put_back(lease, "credential_missing", _not_later(batch, now + _UNREADY_MS))
            return True
        # Another worker may have begun to try it meanwhile.
        held = breaker.held_until(now)
        if held is None:
            return False
        works.counters.count("circuit_breaker_deferred_total", *labels)
        if batch.attempt > 1:
            works.counters.count("retry_deferred_total", *labels)
        works.counters.set("retry_deferred_delay_seconds", (held - now) / 1000, *labels)
        await self.put_back(lease, "circuit_open", _not_later(batch, held))
        return True

    async def _finish(self, leases: list[Lease], messages: list[Job]) -> None:
        """What was sent is sent: this must not be lost while there is a chance that the queue comes back."""
        pause = 0.25
        while True:
            try:
                await self.works.queue.settle(leases, messages, self.works.now_ms())
                break
            except SockudoError as problem:
                if problem.spec is not errors.SERVICE_UNAVAILABLE:
                    raise
                _log.error("the push queue does not answer", worker=self.name, reason=problem.text)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self.works.wake("delivery_results")
        self._wake_deferred(messages)

    def _wake_deferred(self, messages: list[Job]) -> None:
        if any(message.stage == self.stage for message in messages):
            self.news.set()


def _not_later(batch: Batch, due_ms: int) -> int:
    """What waits is reported in time as expired."""
    return due_ms if batch.expires_at_ms is None else min(due_ms, batch.expires_at_ms)
