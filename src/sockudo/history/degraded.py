"""Streams of which it is not known whether the last publishes were stored, and their way back to health.

The publisher was refused, and the message was not delivered. So nothing is published on such a stream and nothing
read from it, until the store answers and has taken back what it did store (spec: history § 1.8 and 10.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.base.message_records import channel_of_log
from sockudo.base.stream_records import Append, Bounds, DurableState, Position, StreamInfo
from sockudo.errors import SockudoError
from sockudo.history.calls import RETRY_AFTER, Sleep, StoreCalls
from sockudo.history.heads import Heads, StreamKey
from sockudo.history.upkeep import HistoryCounters
from sockudo.hub.streams.ports import HistoryStore

__all__ = ["WRITE_FAILED", "Degraded", "DegradedStreams"]

WRITE_FAILED: Final = "durable_history_write_failed"

_FIRST_DELAY: Final = 0.1
_MAX_DELAY: Final = 5.0

_log = structlog.get_logger("sockudo.history")


@dataclass(slots=True)
class Degraded:
    """One degraded stream. ``appends`` may have been stored behind ``after``, which is None where that is not known.

    ``fallen``: the stream had fallen back, so it needs another id. ``marked``: the state may be written in the store.
    """

    node_id: str
    since_ms: int
    appends: Sequence[Append]
    after: Position | None
    fallen: bool
    reason: str = WRITE_FAILED
    marked: bool = False


class DegradedStreams:
    """The degraded streams of this process, and what makes them healthy again."""

    def __init__(
        self,
        store: HistoryStore,
        calls: StoreCalls,
        heads: Heads,
        clock: Clock,
        sleep: Sleep,
        node_id: str,
        counters: HistoryCounters,
    ) -> None:
        self._store = store
        self._calls = calls
        self._heads = heads
        self._clock = clock
        self._sleep = sleep
        self._node_id = node_id
        self._counters = counters
        self._streams: dict[StreamKey, Degraded] = {}
        self._added = asyncio.Event()

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[StreamKey]:
        return iter(self._streams)

    def __contains__(self, key: StreamKey) -> bool:
        return key in self._streams

    def get(self, key: StreamKey) -> Degraded | None:
        """What is known about a degraded stream; None for a healthy one."""
        return self._streams.get(key)

    def check(self, key: StreamKey, state: DurableState = "healthy") -> None:
        """Raises errors.HISTORY_DEGRADED for a stream that must not be read, by our knowledge or by the store's."""
        if key in self._streams:
            state = "degraded"
        if state != "healthy":
            itself = "it heals once the store answers, or by a reset"
            cure = "only a reset heals it" if state == "reset_required" else itself
            channel = channel_of_log(key[1]) or key[1]
            raise errors.HISTORY_DEGRADED(
                f"The durable stream of channel '{channel}' is {state}: {cure}", retry_after=RETRY_AFTER
            )

    def add(self, key: StreamKey, appends: Sequence[Append], after: Position | None, *, fallen: bool = False) -> None:
        """These appends may have been stored, and their publishers were answered that they failed."""
        self._streams[key] = Degraded(self._node_id, self._now_ms(), appends, after, fallen)
        self._counters.degradations[key[0]] += 1
        self._added.set()
        _log.error("stream degraded", app_id=key[0], channel=key[1], reason=WRITE_FAILED, messages=len(appends))

    def learn(self, key: StreamKey, stored: Sequence[Append]) -> None:
        """Which of the appends were stored has turned out after all."""
        if (found := self._streams.get(key)) is not None:
            found.appends = stored

    def remove(self, key: StreamKey) -> None:
        """The stream is healthy."""
        if (found := self._streams.pop(key, None)) is not None:
            self._counters.healings[key[0]] += 1
            seconds = (self._now_ms() - found.since_ms) / 1000
            _log.info("stream healthy again", app_id=key[0], channel=key[1], seconds=round(seconds, 1))

    async def heal(self) -> None:
        """Runs for as long as the process: tries at once, then ever more rarely, until every stream is healthy."""
        while True:
            await self._added.wait()
            self._added.clear()
            delay = _FIRST_DELAY
            while self._streams:
                await self._calls.free()
                if await self.try_all():
                    break
                await self._sleep(delay)
                delay = min(delay * 2, _MAX_DELAY)

    async def try_all(self) -> bool:
        """Tries each stream once, up to the first failure; whether all are healthy."""
        async with self._calls.lock:
            for key, stream in list(self._streams.items()):
                try:
                    await self._cure(key, stream)
                except SockudoError as problem:
                    _log.debug("stream stays degraded", app_id=key[0], channel=key[1], problem=problem.text)
                    await self._mark(key, stream)
                    return False
        return True

    async def _cure(self, key: StreamKey, stream: Degraded) -> None:
        after = stream.after
        info = await self._calls.change(self._store.info(*key))
        if stream.appends:
            # The serials of a stream that fell back, or of another one, say nothing about what is new.
            stream.fallen = stream.fallen or (info is not None and await self._is_another(key, after, info))
            fallen = stream.fallen or info is None or self._heads.fell_back(after, info.head)
            start = after.serial if after and info and info.stream_id == after.stream_id and not fallen else 0
            info = await self._calls.change(self._store.retract(stream.appends, start, self._now_ms()))
        if info is not None and (stream.fallen or self._heads.fell_back(after, info.head)):
            info = await self._calls.change(self._store.rotate(*key, self._now_ms()))
        if stream.marked:
            await self._calls.change(self._store.mark(*key, "healthy", None, None, self._now_ms()))
        self.remove(key)
        self._tell(key, info)

    async def _is_another(self, key: StreamKey, after: Position | None, info: StreamInfo) -> bool:
        """Whether something else stands where the newest confirmed message was, as in a backup that was added to."""
        known = self._heads.message_id(key)
        if known is None or after is None or after.stream_id != info.stream_id or info.head.serial < after.serial:
            return False
        bounds = Bounds(start_serial=after.serial, end_serial=after.serial)
        page = await self._calls.read(self._store.read(*key, bounds=bounds, limit=1))
        return any(row.message_id != known for row in page.rows)

    def _tell(self, key: StreamKey, info: StreamInfo | None) -> None:
        known = self._heads.get(key)
        if info is not None and known is not None and known.stream_id != info.stream_id:
            self._heads.move(key, info.head)

    async def _mark(self, key: StreamKey, stream: Degraded) -> None:
        if stream.marked or self._calls.hanging:
            return
        stream.marked = True
        mark = self._store.mark(*key, "degraded", stream.reason, stream.node_id, stream.since_ms)
        try:
            await self._calls.change(mark)
        except SockudoError as problem:
            _log.debug("state not written", app_id=key[0], channel=key[1], problem=problem.text)

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)
