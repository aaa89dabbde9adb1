"""When a notification that was not taken is sent again, and when it is given up (spec: push § 7.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from sockudo import errors
from sockudo.config.sections.push import PushRetry
from sockudo.errors import ErrorSpec
from sockudo.jobs.ports import Lease
from sockudo.push.delivery import Batch, DeliveryJob, delivery_key, settling_key
from sockudo.push.lifecycle import Step, StepKind
from sockudo.push.messages import Retry, delivery_message, delivery_stage, read_body
from sockudo.push.pipeline.works import KEYS_KEPT_MS, Worker
from sockudo.push.recipients import ROUTE_NAMES
from sockudo.push.records import TERMINAL, OutcomeError, PublishStatus
from sockudo.push.telemetry import meta_event

__all__ = ["Retrier", "deadline_ms", "due_ms", "retries"]

_BUCKET_MS: Final = 1000
_UNKNOWN: Final = "unknown"

_TICK: Final = 64


def retries(
    batch: Batch, failed: Sequence[tuple[DeliveryJob, OutcomeError | None]], options: PushRetry, now_ms: int
) -> Iterator[Retry]:
    """Those that failed in the same way, and are to wait as long, go together as a batch of the next attempt.

    The same failures make the same batches, with the same ids.
    """
    groups: dict[tuple[str, int | None], list[tuple[DeliveryJob, OutcomeError | None]]] = {}
    for job, error in failed:
        wait = error.retry_after_ms if error is not None and options.respect_retry_after else None
        kind = _UNKNOWN if error is None else error.kind
        groups.setdefault((kind, None if wait is None else wait // _BUCKET_MS), []).append((job, error))
    first, _, name = batch.batch_id.partition("-deferred-")[0].partition("-retry-")
    split = len(groups) > 1 or "." in name or "-deferred-" in batch.batch_id
    for (kind, _), members in groups.items():
        attempt = batch.attempt + 1
        jobs = [job for job, _ in members]
        batch_id = f"{first}-retry-{attempt}"
        if split:
            # Distinguished from the others by its recipients.
            batch_id = f"{batch_id}.{delivery_key(batch, jobs[0])[:16]}"
        again = replace(batch, batch_id=batch_id, jobs=jobs, attempt=attempt, not_before_ms=None)
        waits = [error.retry_after_ms for _, error in members if error is not None and error.retry_after_ms is not None]
        asked = max(waits, default=None) if options.respect_retry_after else None
        yield Retry(batch=again, reason=kind, due_at_ms=due_ms(again, asked, options, now_ms))


def due_ms(batch: Batch, asked_ms: int | None, options: PushRetry, now_ms: int) -> int:
    """When ``batch``, whose attempt is the next one, is to be sent; ``asked_ms`` is what the provider asks for.

    One over the number of attempts is due at once, to be given up.
    """
    if batch.attempt > options.max_attempts:
        return now_ms
    if asked_ms is not None:
        # Never earlier than the provider's Retry-After.
        wait = max(0, asked_ms - now_ms)
        wait += int(wait * options.jitter_percent / 100 * _fraction(batch))
    else:
        wait = min(options.initial_backoff_ms * 2 ** (batch.attempt - 2), options.max_backoff_ms)
        wait += int(wait * options.jitter_percent / 100 * (2 * _fraction(batch) - 1))
        wait = min(wait, options.max_backoff_ms)
    return min(now_ms + wait, max(now_ms, deadline_ms(batch, options, now_ms)))


def deadline_ms(batch: Batch, options: PushRetry, now_ms: int) -> int:
    """After which it is not sent again."""
    begun = now_ms if batch.first_attempt_at_ms is None else batch.first_attempt_at_ms
    end = begun + options.max_elapsed_secs * 1000
    return end if batch.expires_at_ms is None else min(end, batch.expires_at_ms)


def _fraction(batch: Batch) -> float:
    """From 0 to 1, the same for the same batch and attempt."""
    text = f"{batch.app_id}\0{batch.publish_id}\0{batch.batch_id}\0{batch.attempt}"
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big") / 0xFFFFFFFF


# ---- the worker ----


class _End(NamedTuple):
    """Why something is not sent again. ``reason`` comes before the class of the error."""

    kind: Literal["retry_expired", "retry_exhausted"]
    reason: str
    row: ErrorSpec


class Retrier(Worker):
    """Puts batches back into their provider's stage once they are due."""

    kind = "retry"
    stage = "retry_schedule"

    async def round(self) -> bool:
        leases = await self.take(_TICK)
        await self.all_of(map(self._take, leases))
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
        taken, status = await self.works.take_steps(batch, steps, "retry")
        if tell and status is not None and _just_settled(status, len(taken)):
            self.works.ended(status)
        return len(taken)

    def _counted(self, name: str, batch: Batch, count: int) -> None:
        if count:
            self.works.counters.count(name, ROUTE_NAMES[batch.provider], batch.app_id, by=count)


def _just_settled(status: PublishStatus, count: int) -> bool:
    counters = status.counters
    return count > 0 and counters.settled - count < counters.planned
