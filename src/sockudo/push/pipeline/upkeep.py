"""What the pipeline does by the clock: publishes whose time has come, publishes without a planner, and what is old
(spec: push § 7.6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import structlog
from msgspec.structs import replace

from sockudo.errors import SockudoError
from sockudo.push.audience import seen_id
from sockudo.push.lifecycle import is_untouched
from sockudo.push.messages import direct_keys, planning_keys, publish_message
from sockudo.push.pipeline.works import Works
from sockudo.push.ports import Category, Cleaned
from sockudo.push.records import PublishIntent, PublishStatus, ScheduledJob, State
from sockudo.push.telemetry import meta_event

__all__ = ["SYSTEM", "Upkeep"]

SYSTEM: Final = "_system"
"""Stands for an app where none is meant; ids of apps may look like it, but locks have names of their own."""

_TICK: Final = 1.0
_JOBS: Final = 100
_LOCK_MS: Final = 30_000
_DAY_MS: Final = 86_400_000

_log = structlog.get_logger("sockudo.push")


class Upkeep:
    """Three rounds. `run_jobs`, `run_repair` and `run_cleanup` do them for ever; the owner of the tasks ends them.

    ``owner`` is this process in locks.
    """

    def __init__(self, works: Works, owner: str) -> None:
        self.works = works
        self._owner = owner

    # ---- jobs whose time has come ----

    async def run_jobs(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                while await self.start_due():
                    pass
            except SockudoError as problem:
                _log.error("scheduled pushes wait", reason=problem.text)

    async def start_due(self) -> bool:
        """Has the publishes planned whose jobs are due; True when there may be more."""
        works = self.works
        jobs = await works.store.due_jobs(works.now_ms(), _JOBS)
        started = [await self._start(job) for job in jobs]
        return len(jobs) == _JOBS and any(started)

    async def _start(self, job: ScheduledJob) -> bool:
        works, name, now = self.works, f"scheduler:{job.publish_id}", self.works.now_ms()
        if not await works.store.lock(job.app_id, name, self._owner, now, now + _LOCK_MS):
            return False
        await works.store.append_log(job.intent)
        await works.queue.put([publish_message(job.app_id, job.publish_id)], now)
        await works.store.delete_job(job.app_id, job.publish_id)
        await works.store.unlock(job.app_id, name, self._owner)
        works.wake("publish_log")
        return True

    # ---- publishes without a planner ----

    async def run_repair(self) -> None:
        while interval := self.works.options.repair_interval_secs:
            await asyncio.sleep(interval)
            try:
                await self.repair()
            except SockudoError as problem:
                _log.error("push cannot be repaired for now", reason=problem.text)

    async def repair(self) -> int:
        """Has publishes planned again whose planning the queue does not have any more; how many there were."""
        states: tuple[State, ...] = ("queued", "planning", "dispatching")
        return sum([await self._repair_all(state) for state in states])

    async def _repair_all(self, state: State) -> int:
        works, count, after = self.works, 0, -1
        while True:
            before = works.now_ms() - works.options.repair_min_age_ms
            found = await works.store.stuck(state, before, works.options.repair_batch_size, accepted_after_ms=after)
            works.counters.count("repair_scanned_total", "publish_log", by=len(found))
            for intent in await self._not_held(found) if state == "dispatching" else found:
                count += await self._repair(intent, state)
            # Two that were accepted in the same moment may lie on both sides of the edge: the next tick finds the rest.
            if len(found) < works.options.repair_batch_size or found[-1].accepted_at_ms <= after:
                return count
            after = found[-1].accepted_at_ms

    async def _repair(self, intent: PublishIntent, state: State) -> bool:
        works, now = self.works, self.works.now_ms()
        name = f"repair:publish-log:{intent.publish_id}"
        kept = max(int(works.options.repair_interval_secs * 1000), works.options.repair_min_age_ms)
        if not await works.store.lock(intent.app_id, name, f"{self._owner}:{now}", now, now + kept):
            works.counters.count("repair_skipped_total", "locked")
            return False
        reason = await self._left_alone(intent, state, now)
        if reason is not None:
            works.counters.count("repair_skipped_total", reason)
            return False
        if state == "dispatching":
            # From here on it goes the long way: what is planned again is what its outcomes are counted against.
            back = await works.store.edit_status(intent.app_id, intent.publish_id, _to_queued, now)
            if back is None or back.state != "queued":
                works.counters.count("repair_skipped_total", "not_queued")
                return False
        if state != "queued":
            _log.warning("a push publish is planned again", app_id=intent.app_id, publish_id=intent.publish_id)
        await works.queue.put([publish_message(intent.app_id, intent.publish_id)], now)
        works.counters.count("repair_requeued_total", "publish_log", state)
        works.wake("publish_log")
        return True

    async def _not_held(self, found: list[PublishIntent]) -> list[PublishIntent]:
        """Those that took the direct way, and that the queue has no message of.

        It never had one where they are still as they were accepted after that: the first one to be settled is counted
        before.
        """
        keys = [direct_keys(intent.app_id, intent.publish_id) for intent in found]
        held = await self.works.queue.holds([key for each in keys for key in each]) if keys else []
        size = len(held) // len(found) if found else 0
        return [intent for place, intent in enumerate(found) if not any(held[place * size : (place + 1) * size])]

    async def _left_alone(self, intent: PublishIntent, state: State, now_ms: int) -> str | None:
        """Why nothing has to be done after all. What the queue holds of one that is queued is there once, by its key;
        one that is being planned may be at any of its steps.
        """
        works = self.works
        status = await works.store.status(intent.app_id, intent.publish_id)
        if status is None:
            return "missing_status"
        if status.state != state or (state == "dispatching" and not is_untouched(status)):
            return "not_queued"
        if now_ms - status.updated_at_ms < works.options.repair_min_age_ms:
            return "fresh"
        return "held" if state == "planning" and await self._is_held(intent) else None

    async def _is_held(self, intent: PublishIntent) -> bool:
        """Whether the queue has the planning of it, or it has just gone on, so that it had.

        Each step is kept by the store before it is in the queue, where it takes the place of the one before.
        """
        store, place = self.works.store, (intent.app_id, intent.publish_id)
        steps = await self._steps_kept(*place)
        if any(await self.works.queue.holds(planning_keys(*place, steps))):
            return True
        status = await store.status(*place)
        return status is None or status.state != "planning" or await self._steps_kept(*place) != steps

    async def _steps_kept(self, app_id: str, publish_id: str) -> int:
        """How many there are, without reading all of them: there may be hundreds, and none is left out."""
        store = self.works.store

        async def kept(step: int) -> bool:
            return await store.shard(app_id, publish_id, seen_id(step)) is not None

        beyond = 1
        while await kept(beyond):
            beyond *= 2
        known = beyond // 2
        while beyond - known > 1:
            middle = (known + beyond) // 2
            if await kept(middle):
                known = middle
            else:
                beyond = middle
        return known

    # ---- what is old ----

    async def run_cleanup(self) -> None:
        while interval := self.works.options.cleanup_interval_secs:
            await asyncio.sleep(interval)
            try:
                await self.clean()
            except SockudoError as problem:
                self.works.counters.count("cleanup_errors_total", "store", "all")
                _log.error("old pushes cannot be deleted for now", reason=problem.text)

    async def clean(self) -> int:
        """Deletes what was kept long enough, in small steps and in bounds; how many rows went."""
        works = self.works
        began = works.clock.monotonic()
        deleted = 0
        while deleted < works.options.cleanup_max_deleted_per_tick:
            now = works.now_ms()
            limit = min(works.options.cleanup_batch_size, works.options.cleanup_max_deleted_per_tick - deleted)
            cleaned = await works.store.clean(dict(self._ends(now)), now, limit)
            count = self._cleaned(cleaned)
            deleted += count
            if all(each.scanned < limit for each in cleaned) or not count:
                break
        works.counters.note("cleanup_tick_duration_seconds", works.clock.monotonic() - began)
        return deleted

    def _ends(self, now: int) -> Iterator[tuple[Category, int]]:
        options = self.works.options
        if options.publish_status_ttl_days:
            for category in ("publish_status", "dead_letters", "operator_invalidations"):
                yield category, now - options.publish_status_ttl_days * _DAY_MS
        if options.analytics_retention_days:
            yield "delivery_events", now - options.analytics_retention_days * _DAY_MS

    def _cleaned(self, cleaned: list[Cleaned]) -> int:
        counters, total = self.works.counters, 0
        for each in cleaned:
            counters.count("cleanup_scanned_total", each.category, by=each.scanned)
            counters.count("cleanup_deleted_total", each.category, by=each.deleted)
            if each.deleted:
                meta_event("cleanup-event", SYSTEM, category=each.category, deleted=each.deleted)
            total += each.deleted
        return total


def _to_queued(status: PublishStatus) -> PublishStatus | None:
    return replace(status, state="queued") if status.state == "dispatching" and is_untouched(status) else None
