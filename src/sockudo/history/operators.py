"""What operators do to streams by hand (spec: history § 7.2): a channel's log of versions goes with its history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from sockudo.base.clock import Clock
from sockudo.base.message_records import log_of
from sockudo.base.stream_records import Purged
from sockudo.errors import SockudoError
from sockudo.history.calls import StoreCalls
from sockudo.history.degraded import DegradedStreams
from sockudo.history.heads import Heads, StreamKey
from sockudo.history.pages import stream_object
from sockudo.history.query import Purge, Reset
from sockudo.history.reads import Origins, Reads
from sockudo.history.upkeep import HistoryOptions
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.totals import group_of

__all__ = ["Operators", "StreamTrimmed"]

StreamTrimmed = Callable[[str, str, int], None]
"""App id, stream and the oldest serial that may still be replayed: what was before it is erased."""

_log = structlog.get_logger("sockudo.history")


class Operators:
    """The operations of one `History`; ``on_trimmed`` is called when messages were erased."""

    def __init__(
        self,
        store: HistoryStore,
        calls: StoreCalls,
        reads: Reads,
        heads: Heads,
        degraded: DegradedStreams,
        origins: Origins,
        clock: Clock,
        options: HistoryOptions,
        on_trimmed: StreamTrimmed | None,
    ) -> None:
        self._store = store
        self._calls = calls
        self._reads = reads
        self._heads = heads
        self._degraded = degraded
        self._origins = origins
        self._clock = clock
        self._options = options
        self._on_trimmed = on_trimmed

    async def require_reset(self, app_id: str, channel: str, reason: str) -> None:
        """Writes down that the stream lacks something for good, which only a reset heals.

        Raises errors.HISTORY_UNAVAILABLE.
        """
        async with self._calls.lock:
            await self._calls.change(
                self._store.mark(app_id, channel, "reset_required", reason, self._options.node_id, self._now_ms())
            )

    async def state(self, app_id: str, channel: str) -> dict[str, Any]:
        """The stream as operators see it (spec: history § 7.2). Raises errors.HISTORY_UNAVAILABLE."""
        key = (app_id, channel)
        info = await self._reads.info(key)
        return {"channel": channel, "stream": stream_object(info, self._degraded.get(key), self._options.backend)}

    async def reset(self, app_id: str, channel: str, request: Reset) -> dict[str, Any]:
        """Drops everything and starts a new stream, healthy, on which live subscribers go on.

        Raises errors.INVALID_INPUT and errors.HISTORY_UNAVAILABLE.
        """
        request.check(channel)
        key = (app_id, channel)
        async with self._calls.lock:
            log = await self._log_of(key)
            if log is not None:
                await self._reset(log)
            purged = await self._reset(key)
            with suppress(SockudoError):
                # It was reset all the same; the seed is looked up when it is needed.
                await self._origins.load()
        _log.warning("stream reset", app_id=app_id, channel=channel, reason=request.reason, by=request.requested_by)
        return {
            **request.echo(),
            "previous_stream_id": purged.previous,
            "new_stream_id": purged.info and purged.info.stream_id,
            "purged_messages": purged.messages,
            "purged_bytes": purged.size,
            "stream": stream_object(purged.info, None, self._options.backend),
        }

    async def purge(self, app_id: str, channel: str, request: Purge) -> dict[str, Any]:
        """Drops a prefix of the stream, which goes on.

        Raises errors.INVALID_INPUT, errors.HISTORY_UNAVAILABLE, errors.HISTORY_DEGRADED: what was not delivered has to
        be taken back first, or its serial would be lost.
        """
        request.check(channel)
        key = (app_id, channel)
        async with self._calls.lock:
            self._reads.check(key)
            self._reads.check((app_id, log_of(channel)))
            log = await self._log_of(key)
            purged = await self._purge(key, request.before_serial, request.before_time_ms)
            if log is not None:
                oldest_at_ms = None if purged.info is None else purged.info.retained.oldest_at_ms
                time_ms = oldest_at_ms if request.mode == "before_serial" else request.before_time_ms
                await self._purge(log, None, time_ms)
        _log.warning("stream purged", app_id=app_id, channel=channel, reason=request.reason, by=request.requested_by)
        return {
            **request.echo(),
            "purged_messages": purged.messages,
            "purged_bytes": purged.size,
            "stream": stream_object(purged.info, None, self._options.backend),
        }

    async def _log_of(self, key: StreamKey) -> StreamKey | None:
        """The log of a channel that has one; no other stream has."""
        if not group_of(*key).of_messages:
            return None
        log = key[0], log_of(key[1])
        return None if (await self._reads.page(log, limit=1)).info is None else log

    async def _reset(self, key: StreamKey) -> Purged:
        reset = self._store.reset(*key, self._now_ms())
        purged = await self._calls.change(reset, late=lambda task: self._was_reset_late(key, task))
        self._was_reset(key, purged)
        return purged

    async def _purge(self, key: StreamKey, before_serial: int | None, before_time_ms: int | None) -> Purged:
        purge = self._store.purge(*key, self._now_ms(), before_serial=before_serial, before_time_ms=before_time_ms)
        purged = await self._calls.change(purge, late=lambda task: self._was_purged_late(key, task))
        self._was_purged(key, purged)
        return purged

    def _was_reset(self, key: StreamKey, purged: Purged) -> None:
        self._degraded.remove(key)
        if purged.info is not None:
            self._heads.move(key, purged.info.head)

    def _was_reset_late(self, key: StreamKey, task: asyncio.Task[Purged]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._was_reset(key, task.result())

    def _was_purged(self, key: StreamKey, purged: Purged) -> None:
        if self._on_trimmed is not None and purged.info is not None:
            oldest = purged.info.retained.oldest_serial
            self._on_trimmed(*key, purged.info.next_serial if oldest is None else oldest)

    def _was_purged_late(self, key: StreamKey, task: asyncio.Task[Purged]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._was_purged(key, task.result())

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)
