"""Push messages in this process: lost with it, and the definition of what every other queue of them has to do."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

import structlog

from sockudo import errors
from sockudo.ids import unique_id
from sockudo.push.queue import STAGES, Depth, Lease, Message, Stage

__all__ = ["MemoryPushQueue"]

_CAPACITY: Final = 1_000_000
_CAPACITY_BYTES: Final = 512 * 1024 * 1024

_Place = tuple[int, int]
"""When a message may be taken, and its number: the order in which they are."""

_log = structlog.get_logger("sockudo.push")


class _Entry:
    """A message, when it may be taken, and who has it since when."""

    __slots__ = ("attempt", "enqueued_at_ms", "id", "leased_at_ms", "message", "number", "ready_at_ms", "token")

    def __init__(self, message: Message, number: int, now_ms: int) -> None:
        self.message = message
        self.number = number
        self.id = unique_id()
        self.enqueued_at_ms = now_ms
        self.ready_at_ms = self.since_ms
        self.attempt = 0
        self.token: str | None = None
        self.leased_at_ms = 0

    @property
    def since_ms(self) -> int:
        """Since when it could have been taken if nobody had it."""
        return max(self.enqueued_at_ms, self.message.due_at_ms)

    @property
    def place(self) -> _Place:
        return self.ready_at_ms, self.number


class _Stage:
    """The messages of a stage: by number and by key, and those of each app in order."""

    def __init__(self) -> None:
        self.entries: dict[int, _Entry] = {}
        self.numbers: dict[str, int] = {}
        self.lanes: dict[str, list[_Place]] = {}
        self.held: dict[int, _Entry] = {}
        self.latest_ms = 0

    def add(self, entry: _Entry) -> None:
        self.entries[entry.number] = entry
        self.numbers[entry.message.key] = entry.number
        insort(self.lanes.setdefault(entry.message.app_id, []), entry.place)

    def remove(self, entry: _Entry) -> None:
        del self.entries[entry.number], self.numbers[entry.message.key]
        self.held.pop(entry.number, None)
        lane = self.lanes[entry.message.app_id]
        del lane[bisect_left(lane, entry.place)]
        if not lane:
            del self.lanes[entry.message.app_id]

    def move(self, entry: _Entry, ready_at_ms: int) -> None:
        lane = self.lanes[entry.message.app_id]
        del lane[bisect_left(lane, entry.place)]
        entry.ready_at_ms = ready_at_ms
        insort(lane, entry.place)

    def having(self, lease: Lease) -> _Entry | None:
        entry = self.entries.get(self.numbers.get(lease.message.key, -1))
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
        """The clock was put back: nothing was produced, or taken, later than now."""
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
            held.setdefault(entry.message.app_id, []).append(entry)
        return {app_id: _depth([lane], held.get(app_id, ()), now_ms) for app_id, lane in self.lanes.items()}


def _depth(lanes: Collection[list[_Place]], held: Iterable[_Entry], now_ms: int) -> Depth:
    """Of these lanes, of whose messages some are held."""
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


class MemoryPushQueue:
    """Refuses what is produced while ``capacity`` messages, or ``capacity_bytes`` of them, wait.

    What follows from a message that is finished is always taken.
    """

    def __init__(self, capacity: int = _CAPACITY, capacity_bytes: int = _CAPACITY_BYTES) -> None:
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._stages: dict[Stage, _Stage] = {stage: _Stage() for stage in STAGES}
        self._number = 0
        self._count = 0
        self._bytes = 0

    async def start(self) -> None:
        """Nothing has to be opened."""

    async def close(self) -> None:
        """Says what is lost with the process."""
        if self._count:
            _log.warning("notifications are lost with the process: their queue is in memory", messages=self._count)

    async def produce(self, messages: Sequence[Message], now_ms: int, *, lasting: bool = True) -> None:
        if self._count >= self._capacity or self._bytes >= self._capacity_bytes:
            raise errors.SERVICE_UNAVAILABLE(f"The push queue is full: {self._count} messages wait")
        self._produce(messages, now_ms)

    def _produce(self, messages: Sequence[Message], now_ms: int) -> None:
        for message in messages:
            stage = self._stages[message.stage]
            stage.latest_ms = max(stage.latest_ms, now_ms)
            if message.key not in stage.numbers:
                self._number += 1
                self._count += 1
                self._bytes += len(message.body)
                stage.add(_Entry(message, self._number, now_ms))

    async def consume(
        self, stage: Stage, limit: int, now_ms: int, lease_until_ms: int, *, per_app: int | None = None
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
            leases.append(Lease(entry.message, entry.id, token, entry.attempt, entry.enqueued_at_ms))
        return leases

    async def extend(self, leases: Sequence[Lease], lease_until_ms: int) -> list[bool]:
        found = list(self._having(leases))
        for stage, entry in found:
            if entry is not None:
                stage.move(entry, max(entry.ready_at_ms, lease_until_ms))
        return [entry is not None for _, entry in found]

    async def finish(self, leases: Sequence[Lease], follow_up: Sequence[Message], now_ms: int) -> list[bool]:
        done = []
        for stage, entry in self._having(leases):
            done.append(entry is not None)
            if entry is not None:
                self._remove(stage, entry)
        self._produce(follow_up, now_ms)
        return done

    async def give_back(self, leases: Sequence[Lease], due_at_ms: int) -> None:
        for stage, entry in self._having(leases):
            if entry is not None:
                del stage.held[entry.number]
                entry.message = entry.message._replace(due_at_ms=due_at_ms)
                entry.token = None
                entry.attempt -= 1
                stage.move(entry, entry.since_ms)

    def _having(self, leases: Sequence[Lease]) -> Iterator[tuple[_Stage, _Entry | None]]:
        for lease in leases:
            stage = self._stages[lease.message.stage]
            yield stage, stage.having(lease)

    async def next_due(self, stages: Sequence[Stage]) -> int | None:
        lanes = (lane for stage in stages for lane in self._stages[stage].lanes.values())
        return min((lane[0][0] for lane in lanes), default=None)

    async def depths(self, now_ms: int) -> dict[Stage, Depth]:
        return {name: stage.depth(now_ms) for name, stage in self._stages.items()}

    async def shares(self, stage: Stage, now_ms: int) -> dict[str, Depth]:
        return self._stages[stage].shares(now_ms)

    async def holds(self, keys: Sequence[tuple[Stage, str]]) -> list[bool]:
        return [key in self._stages[stage].numbers for stage, key in keys]

    async def forget(self, app_id: str, limit: int) -> int:
        every = [(stage, number) for stage in self._stages.values() for _, number in stage.lanes.get(app_id, ())]
        for stage, number in every[:limit]:
            self._remove(stage, stage.entries[number])
        return len(every[:limit])

    def _remove(self, stage: _Stage, entry: _Entry) -> None:
        stage.remove(entry)
        self._count -= 1
        self._bytes -= len(entry.message.body)
