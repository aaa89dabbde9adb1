"""Planning publishes: each step finds its recipients and, at once with its own end, puts their batches into the queue
(spec: push § 7.2).

A step that does not come to its end has emitted nothing, so another one may do it again with the devices that there are
then; one that has is never done again. So what was emitted, added up along the way, is what outcomes are counted
against: it is set when the last step is in the queue, by a message of its own.

That holds as long as the queue keeps what it has. Where it does not, repair has the publish planned from its beginning:
batches get the same ids, and a recipient with an outcome by then is not sent to again.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar, Final

import structlog
from msgspec.structs import replace

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.jobs.ports import Lease
from sockudo.push.audience import Seen, seen_id
from sockudo.push.lifecycle import may_become, planned
from sockudo.push.messages import (
    Planned,
    PublishLog,
    ShardJob,
    Stage,
    delivery_stage,
    planned_message,
    read_body,
    shard_message,
)
from sockudo.push.pipeline.works import LEASE_MS, Worker, Works
from sockudo.push.planning import Planning, plan_step
from sockudo.push.recipients import ROUTE_NAMES
from sockudo.push.records import PublishIntent, PublishStatus, Shard, State

__all__ = ["Planner", "ShardWorker"]

_Edit = Callable[[PublishStatus], PublishStatus | None]

# What they ask of the store at the same time shares its transactions.
_AT_ONCE: Final = 64
_SHARDS_AT_ONCE: Final = 1
_PLANNED: Final[frozenset[State]] = frozenset({"queued", "planning"})
# Recipients of one step: so many batches are produced together.
_STEP: Final = 4000
# Sets of recipients that are remembered from step to step; any of them can be read back.
_REMEMBERED: Final = 4
_SLOW_MS: Final = 10_000
_MOST_ATTEMPTS: Final = 5

_log = structlog.get_logger("sockudo.push")


class _Steps(Worker):
    """What planners and shard workers have in common."""

    at_once: ClassVar[int]

    def __init__(self, works: Works, number: int = 0) -> None:
        super().__init__(works, number)
        self._seen: OrderedDict[tuple[str, str], tuple[int, Seen]] = OrderedDict()

    async def round(self) -> bool:
        leases = await self.take(self.at_once)
        await self.all_of(map(self._try, leases))
        return bool(leases)

    async def _try(self, lease: Lease) -> None:
        """A defect that comes up whenever this is planned must not keep it for ever. An outage passes."""
        try:
            await self._take(lease)
        except Exception as problem:
            outage = isinstance(problem, SockudoError) and problem.spec is errors.SERVICE_UNAVAILABLE
            body = read_body(lease.job.body)
            if outage or lease.attempt < _MOST_ATTEMPTS or not isinstance(body, PublishLog | ShardJob | Planned):
                raise
            _log.exception("a push publish cannot be planned", app_id=body.app_id, publish_id=body.publish_id)
            text = f"planning failed {lease.attempt} times, by a defect of the server that is in its log"
            await self._fail(lease, body.app_id, body.publish_id, errors.INTERNAL_ERROR(text))

    async def _take(self, lease: Lease) -> None:
        raise NotImplementedError

    async def _go_on(self, lease: Lease, job: ShardJob) -> None:
        works = self.works
        status = await works.store.status(job.app_id, job.publish_id)
        intent = await works.store.intent(job.app_id, job.publish_id)
        if status is None or status.state not in _PLANNED:
            await works.queue.settle([lease], [], works.now_ms())
            return
        if intent is None:
            await self._fail(lease, job.app_id, job.publish_id, _not_in_the_log())
            return
        await self._step(lease, intent, job, min(_STEP, works.options.fanout_shard_size))

    async def _step(self, lease: Lease, intent: PublishIntent, job: ShardJob, most: int) -> None:
        """Plans a part of the publish, and hands over to the next step or to the end."""
        works = self.works
        began = works.clock.monotonic()
        started = works.now_ms()
        seen = await self._known(job)
        try:
            made = await plan_step(works.store, intent, job, seen, most, started)
        except SockudoError as problem:
            if problem.spec is errors.SERVICE_UNAVAILABLE:
                raise
            await self._fail(lease, intent.app_id, intent.publish_id, problem)
            return
        if made.rest is None and not made.planned:
            # Nothing goes into the queue, so this can be written first.
            if await self._is_ours(lease, started):
                await self._conclude(lease, Planned(app_id=intent.app_id, publish_id=intent.publish_id, emitted=0))
                self._told(intent, job, made, works.clock.monotonic() - began)
            return
        messages = made.messages
        if made.rest is None:
            waits = intent.not_before_ms is not None and intent.not_before_ms > works.now_ms()
            messages.append(
                planned_message(
                    Planned(
                        app_id=intent.app_id,
                        publish_id=intent.publish_id,
                        emitted=made.planned,
                        retry_after_ms=intent.not_before_ms if waits else None,
                    )
                )
            )
        else:
            await self._keep(intent, made.rest, seen)
            stage: Stage = "shard_jobs" if works.options.shard_worker_count else "publish_log"
            messages.append(shard_message(made.rest, stage))
        if await self._is_ours(lease, started):
            await works.queue.settle([lease], messages, works.now_ms())
            self._told(intent, job, made, works.clock.monotonic() - began)

    async def _is_ours(self, lease: Lease, started_ms: int) -> bool:
        """Whether this worker still holds the plan, after a step that took long."""
        now = self.works.now_ms()
        return now - started_ms <= _SLOW_MS or all(await self.works.queue.extend([lease], now + LEASE_MS))

    async def _conclude(self, lease: Lease, ended: Planned) -> None:
        works = self.works
        concluded = False

        def edit(status: PublishStatus) -> PublishStatus | None:
            nonlocal concluded
            concluded = status.state in _PLANNED
            if not concluded:
                return None
            return planned(status, ended.emitted, retry_after_ms=ended.retry_after_ms)

        status = await self._change(ended.app_id, ended.publish_id, edit)
        await works.queue.settle([lease], [], works.now_ms())
        if status is not None and concluded:
            works.ended(status)

    def _told(self, intent: PublishIntent, job: ShardJob, made: Planning, seconds: float) -> None:
        counters = self.works.counters
        counters.note("planner_duration_seconds", seconds)
        for provider, count in made.counts.items():
            counters.count("delivery_jobs_emitted_total", ROUTE_NAMES[provider], intent.app_id, by=count)
            self.works.wake(delivery_stage(provider))
        if made.rest is None:
            counters.note("fanout_size", made.planned, intent.app_id)
            self._seen.pop((intent.app_id, intent.publish_id), None)
            self.works.wake("publish_log")
        else:
            self.works.wake("shard_jobs")

    # ---- whom it was planned for already ----

    async def _known(self, job: ShardJob) -> Seen:
        """What the steps before have seen: as this worker remembers it, or as they have kept it."""
        remembered = self._seen.pop((job.app_id, job.publish_id), None)
        if remembered is not None and remembered[0] == job.step:
            return remembered[1]
        seen = Seen()
        for step in range(1, job.step + 1):
            shard = await self.works.store.shard(job.app_id, job.publish_id, seen_id(step))
            if shard is not None and shard.cursor is not None:
                seen.restore(shard.cursor)
        return seen

    async def _keep(self, intent: PublishIntent, rest: ShardJob, seen: Seen) -> None:
        await self.works.store.put_shard(
            Shard(
                app_id=intent.app_id,
                publish_id=intent.publish_id,
                shard_id=seen_id(rest.step),
                target=intent.targets[rest.target],
                cursor=seen.take_fresh(),
                emitted=rest.emitted,
            )
        )
        self._seen[intent.app_id, intent.publish_id] = rest.step, seen
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    async def _fail(self, lease: Lease, app_id: str, publish_id: str, problem: SockudoError) -> None:
        """What was accepted cannot be planned: no recipient will get it."""
        works = self.works

        def edit(status: PublishStatus) -> PublishStatus | None:
            if not may_become(status.state, "failed"):
                return None
            return replace(status, state="failed", error_reason=problem.text, code=problem.spec.slug)

        await works.give_up(lease, f"invalid payload: {problem.spec.slug}", publish_id=publish_id)
        status = await self._change(app_id, publish_id, edit)
        await works.queue.settle([lease], [], works.now_ms())
        if status is not None:
            works.ended(status)

    async def _change(self, app_id: str, publish_id: str, edit: _Edit) -> PublishStatus | None:
        works = self.works
        try:
            # Not read first: the changes of all who plan at the same time share a transaction, in which they are.
            return await works.store.edit_status(app_id, publish_id, edit, works.now_ms())
        except SockudoError:
            works.counters.count("status_cas_exhausted_total", "planner")
            raise


class Planner(_Steps):
    """Takes publishes from the log: a small one is planned at once, a large one in steps by shard workers."""

    kind = "planner"
    stage = "publish_log"
    at_once = _AT_ONCE

    async def _take(self, lease: Lease) -> None:
        match read_body(lease.job.body):
            case PublishLog() as found:
                await self._begin(lease, found)
            case ShardJob() as job:
                await self._go_on(lease, job)
            case Planned() as ended:
                await self._conclude(lease, ended)
            case _:
                await self.works.refuse(lease)

    async def _begin(self, lease: Lease, found: PublishLog) -> None:
        works, app_id, publish_id = self.works, found.app_id, found.publish_id
        # The message is the owner: a worker that takes it over has the lock, too, and one with another message has not.
        name, now = f"planner:publish-log:{publish_id}", works.now_ms()
        if not await works.store.lock(app_id, name, lease.job_id, now, now + LEASE_MS):
            await self.put_back(lease, "locked")
            return
        try:
            status = await self._change(app_id, publish_id, _to_planning)
            intent = await works.store.intent(app_id, publish_id)
            if status is None or status.state != "planning":
                await works.queue.settle([lease], [], works.now_ms())
                return
            if intent is None:
                await self._fail(lease, app_id, publish_id, _not_in_the_log())
                return
            job = ShardJob(app_id=app_id, publish_id=publish_id, target=0, settled=status.counters.settled)
            if intent.regime == "shardPath" and works.options.shard_worker_count:
                await works.queue.settle([lease], [shard_message(job, "shard_jobs")], works.now_ms())
                works.wake("shard_jobs")
            else:
                await self._step(lease, intent, job, works.options.fanout_fast_threshold)
        finally:
            # It ends by itself.
            with contextlib.suppress(SockudoError):
                await works.store.unlock(app_id, name, lease.job_id)


class ShardWorker(_Steps):
    """Plans large publishes, a step at a time, so that others get their turn in between."""

    kind = "shard"
    stage = "shard_jobs"
    at_once = _SHARDS_AT_ONCE

    async def _take(self, lease: Lease) -> None:
        job = read_body(lease.job.body)
        if isinstance(job, ShardJob):
            await self._go_on(lease, job)
        else:
            await self.works.refuse(lease)


def _to_planning(status: PublishStatus) -> PublishStatus | None:
    return replace(status, state="planning") if status.state == "queued" else None


def _not_in_the_log() -> SockudoError:
    return errors.INVALID_INPUT("the publish is not in the log")
