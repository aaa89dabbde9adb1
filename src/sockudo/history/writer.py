"""Publishes to durable channels, committed in groups: what waits when a commit ends goes into the next one.

The order of the queue is that of the serials, and that in which messages are delivered. A message is delivered, and
its publisher answered, only after its commit (spec: history § 2).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.base.message_records import channel_of_log
from sockudo.base.stream_records import Append, Committed, Position
from sockudo.errors import SockudoError
from sockudo.history.calls import RETRY_AFTER, Sleep, StoreCalls, unavailable
from sockudo.history.degraded import DegradedStreams
from sockudo.history.heads import Heads, StreamKey
from sockudo.history.sequencer import Sequencer
from sockudo.history.taking import Taking
from sockudo.history.upkeep import HistoryCounters
from sockudo.hub.streams.ports import HistoryStore, OutcomeUnknown
from sockudo.storage.group_commit import Bounds, Call, GroupCommit

__all__ = ["Deliver", "Regrouping", "Writer"]

# Seconds that a commit waits for publishers.
_LONGEST_WAIT: Final = 0.05
_SHORTEST_WAIT: Final = 0.001


class Regrouping:
    """Brings publishers together that each wait for an answer before they publish again.

    Without it they fall into two groups that take turns: while the messages of one are committed, the other waits. When
    those who were answered are seen to come back in less than half the time of a commit, the next one waits for them:
    then one commit takes all, and everybody waits for one instead of two. Where they need longer, or are others every
    time, nothing ever waits.
    """

    def __init__(self, clock: Clock, sleep: Sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._arrivals = 0
        # The number of arrivals at which all that were answered last are back, and when they were answered.
        self._expected = 0
        self._answered_at = 0.0
        self._way_back = math.inf
        self._until = -math.inf
        self._all_back: asyncio.Future[None] | None = None

    def arrived(self) -> None:
        """Takes note of a publish."""
        self._arrivals += 1
        if self._arrivals == self._expected:
            self._way_back = self._clock.monotonic() - self._answered_at
            if self._all_back is not None and not self._all_back.done():
                self._all_back.set_result(None)

    def answered(self, publishers: int, took: float) -> None:
        """A commit has ended that took so many seconds."""
        if self._arrivals < self._expected:
            self._way_back = math.inf
        self._expected = self._arrivals + publishers
        self._answered_at = self._clock.monotonic()
        self._until = self._answered_at + min(took / 2, _LONGEST_WAIT) if self._way_back < took / 2 else -math.inf

    async def wait(self) -> None:
        """Returns when the next commit should begin."""
        if self._arrivals >= self._expected:
            return
        left = self._until - self._clock.monotonic()
        if left <= 0:
            return
        self._all_back = asyncio.get_running_loop().create_future()
        timer = asyncio.ensure_future(self._sleep(max(left, _SHORTEST_WAIT)))
        try:
            await asyncio.wait({timer, self._all_back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            self._all_back = None


Deliver = Callable[[Committed], None]
"""Delivers a message that is stored: replay buffer, subscribers. Called once, never for a repeated one."""

# In bytes of messages.
_BOUNDS: Final = Bounds(group=4 * 1024 * 1024, waiting=64 * 1024 * 1024, calls=1000)
# In place of a stream's id: messages of other nodes come first.
_BEHIND: Final = ""
# Deliveries in one turn of the loop.
_SLICE: Final = 250

_log = structlog.get_logger("sockudo.history")


class _Entry(Call):
    """One publish on its way, counted in ``counters``. It is stored also when its publisher has gone."""

    __slots__ = ("append", "counters", "deliver", "key")

    abandoned = False

    def __init__(self, append: Append, deliver: Deliver, counters: HistoryCounters) -> None:
        super().__init__(None, len(append.message))
        self.key: StreamKey = (append.app_id, append.channel)
        self.append = append
        self.deliver = deliver
        self.counters = counters

    def fail(self, problem: BaseException) -> None:
        """Counts the failure, and raises it at the publisher."""
        if not self.future.done() or self.future.cancelled():
            self.counters.write_failures[self.key[0]] += 1
        super().fail(problem)


_Batch = Sequence[_Entry]


class Writer:
    """The queue of one process and the only thing that commits."""

    def __init__(
        self,
        store: HistoryStore,
        calls: StoreCalls,
        heads: Heads,
        degraded: DegradedStreams,
        taking: Taking,
        sequencer: Sequencer,
        clock: Clock,
        sleep: Sleep,
        counters: HistoryCounters,
        capacity: int,
    ) -> None:
        self._store = store
        self._calls = calls
        self._heads = heads
        self._degraded = degraded
        self._taking = taking
        self._sequencer = sequencer
        self._clock = clock
        self._counters = counters
        self._capacity = capacity
        self._closed = False
        self._regrouping = Regrouping(clock, sleep)
        self._commits = GroupCommit(self._commit, _BOUNDS, unavailable, name="the history", turn=self._turn)

    @property
    def depth(self) -> int:
        """Publishes that are not answered yet."""
        return self._commits.waiting + self._commits.group_size

    @property
    def group_size(self) -> int:
        """Publishes that were taken for the commit which is under way, or whose messages are being delivered."""
        return self._commits.group_size

    def submit(
        self, append: Append, deliver: Deliver, counters: HistoryCounters | None = None
    ) -> asyncio.Future[Committed]:
        """Queues a publish; see `History.submit`."""
        counters = counters or self._counters
        if self._closed:
            raise unavailable("The server is shutting down")
        if (append.app_id, append.channel) in self._degraded:
            raise _degraded(append.channel)
        if self._calls.hanging:
            raise unavailable("The history store hangs; nothing was published")
        entry = _Entry(append, deliver, counters)
        if self.depth >= self._capacity or self._commits.waiting_weight + entry.weight > _BOUNDS.waiting:
            counters.refused_busy[append.app_id] += 1
            raise errors.HISTORY_BUSY(
                f"{self.depth} publishes wait to be stored, the limit is {self._capacity}", retry_after=RETRY_AFTER
            )
        self._commits.submit(entry)
        self._regrouping.arrived()
        return entry.future

    async def finish(self) -> None:
        """Takes no more publishes and returns once all those that were taken are answered."""
        self._closed = True
        await self._commits.close()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._commits.waiting < _BOUNDS.calls:
            await self._regrouping.wait()
        async with self._calls.lock:
            with self._sequencer.turn():
                yield

    async def _commit(self, batch: _Batch) -> None:
        """Stores, delivers and answers the publishes. What is raised is the answer of those that have none."""
        self._sequencer.under_way.update([entry.key for entry in batch])
        if self._degraded:
            batch = self._without_degraded(batch)
        if not batch:
            return
        known = {entry.key: self._heads.get(entry.key) for entry in batch}
        started = self._clock.monotonic()
        try:
            outcomes = await self._calls.change(
                self._store.commit([entry.append for entry in batch]), late=partial(self._learn, batch)
            )
        except OutcomeUnknown as problem:
            self._taking.refused(problem)
            self._lose(batch, known, problem)
            raise
        except SockudoError as problem:
            if problem.spec is errors.HISTORY_UNAVAILABLE:
                self._taking.refused(problem)
            raise
        else:
            took = self._clock.monotonic() - started
            self._taking.stored()
            for counters, app_id in {(entry.counters, entry.key[0]) for entry in batch}:
                counters.note_commit(app_id, took)
            await self._accept(batch, outcomes)
            self._regrouping.answered(len(batch), took)

    def _without_degraded(self, batch: _Batch) -> _Batch:
        """What is not for a stream that became degraded while it waited; the rest is refused."""
        healthy = []
        for entry in batch:
            if entry.key in self._degraded:
                entry.fail(_degraded(entry.append.channel))
            else:
                healthy.append(entry)
        return healthy

    async def _accept(self, batch: _Batch, outcomes: Sequence[Committed]) -> None:
        """Delivers what was stored and answers the publishers, in order."""
        streams = await self._check_streams(batch, outcomes)
        for number, (entry, outcome) in enumerate(zip(batch, outcomes, strict=True), 1):
            if outcome.is_new:
                stream_id = streams.get(entry.key)
                if stream_id is None:
                    continue
                entry.counters.writes[entry.key[0]] += 1
                message_id = _message_id(entry.append, outcome)
                if stream_id is not _BEHIND:
                    if stream_id != outcome.position.stream_id:
                        place = Position(stream_id, outcome.position.serial)
                        outcome = outcome._replace(position=place)  # noqa: PLW2901 - the same one
                    self._heads.advance(entry.key, outcome.position, message_id)
                    self._deliver(entry, outcome)
                else:
                    self._sequencer.hold(
                        entry.key,
                        outcome.position,
                        message_id,
                        entry.weight,
                        partial(self._deliver_at, entry, outcome),
                    )
            entry.answer(outcome)
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        if self._sequencer.waiting:
            for key in streams:
                self._sequencer.drain(key)

    async def _check_streams(self, batch: _Batch, outcomes: Sequence[Committed]) -> dict[StreamKey, str]:
        """The stream that each channel's new messages belong to, `_BEHIND` where those of other nodes come first.

        A store that was wiped or restored shows here: a stream that does not go on where it was must not go on at all
        without its subscribers. A channel that cannot be brought in order is left out, and is degraded.
        """
        firsts: dict[StreamKey, Position] = {}
        for entry, outcome in zip(batch, outcomes, strict=True):
            if outcome.is_new:
                firsts.setdefault(entry.key, outcome.position)
        streams: dict[StreamKey, str] = {}
        for key, first in firsts.items():
            before = self._heads.get(key)
            head = Position(first.stream_id, first.serial - 1)
            if before is None or before == head:
                fallen = self._heads.fell_back(None, head)
            else:
                fallen = self._heads.fell_back(before, head)
                if not fallen and before.stream_id == head.stream_id:
                    streams[key] = _BEHIND
                    continue
            if fallen:
                try:
                    info = await self._calls.change(self._store.rotate(*key, self._now_ms()))
                except SockudoError as problem:
                    self._lose_fallen(key, batch, outcomes, problem)
                    continue
                head = Position(info.stream_id, head.serial)
            if fallen or (before is not None and head != before):
                self._heads.move(key, head)
            streams[key] = head.stream_id
        return streams

    def _deliver_at(self, entry: _Entry, outcome: Committed, position: Position) -> None:
        self._deliver(entry, outcome._replace(position=position))

    def _deliver(self, entry: _Entry, outcome: Committed) -> None:
        try:
            entry.deliver(outcome)
        except Exception as defect:  # noqa: BLE001 - it is stored, and the others have to be delivered
            _log.error("a stored message could not be delivered", channel=entry.append.channel, exc_info=defect)

    def _lose(self, batch: _Batch, known: dict[StreamKey, Position | None], problem: SockudoError) -> None:
        """Whether these were stored is not known: nothing of their streams is delivered or read until it is."""
        appends: dict[StreamKey, list[Append]] = {}
        for entry in batch:
            appends.setdefault(entry.key, []).append(entry.append)
        for key, unheard in appends.items():
            self._degraded.add(key, unheard, known[key])
        self._give_up_waiting(problem)

    def _lose_fallen(self, key: StreamKey, batch: _Batch, outcomes: Sequence[Committed], problem: SockudoError) -> None:
        """These were stored where other messages had been: they are taken back, and the stream gets another id."""
        unheard = [entry for entry, outcome in zip(batch, outcomes, strict=True) if entry.key == key and outcome.is_new]
        self._degraded.add(key, [entry.append for entry in unheard], None, fallen=True)
        for entry in unheard:
            entry.fail(problem)
        self._give_up_waiting(problem)

    def _give_up_waiting(self, problem: SockudoError) -> None:
        """No publish waits longer for a store that hangs than the one whose commit hangs."""
        if self._calls.hanging:
            self._commits.refuse_waiting(problem)

    def _learn(self, batch: _Batch, commit: asyncio.Task[list[Committed]]) -> None:
        """A commit that was given up has ended: only what it did store has to be taken back."""
        problem = None if commit.cancelled() else commit.exception()
        if commit.cancelled() or isinstance(problem, OutcomeUnknown):
            return
        stored: dict[StreamKey, list[Append]] = {entry.key: [] for entry in batch}
        if problem is None:
            for entry, outcome in zip(batch, commit.result(), strict=True):
                if outcome.is_new:
                    stored[entry.key].append(entry.append)
        for key, appends in stored.items():
            self._degraded.learn(key, appends)

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)


def _degraded(channel: str) -> SockudoError:
    name = channel_of_log(channel) or channel
    return errors.HISTORY_DEGRADED(
        f"The durable stream of channel '{name}' is degraded; nothing was published", retry_after=RETRY_AFTER
    )


def _message_id(append: Append, outcome: Committed) -> str | None:
    """The message id of the row: of a change that is its serial, which the store may have moved."""
    version = outcome.version
    return append.message_id if version is None or version.action == "create" else version.version_serial
