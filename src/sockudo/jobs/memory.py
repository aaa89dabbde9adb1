"""Jobs in this process: lost with it, and the definition of what every other job queue has to do."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, takewhile
from typing import Final

import structlog

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.jobs.ports import Depth, Job, Lease, QueueSpec, Share, StoredJob, Tally

__all__ = ["MemoryJobQueue"]

_CAPACITY: Final = 1_000_000
_CAPACITY_BYTES: Final = 512 * 1024 * 1024

_Place = tuple[int, int]
"""When a job may be leased, and its number: the order of jobs."""


class _Entry:
    """A job, when it may be leased, and its lease."""

    __slots__ = ("attempt", "enqueued_at_ms", "id", "job", "leased_at_ms", "number", "ready_at_ms", "token")

    def __init__(self, job: Job, number: int, now_ms: int) -> None:
        self.job = job
        self.number = number
        self.id = unique_id()
        self.enqueued_at_ms = now_ms
        self.ready_at_ms = self.since_ms
        self.attempt = 0
        self.token: str | None = None
        self.leased_at_ms = 0

    @property
    def since_ms(self) -> int:
        """Since when it could have been leased, but for its lease."""
        return max(self.enqueued_at_ms, self.job.due_at_ms)

    @property
    def place(self) -> _Place:
        return self.ready_at_ms, self.number

    def is_free(self, now_ms: int) -> bool:
        return self.token is None or self.ready_at_ms <= now_ms


class _StageJobs:
    """The jobs of a stage: by number and by key, and those of each share in order.

    ``lines`` are the numbers of each ordering key; only the first of a line is among the ``lanes``.
    """

    def __init__(self) -> None:
        self.entries: dict[int, _Entry] = {}
        self.numbers: dict[str, int] = {}
        self.lanes: dict[Share, list[_Place]] = {}
        self.lines: dict[tuple[Share, str], list[int]] = {}
        self.held: dict[int, _Entry] = {}
        self.latest_ms = 0

    def add(self, entry: _Entry) -> None:
        self.entries[entry.number] = entry
        self.numbers[entry.job.key] = entry.number
        if entry.job.order:
            line = self.lines.setdefault((entry.job.share, entry.job.order), [])
            insort(line, entry.number)
            if line[0] == entry.number and len(line) > 1:
                # It comes back to its place: what had its turn meanwhile is behind it again.
                self._leave_lane(self.entries[line[1]])
        if not self.is_behind(entry):
            insort(self.lanes.setdefault(entry.job.share, []), entry.place)

    def remove(self, entry: _Entry) -> None:
        del self.entries[entry.number], self.numbers[entry.job.key]
        self.held.pop(entry.number, None)
        if not self.is_behind(entry):
            self._leave_lane(entry)
        if not entry.job.order:
            return
        key = entry.job.share, entry.job.order
        line = self.lines[key]
        first = line[0] == entry.number
        line.remove(entry.number)
        if not line:
            del self.lines[key]
        elif first:
            following = self.entries[line[0]]
            insort(self.lanes.setdefault(following.job.share, []), following.place)

    def _leave_lane(self, entry: _Entry) -> None:
        lane = self.lanes[entry.job.share]
        del lane[bisect_left(lane, entry.place)]
        if not lane:
            del self.lanes[entry.job.share]

    def is_behind(self, entry: _Entry) -> bool:
        """Whether its ordering key holds it up."""
        return bool(entry.job.order) and self.lines[entry.job.share, entry.job.order][0] != entry.number

    def move(self, entry: _Entry, ready_at_ms: int) -> None:
        behind = self.is_behind(entry)
        if not behind:
            self._leave_lane(entry)
        entry.ready_at_ms = ready_at_ms
        if not behind:
            insort(self.lanes.setdefault(entry.job.share, []), entry.place)

    def having(self, lease: Lease) -> _Entry | None:
        entry = self.entries.get(self.numbers.get(lease.job.key, -1))
        return entry if entry is not None and entry.token == lease.token else None

    def first_due(
        self, limit: int, now_ms: int, per_app: int | None, run: int, besides: Collection[Share]
    ) -> list[_Entry]:
        most = limit if per_app is None else per_app
        heads = [
            (lane[0], 1, share)
            for share, lane in self.lanes.items()
            if lane[0][0] <= now_ms and most > 0 and share not in besides
        ]
        heapq.heapify(heads)
        counts: Counter[Share] = Counter()
        chosen: list[_Entry] = []
        while heads and len(chosen) < limit:
            place, number, share = heads[0]
            found = self._run(self.entries[place[1]], min(run, limit - len(chosen), most - counts[share]))
            chosen += found
            counts[share] += len(found)
            lane = self.lanes[share]
            if counts[share] < most and number < len(lane) and lane[number][0] <= now_ms:
                heapq.heapreplace(heads, (lane[number], number + 1, share))
            else:
                heapq.heappop(heads)
        return chosen

    def _run(self, head: _Entry, most: int) -> list[_Entry]:
        """The job and those behind it that may be leased with it."""
        if not head.job.order or head.job.alone or most < 2:
            return [head]
        line = (self.entries[number] for number in self.lines[head.job.share, head.job.order][:most])
        return list(takewhile(lambda entry: not entry.job.alone, line))

    def turn_back(self, now_ms: int) -> None:
        """The clock was put back: nothing was put in, or leased, later than now."""
        for entry in self.entries.values():
            entry.enqueued_at_ms = min(entry.enqueued_at_ms, now_ms)
            if entry.token is None:
                self.move(entry, entry.since_ms)
            elif entry.leased_at_ms > now_ms:
                self.move(entry, now_ms + entry.ready_at_ms - entry.leased_at_ms)
                entry.leased_at_ms = now_ms

    def depth(self, now_ms: int) -> Depth:
        return _depth(self.lanes.values(), self.held.values(), now_ms, len(self.entries))

    def shares(self, now_ms: int) -> dict[str, Depth]:
        held: dict[Share, list[_Entry]] = {}
        for entry in self.held.values():
            held.setdefault(entry.job.share, []).append(entry)
        return {share[0]: _depth([lane], held.get(share, ()), now_ms, len(lane)) for share, lane in self.lanes.items()}


def _depth(lanes: Collection[list[_Place]], held: Iterable[_Entry], now_ms: int, count: int) -> Depth:
    """Of these lanes, of whose jobs some are held, and of ``count`` jobs with those that are in none."""
    ready = sum(bisect_right(lane, (now_ms, math.inf)) for lane in lanes)
    inflight: list[int] = []
    waiting = [lane[0][0] for lane in lanes if lane[0][0] <= now_ms]
    for entry in held:
        (inflight if entry.ready_at_ms > now_ms else waiting).append(entry.since_ms)
    return Depth(
        ready=ready,
        delayed=count - ready - len(inflight),
        inflight=len(inflight),
        oldest_ready_ms=max(0, now_ms - min(waiting, default=now_ms)),
        oldest_inflight_ms=max(0, now_ms - min(inflight, default=now_ms)),
    )


class MemoryJobQueue:
    """Refuses what is put in while ``capacity`` jobs, or ``capacity_bytes`` of them, wait.

    What follows from a job that is settled is always taken.
    """

    def __init__(self, spec: QueueSpec, capacity: int = _CAPACITY, capacity_bytes: int = _CAPACITY_BYTES) -> None:
        self._spec = spec
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._stages: dict[str, _StageJobs] = {stage: _StageJobs() for stage in spec.stages}
        # The stage of each key, where a key is held once in all of them.
        self._stage_of: dict[str, str] = {}
        self._number = 0
        self._count = 0
        self._bytes = 0

    async def start(self) -> None:
        """Nothing has to be opened."""

    async def close(self) -> None:
        """Logs what is lost with the process."""
        if self._count:
            text = f"{self._spec.items} are lost with the process: their queue is in memory"
            structlog.get_logger(self._spec.logger).warning(text, messages=self._count)

    async def put(self, jobs: Sequence[Job], now_ms: int, *, lasting: bool = True) -> None:
        if self._count >= self._capacity or self._bytes >= self._capacity_bytes:
            raise errors.SERVICE_UNAVAILABLE(f"The {self._spec.name} is full: {self._count} messages wait")
        self._put(jobs, now_ms)

    def _put(self, jobs: Sequence[Job], now_ms: int) -> None:
        for job in jobs:
            stage = self._stages[job.stage]
            stage.latest_ms = max(stage.latest_ms, now_ms)
            if job.key not in stage.numbers and job.key not in self._stage_of:
                self._number += 1
                self._add(_Entry(job, self._number, now_ms))

    def _add(self, entry: _Entry) -> None:
        job = entry.job
        self._stages[job.stage].add(entry)
        if self._spec.kept:
            self._stage_of[job.key] = job.stage
        if job.stage not in self._spec.kept:
            self._count += 1
            self._bytes += len(job.body)

    async def lease(
        self,
        stage: str,
        limit: int,
        now_ms: int,
        lease_until_ms: int,
        *,
        per_app: int | None = None,
        run: int = 1,
        besides: Collection[Share] = (),
    ) -> list[Lease]:
        of = self._stages[stage]
        if now_ms < of.latest_ms:
            of.turn_back(now_ms)
        of.latest_ms = now_ms
        return self._lease(of.first_due(limit, now_ms, per_app, run, besides), now_ms, lease_until_ms)

    def _lease(self, entries: Iterable[_Entry], now_ms: int, lease_until_ms: int) -> list[Lease]:
        token = unique_id()
        leases = []
        for entry in entries:
            of = self._stages[entry.job.stage]
            of.move(entry, lease_until_ms)
            of.held[entry.number] = entry
            entry.token, entry.leased_at_ms = token, now_ms
            entry.attempt += 1
            leases.append(Lease(entry.job, entry.id, token, entry.attempt, entry.enqueued_at_ms, entry.number))
        return leases

    async def extend(self, leases: Sequence[Lease], lease_until_ms: int) -> list[bool]:
        found = list(self._having(leases))
        for stage, entry in found:
            if entry is not None:
                stage.move(entry, max(entry.ready_at_ms, lease_until_ms))
        return [entry is not None for _, entry in found]

    async def settle(self, leases: Sequence[Lease], follow_up: Sequence[Job], now_ms: int) -> list[bool]:
        done = []
        for stage, entry in self._having(leases):
            done.append(entry is not None)
            if entry is not None:
                self._remove(stage, entry)
        self._put(follow_up, now_ms)
        return done

    async def release(self, leases: Sequence[Lease], due_at_ms: int) -> None:
        for stage, entry in self._having(leases):
            if entry is not None:
                del stage.held[entry.number]
                entry.job = entry.job._replace(due_at_ms=due_at_ms)
                entry.token = None
                entry.attempt -= 1
                stage.move(entry, entry.since_ms)

    def _having(self, leases: Sequence[Lease]) -> Iterator[tuple[_StageJobs, _Entry | None]]:
        for lease in leases:
            stage = self._stages[lease.job.stage]
            yield stage, stage.having(lease)

    async def next_due(self, stages: Sequence[str], *, besides: Collection[Share] = ()) -> int | None:
        lanes = chain.from_iterable(self._stages[stage].lanes.items() for stage in stages)
        return min((lane[0][0] for share, lane in lanes if share not in besides), default=None)

    async def depths(self, now_ms: int) -> dict[str, Depth]:
        return {name: stage.depth(now_ms) for name, stage in self._stages.items()}

    async def shares(self, stage: str, now_ms: int) -> dict[str, Depth]:
        return self._stages[stage].shares(now_ms)

    async def holds(self, keys: Sequence[tuple[str, str]]) -> list[bool]:
        return [key in self._stages[stage].numbers for stage, key in keys]

    async def forget(self, app_id: str, limit: int) -> int:
        share = app_id, ""
        every = [(stage, number) for stage in self._stages.values() for _, number in stage.lanes.get(share, ())]
        for stage, number in every[:limit]:
            self._remove(stage, stage.entries[number])
        return len(every[:limit])

    def _remove(self, stage: _StageJobs, entry: _Entry) -> None:
        stage.remove(entry)
        self._stage_of.pop(entry.job.key, None)
        if entry.job.stage not in self._spec.kept:
            self._count -= 1
            self._bytes -= len(entry.job.body)

    # ---- kept stages ----

    async def change(self, changes: Sequence[tuple[Lease, Job]], now_ms: int) -> list[bool]:
        done = []
        for lease, job in changes:
            entry = self._entry(lease.job.key)
            done.append(entry is not None and entry.token == lease.token)
            if entry is None or not done[-1]:
                continue
            self._remove(self._stages[entry.job.stage], entry)
            entry.job = entry.job._replace(stage=job.stage, body=job.body, due_at_ms=job.due_at_ms, alone=job.alone)
            entry.token = None
            entry.ready_at_ms = entry.since_ms
            self._add(entry)
        return done

    def _entry(self, key: str) -> _Entry | None:
        stage = self._stage_of.get(key)
        return None if stage is None else self._stages[stage].entries[self._stages[stage].numbers[key]]

    async def find(self, keys: Sequence[str]) -> list[StoredJob | None]:
        found = map(self._entry, keys)
        return [None if entry is None else StoredJob(entry.job, entry.number) for entry in found]

    async def page(
        self,
        app_id: str,
        *,
        group: str | None = None,
        stage: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[StoredJob]:
        fitting = [
            StoredJob(entry.job, entry.number)
            for name, of in self._stages.items()
            if stage in (None, name)
            for entry in of.entries.values()
            if entry.job.app_id == app_id
            and group in (None, entry.job.group)
            and (before is None or entry.number < before)
        ]
        return sorted(fitting, key=lambda each: -each.number)[:limit]

    async def tallies(self) -> dict[tuple[Share, str], Tally]:
        every = [entry for of in self._stages.values() for entry in of.entries.values()]
        jobs = Counter((entry.job.share, entry.job.stage) for entry in every)
        leased = Counter((entry.job.share, entry.job.stage) for entry in every if entry.token is not None)
        return {key: Tally(count, leased[key]) for key, count in jobs.items()}

    async def take(self, keys: Sequence[str], now_ms: int, lease_until_ms: int) -> list[Lease]:
        found = (self._entry(key) for key in dict.fromkeys(keys))
        free = [entry for entry in found if entry is not None and entry.is_free(now_ms)]
        return self._lease(free, now_ms, lease_until_ms)

    async def take_old(
        self, stage: str, share: Share, came_before_ms: int, limit: int, now_ms: int, lease_until_ms: int
    ) -> list[Lease]:
        of = self._stages[stage]

        def is_old(entry: _Entry) -> bool:
            return entry.job.share == share and entry.enqueued_at_ms < came_before_ms and entry.is_free(now_ms)

        old = [
            entry
            for entry in of.entries.values()
            if is_old(entry) and is_old(of.entries[of.lines[share, entry.job.order][0]] if entry.job.order else entry)
        ]
        old.sort(key=lambda entry: entry.number)
        return self._lease(old[:limit], now_ms, lease_until_ms)

    async def trim(self, stage: str, keep: int, limit: int) -> int:
        of = self._stages[stage]
        oldest = sorted(of.entries.values(), key=lambda entry: entry.place)[: max(0, len(of.entries) - keep)]
        for entry in oldest[:limit]:
            self._remove(of, entry)
        return len(oldest[:limit])
