"""Jobs in this process: lost with it, and the definition of what every other job queue has to do."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

import structlog

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.jobs.ports import Depth, Job, Lease, QueueSpec

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


class _StageJobs:
    """The jobs of a stage: by number and by key, and those of each app in order."""

    def __init__(self) -> None:
        self.entries: dict[int, _Entry] = {}
        self.numbers: dict[str, int] = {}
        self.lanes: dict[str, list[_Place]] = {}
        self.held: dict[int, _Entry] = {}
        self.latest_ms = 0

    def add(self, entry: _Entry) -> None:
        self.entries[entry.number] = entry
        self.numbers[entry.job.key] = entry.number
        insort(self.lanes.setdefault(entry.job.app_id, []), entry.place)

    def remove(self, entry: _Entry) -> None:
        del self.entries[entry.number], self.numbers[entry.job.key]
        self.held.pop(entry.number, None)
        lane = self.lanes[entry.job.app_id]
        del lane[bisect_left(lane, entry.place)]
        if not lane:
            del self.lanes[entry.job.app_id]

    def move(self, entry: _Entry, ready_at_ms: int) -> None:
        lane = self.lanes[entry.job.app_id]
        del lane[bisect_left(lane, entry.place)]
        entry.ready_at_ms = ready_at_ms
        insort(lane, entry.place)

    def having(self, lease: Lease) -> _Entry | None:
        entry = self.entries.get(self.numbers.get(lease.job.key, -1))
        return entry if entry is not None and entry.token == lease.token else None

    def first_due(self, limit: int, now_ms: int, per_app: int | None) -> list[_Entry]:
        most = limit if per_app is None else per_app
        heads = [(lane[0], 1, app_id) for app_id, lane in self.lanes.items() if lane[0][0] <= now_ms and most > 0]
        heapq.heapify(heads)
        chosen: list[_Entry] = []
        while heads and len(chosen) < limit:
            place, count, app_id = heads[0]
            chosen.append(self.entries[place[1]])
            lane = self.lanes[app_id]
            if count < min(most, len(lane)) and lane[count][0] <= now_ms:
                heapq.heapreplace(heads, (lane[count], count + 1, app_id))
            else:
                heapq.heappop(heads)
        return chosen

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
        return _depth(self.lanes.values(), self.held.values(), now_ms)

    def shares(self, now_ms: int) -> dict[str, Depth]:
        held: dict[str, list[_Entry]] = {}
        for entry in self.held.values():
            held.setdefault(entry.job.app_id, []).append(entry)
        return {app_id: _depth([lane], held.get(app_id, ()), now_ms) for app_id, lane in self.lanes.items()}


def _depth(lanes: Collection[list[_Place]], held: Iterable[_Entry], now_ms: int) -> Depth:
    """Of these lanes, of whose jobs some are held."""
    ready = sum(bisect_right(lane, (now_ms, math.inf)) for lane in lanes)
    inflight: list[int] = []
    waiting = [lane[0][0] for lane in lanes if lane[0][0] <= now_ms]
    for entry in held:
        (inflight if entry.ready_at_ms > now_ms else waiting).append(entry.since_ms)
    return Depth(
        ready=ready,
        delayed=sum(map(len, lanes)) - ready - len(inflight),
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
        self._number = 0
        self._count = 0
        self._bytes = 0

    async def start(self) -> None:
        """Nothing has to be opened."""

    async def close(self) -> None:
        """Logs what is lost with the process."""
        if self._count:
            said = f"{self._spec.items} are lost with the process: their queue is in memory"
            structlog.get_logger(self._spec.logger).warning(said, messages=self._count)

    async def put(self, jobs: Sequence[Job], now_ms: int, *, lasting: bool = True) -> None:
        if self._count >= self._capacity or self._bytes >= self._capacity_bytes:
            raise errors.SERVICE_UNAVAILABLE(f"The {self._spec.name} is full: {self._count} messages wait")
        self._put(jobs, now_ms)

    def _put(self, jobs: Sequence[Job], now_ms: int) -> None:
        for job in jobs:
            stage = self._stages[job.stage]
            stage.latest_ms = max(stage.latest_ms, now_ms)
            if job.key not in stage.numbers:
                self._number += 1
                self._count += 1
                self._bytes += len(job.body)
                stage.add(_Entry(job, self._number, now_ms))

    async def lease(
        self, stage: str, limit: int, now_ms: int, lease_until_ms: int, *, per_app: int | None = None
    ) -> list[Lease]:
        of = self._stages[stage]
        if now_ms < of.latest_ms:
            of.turn_back(now_ms)
        of.latest_ms = now_ms
        token = unique_id()
        leases = []
        for entry in of.first_due(limit, now_ms, per_app):
            of.move(entry, lease_until_ms)
            of.held[entry.number] = entry
            entry.token, entry.leased_at_ms = token, now_ms
            entry.attempt += 1
            leases.append(Lease(entry.job, entry.id, token, entry.attempt, entry.enqueued_at_ms))
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

    async def next_due(self, stages: Sequence[str]) -> int | None:
        lanes = (lane for stage in stages for lane in self._stages[stage].lanes.values())
        return min((lane[0][0] for lane in lanes), default=None)

    async def depths(self, now_ms: int) -> dict[str, Depth]:
        return {name: stage.depth(now_ms) for name, stage in self._stages.items()}

    async def shares(self, stage: str, now_ms: int) -> dict[str, Depth]:
        return self._stages[stage].shares(now_ms)

    async def holds(self, keys: Sequence[tuple[str, str]]) -> list[bool]:
        return [key in self._stages[stage].numbers for stage, key in keys]

    async def forget(self, app_id: str, limit: int) -> int:
        every = [(stage, number) for stage in self._stages.values() for _, number in stage.lanes.get(app_id, ())]
        for stage, number in every[:limit]:
            self._remove(stage, stage.entries[number])
        return len(every[:limit])

    def _remove(self, stage: _StageJobs, entry: _Entry) -> None:
        stage.remove(entry)
        self._count -= 1
        self._bytes -= len(entry.job.body)
