"""Writing presence histories: behind what happens and in its order, never in its way (spec: history § 8.1 and 8.2).

What cannot be written now waits and is tried again, so that a store that was away costs nothing but time. Only what is
lost for good leaves a mark that needs a reset.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import structlog

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.base.ids import unique_id
from sockudo.base.stream_records import Committed, Retention
from sockudo.base.tasks import end_tasks
from sockudo.errors import SockudoError
from sockudo.history.calls import Sleep
from sockudo.history.frames import is_shown
from sockudo.history.heads import StreamKey
from sockudo.history.presence_events import RecordedEvent, StoredEventError, decode_event, stream_of
from sockudo.history.presence_log import LogKey, Member, PresenceLog, Step, fold
from sockudo.history.query import Reset
from sockudo.history.service import History
from sockudo.history.upkeep import HistoryCounters

__all__ = ["EVENTS_LOST", "WRITE_FAILED", "Mark", "PresenceCounters", "PresenceWriter"]

WRITE_FAILED: Final = "presence_history_write_failed"
EVENTS_LOST: Final = "presence_history_reset_required_after_write_failure"

# Together at most half of what may wait for the store by default: publishes have to find room.
_CHUNK: Final = 32
_CONCURRENT: Final = 64
# About 50 MB. An event that finds so many waiting is lost.
_MAX_WAITING: Final = 100_000
# The content of a log can be read again.
_MAX_LOGS: Final = 50_000
_PAGE: Final = 1000

_FIRST_DELAY: Final = 0.1
_MAX_DELAY: Final = 5.0
_CLOSING: Final = 5.0
_TRANSIENT: Final = (errors.HISTORY_UNAVAILABLE, errors.HISTORY_BUSY, errors.HISTORY_DEGRADED)

_log = structlog.get_logger("sockudo.presence_history")


@dataclass(slots=True)
class Mark:
    """Why a presence history is not what happened. ``written``: the store has it noted, too."""

    state: Literal["degraded", "reset_required"]
    reason: str
    since_ms: int
    written: bool = False


@dataclass(slots=True, eq=False)
class PresenceCounters(HistoryCounters):
    """Events are counted in place of messages; those in ``lost`` can never be written."""

    lost: Counter[str] = field(default_factory=Counter)


class PresenceWriter:
    """The logs of this process. ``durable`` is the history of the messages, which need not be open.

    Members of a process that has not taken them out itself, and that does not live by ``lives``, are taken out by
    the first node that reads its logs.
    """

    def __init__(
        self,
        memory: History,
        durable: Component[History],
        clock: Clock,
        sleep: Sleep,
        node_id: str,
        lives: Callable[[str, str, str, str | None], bool],
    ) -> None:
        self.durable = durable
        self.counters = PresenceCounters()
        self.marks: dict[LogKey, Mark] = {}
        # Events that are not written yet.
        self.depth = 0
        self._memory = memory
        self._clock = clock
        self._sleep = sleep
        self._node_id = node_id
        self._lives = lives
        # The ones used last at the end.
        self._logs: dict[LogKey, PresenceLog] = {}
        self._slots = asyncio.Semaphore(_CONCURRENT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def history(self, *, durable: bool) -> History:
        """Where these events are kept. Raises errors.HISTORY_UNAVAILABLE while the durable history is not open."""
        return self.durable.service if durable else self._memory

    def mark(self, key: StreamKey, *, durable: bool) -> Mark | None:
        """What is known to be wrong with the presence history of a channel."""
        return self.marks.get(LogKey(*key, durable))

    def _of(self, key: LogKey) -> PresenceLog:
        log = self._logs.pop(key, None)
        if log is None:
            log = PresenceLog(key)
            if len(self._logs) >= _MAX_LOGS:
                self._drop_idle()
        self._logs[key] = log
        return log

    def _drop_idle(self) -> None:
        idle = next((log.key for log in self._logs.values() if log.task is None and not log.lock.locked()), None)
        if idle is not None:
            del self._logs[idle]

    # ---- in ----

    def record(self, key: StreamKey, event: RecordedEvent, retention: Retention, *, durable: bool) -> None:
        """Takes an event; those of a channel are written in this order."""
        if self._closed:
            return
        log = self._of(LogKey(*key, durable))
        if self.depth >= _MAX_WAITING:
            self._lose(log, 1, f"{self.depth} events wait to be written")
            return
        log.retention = retention
        log.waiting.append(event)
        self.depth += 1
        self._begin(log)

    def _begin(self, log: PresenceLog) -> None:
        if log.waiting and log.task is None and not self._closed:
            log.task = self._spawn(self._write_all(log))

    async def catch_up(self, key: StreamKey, retention: Retention, *, durable: bool) -> None:
        """Returns once what has happened on the channel is written, or it has turned out that it cannot be now.

        Raises errors.HISTORY_UNAVAILABLE and errors.HISTORY_DEGRADED when nothing has, and it cannot be looked whether
        another process left members in.
        """
        log = self._of(LogKey(*key, durable))
        log.retention = retention
        if not log.known and not log.waiting:
            async with log.lock, self._slots:
                if not log.known:
                    await self._learn(self.history(durable=durable), log)
            self._begin(log)
        await self._catch_up(log)

    async def _catch_up(self, log: PresenceLog) -> None:
        if not log.known and (log.failing or not await self._attempt(log)):
            return
        end = log.taken + len(log.waiting)
        while log.taken < end and not log.failing and await self._attempt(log):
            pass

    async def reset(self, key: StreamKey, request: Reset, *, durable: bool) -> dict[str, Any]:
        """Starts the stream anew; see `History.reset`. Members of the old stream are not members by the new one."""
        history = self.history(durable=durable)
        log = self._of(LogKey(*key, durable))
        async with log.lock:
            reply = await history.reset(key[0], stream_of(key[1]), request)
            log.forget()
            log.failing = False
            if self.marks.pop(log.key, None) is not None:
                self.counters.healings[key[0]] += 1
        return reply

    def forget(self, key: StreamKey) -> None:
        """The durable stream is not what it was, so what is known of it has to be read again."""
        log = self._logs.get(LogKey(*key, True))
        if log is not None:
            log.forget()

    async def close(self) -> None:
        """Writes what can be written at once, within seconds, and gives up the rest."""
        self._closed = True
        rest = [self._spawn(self._catch_up(log)) for log in self._logs.values() if log.waiting]
        if rest:
            ends: list[asyncio.Future[Any]] = [
                asyncio.ensure_future(each) for each in (asyncio.wait(rest), self._sleep(_CLOSING))
            ]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
        await end_tasks(self._tasks)
        if self.depth:
            _log.error("presence events were not written before the end of the process", events=self.depth)

    # ---- out ----

    async def _write_all(self, log: PresenceLog) -> None:
        delay = _FIRST_DELAY
        try:
            while log.waiting or self._owes_mark(log):
                if await self._attempt(log):
                    delay = _FIRST_DELAY
                else:
                    await self._sleep(delay)
                    delay = min(delay * 2, _MAX_DELAY)
        finally:
            log.task = None

    async def _attempt(self, log: PresenceLog) -> bool:
        """Writes the next events; whether that could be done."""
        async with log.lock, self._slots:
            try:
                history = self.history(durable=log.key.durable)
                if not log.known:
                    await self._learn(history, log)
                await self._write(history, log)
                if self._owes_mark(log):
                    await history.require_reset(log.key.app_id, stream_of(log.key.channel), EVENTS_LOST)
                    self.marks[log.key].written = True
            except SockudoError as problem:
                self._failed(log, problem)
                return False
            self._went_well(log)
            return True

    async def _learn(self, history: History, log: PresenceLog) -> None:
        """Reads who is in by the log, which another process may have written."""
        app_id, channel, _ = log.key
        members: dict[str, Member] = {}
        after, more = None, True
        while more:
            page = await history.rows(app_id, stream_of(channel), direction="oldest_first", limit=_PAGE, after=after)
            for row in filter(is_shown, page.rows):
                try:
                    fold(members, row.message_id or "", decode_event(row))
                except StoredEventError as problem:
                    _log.error("a presence event cannot be read", app_id=app_id, channel=channel, reason=str(problem))
            more = page.has_more and bool(page.rows)
            after = page.rows[-1].serial if more else None
        orphans = [
            self._orphan(user_id, member)
            for user_id, member in members.items()
            if not self._lives(app_id, channel, user_id, member.node_id)
        ]
        if orphans:
            _log.info("members of a process that has ended", app_id=app_id, channel=channel, members=len(orphans))
        log.learn(members, orphans)
        self.depth += len(orphans)

    def _orphan(self, user_id: str, member: Member) -> RecordedEvent:
        return RecordedEvent(
            unique_id(),
            "member_removed",
            "orphan_cleanup",
            user_id,
            None,
            None,
            self._now_ms(),
            self._node_id,
            dead_node_id=member.node_id,
        )

    async def _write(self, history: History, log: PresenceLog) -> None:
        steps = log.plan(_CHUNK)
        problems = await self._stored(history, steps)
        failed = {place: problem for place, problem in enumerate(problems) if problem is not None}
        again = [place for place, problem in failed.items() if problem.spec in _TRANSIENT]
        lost = [place for place, problem in failed.items() if problem.spec not in _TRANSIENT]
        log.finish(steps, again=again, lost=lost)
        self.depth -= len(steps) - len(again)
        if lost:
            self._lose(log, len(lost), failed[lost[0]].text)
        if again:
            raise failed[again[0]]

    async def _stored(self, history: History, steps: Sequence[Step]) -> list[SockudoError | None]:
        """Writes the steps; for each what went wrong with it. Nothing is tried behind one that was refused."""
        problems: list[SockudoError | None] = [None] * len(steps)
        futures: dict[int, asyncio.Future[Committed]] = {}
        refusal = None
        for place, step in enumerate(steps):
            if step.append is None:
                continue
            if refusal is None:
                try:
                    futures[place] = history.submit(step.append, _nothing, self.counters)
                except SockudoError as problem:
                    refusal = problem
            problems[place] = refusal
        if futures:
            await asyncio.wait(futures.values())
        for place, future in futures.items():
            failure = future.exception()
            if isinstance(failure, SockudoError):
                problems[place] = failure
            elif failure is not None:
                raise failure
        return problems

    def _failed(self, log: PresenceLog, problem: SockudoError) -> None:
        if log.failing:
            return
        log.failing = True
        app_id, channel, _ = log.key
        _log.error("presence history cannot be written", app_id=app_id, channel=channel, reason=problem.text)
        if log.key not in self.marks:
            self._mark(log.key, Mark("degraded", WRITE_FAILED, self._now_ms()))

    def _went_well(self, log: PresenceLog) -> None:
        if not log.failing:
            return
        log.failing = False
        _log.info("presence history is written again", app_id=log.key.app_id, channel=log.key.channel)
        mark = self.marks.get(log.key)
        if mark is not None and mark.state == "degraded":
            del self.marks[log.key]
            self.counters.healings[log.key.app_id] += 1

    def _lose(self, log: PresenceLog, count: int, reason: str) -> None:
        self.counters.lost[log.key.app_id] += count
        mark = self.marks.get(log.key)
        if mark is not None and mark.state == "reset_required":
            return
        app_id, channel, _ = log.key
        _log.error("presence events are lost", app_id=app_id, channel=channel, events=count, reason=reason)
        self._mark(log.key, Mark("reset_required", EVENTS_LOST, self._now_ms()))
        if log.task is None and self._owes_mark(log):
            log.task = self._spawn(self._write_all(log))

    def _mark(self, key: LogKey, mark: Mark) -> None:
        if key not in self.marks:
            self.counters.degradations[key.app_id] += 1
        self.marks[key] = mark

    def _owes_mark(self, log: PresenceLog) -> bool:
        mark = self.marks.get(log.key)
        return log.key.durable and mark is not None and mark.state == "reset_required" and not mark.written

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            _log.error("writing a presence history failed", exc_info=problem)

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)


def _nothing(_: Committed) -> None:
    """Stands in for observers: events of the past are not reported."""
