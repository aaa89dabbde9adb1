"""Sending again what a provider did not take, or giving it up (spec: push § 7.5)."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final, Literal, NamedTuple

from sockudo import errors
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.jobs.ports import Lease
from sockudo.push.delivery import Batch, delivery_key, settling_key
from sockudo.push.lifecycle import Step, StepKind
from sockudo.push.messages import Retry, delivery_message, delivery_stage, read_body
from sockudo.push.meta import meta_event
from sockudo.push.pipeline.feedback import KEYS_KEPT_MS
from sockudo.push.pipeline.retries import deadline_ms
from sockudo.push.pipeline.works import Worker, Works
from sockudo.push.recipients import ROUTE_NAMES
from sockudo.push.records import TERMINAL, PublishStatus

__all__ = ["Retrier"]

_TICK: Final = 64


class _End(NamedTuple):
    """Why something is not sent again. ``reason`` comes before the class of the error."""

    kind: Literal["retry_expired", "retry_exhausted"]
    reason: str
    row: ErrorSpec


class Retrier(Worker):
    """Puts batches back into their provider's stage once they are due."""

    kind: ClassVar[str] = "retry"

    def __init__(self, works: Works, number: int = 0) -> None:
        super().__init__(works, "retry_schedule", number)

    async def round(self) -> bool:
        leases = await self.take(_TICK)
        outcomes = await asyncio.gather(*(self._take(lease) for lease in leases), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return bool(leases)

    async def _take(self, lease: Lease) -> None:
        works = self.works
        retry = read_body(lease.job.body)
        if not isinstance(retry, Retry):
            works.counters.count("retry_malformed_total", "unknown", "payload")
            await works.refuse(lease)
            return
        batch, now = retry.batch, works.now_ms()
        if retry.due_at_ms > now:
            await self.put_back(lease, "not_due", retry.due_at_ms)
            return
        if await works.store.recorded(batch.app_id, lease.job.key, now) or await self._is_over(batch):
            await works.queue.settle([lease], [], now)
            return
        end = self._end(batch, now)
        if end is None:
            await self._send(lease, retry)
        else:
            await self._drop(lease, retry, end)
        # Last, and for repeats that come later: what was done before may be done again.
        await works.store.record_once(batch.app_id, lease.job.key, now, now + KEYS_KEPT_MS)

    async def _is_over(self, batch: Batch) -> bool:
        """Whether the publish was cancelled, or all its recipients are settled without this."""
        status = await self.works.store.status(batch.app_id, batch.publish_id)
        if status is None:
            return False
        if status.state == "cancelled":
            return True
        if batch.replaces is not None or status.state not in TERMINAL:
            return False
        return status.counters.retry_attempted >= status.counters.retry_scheduled

    def _end(self, batch: Batch, now: int) -> _End | None:
        options = self.works.options.retry
        if batch.expires_at_ms is not None and batch.expires_at_ms <= now:
            return _End("retry_expired", "expired", errors.PUSH_EXPIRED)
        if batch.attempt > options.max_attempts:
            return _End("retry_exhausted", "retry attempts exhausted", errors.PUSH_RETRIES_EXHAUSTED)
        if deadline_ms(batch, options, now) <= now:
            return _End("retry_exhausted", "retry age expired", errors.PUSH_RETRIES_EXHAUSTED)
        return None

    async def _send(self, lease: Lease, retry: Retry) -> None:
        works, batch = self.works, retry.batch
        steps = [
            Step(f"{delivery_key(batch, job)}:{batch.attempt}:sent", "retry_dispatched", batch.provider, job.device_id)
            for job in batch.jobs
        ]
        taken = await self._count(batch, steps)
        await works.queue.settle([lease], [delivery_message(batch)], works.now_ms())
        if taken:
            self._counted("retry_attempted_total", batch, taken)
            about = {"status": "retry-dispatched", "count": taken}
            meta_event("scheduler-event", batch.app_id, batch.publish_id, batch.provider, **about)
        works.wake(delivery_stage(batch.provider))

    async def _drop(self, lease: Lease, retry: Retry, end: _End) -> None:
        works, batch = self.works, retry.batch
        text = f"{end.reason}: {retry.reason}"
        kind: StepKind = end.kind
        steps = [
            Step(
                settling_key(batch, job),
                kind,
                batch.provider,
                job.device_id,
                text=text,
                code=end.row.slug,
                replaces=batch.replaces,
            )
            for job in batch.jobs
        ]
        await works.give_up(lease, text, publish_id=batch.publish_id, provider=batch.provider, at_ms=retry.due_at_ms)
        taken = await self._count(batch, steps, tell=True)
        await works.queue.settle([lease], [], works.now_ms())
        expired = end.kind == "retry_expired"
        self._counted("retry_expired_total" if expired else "retry_dead_lettered_total", batch, taken)

    async def _count(self, batch: Batch, steps: list[Step], *, tell: bool = False) -> int:
        works, now = self.works, self.works.now_ms()
        try:
            taken, status = await works.store.take_steps(batch.app_id, batch.publish_id, steps, now, now + KEYS_KEPT_MS)
        except SockudoError:
            works.counters.count("status_cas_exhausted_total", "retry")
            raise
        if tell and status is not None and _just_settled(status, len(taken)):
            works.ended(status)
        return len(taken)

    def _counted(self, name: str, batch: Batch, count: int) -> None:
        if count:
            self.works.counters.count(name, ROUTE_NAMES[batch.provider], batch.app_id, by=count)


def _just_settled(status: PublishStatus, count: int) -> bool:
    counters = status.counters
    return count > 0 and counters.settled - count < counters.planned
