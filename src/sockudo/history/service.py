"""Durable channels as a service: everything that other rooms ask of the history goes through `History`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from msgspec import structs

from sockudo.base.clock import Clock
from sockudo.base.message_records import Mutation
from sockudo.base.stream_records import (
    KEEP_ALL,
    WHOLE_STREAM,
    Append,
    Bounds,
    Committed,
    Create,
    Direction,
    Page,
    Position,
    Retention,
    Row,
    StreamInfo,
)
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.history.authority import DeliverAt, Elsewhere, StoreAuthority
from sockudo.history.calls import Sleep, StoreCalls, unavailable
from sockudo.history.degraded import DegradedStreams
from sockudo.history.heads import Heads, StreamChanged, StreamKey
from sockudo.history.messages import LatestReads, Messages
from sockudo.history.operators import Operators, StreamTrimmed
from sockudo.history.pages import authority, read_page, shorten_kinds, stream_state
from sockudo.history.query import HistoryQuery, Purge, Reset, socket_query
from sockudo.history.reads import Origins, Reads
from sockudo.history.replay import Failed, Replayed, Wanted, replay
from sockudo.history.rewind import Predicate, Rewound, rewind
from sockudo.history.sequencer import Sequencer
from sockudo.history.taking import Taking
from sockudo.history.upkeep import Expiry, HistoryCounters, HistoryOptions, Tally
from sockudo.history.writer import Deliver, Writer
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.totals import Evicted, Group, Total, group_of_channel

__all__ = ["History", "HistoryOptions", "StreamTrimmed"]

_log = structlog.get_logger("sockudo.history")


class History:
    """The durable streams of this process, over one store that it starts and closes.

    ``on_stream_changed`` is called whenever a channel goes on elsewhere than it was: after a reset, or in a store that
    was wiped or restored. ``on_stream_trimmed`` is called when an operator erased messages. Both come before anything
    is delivered in the new state. ``on_elsewhere`` delivers what another node stored, see `catch_up`. ``options`` may
    be replaced for another page size; the rest of them counts at the start. ``taking`` knows whether publishes are
    taken.
    """

    def __init__(
        self,
        store: HistoryStore,
        clock: Clock,
        options: HistoryOptions | None = None,
        on_stream_changed: StreamChanged | None = None,
        on_stream_trimmed: StreamTrimmed | None = None,
        on_elsewhere: Elsewhere | None = None,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.options = options or HistoryOptions()
        # Whether appends of a log, which other nodes have written, are wanted with all of their text.
        self.wants_whole: Callable[[str, str], bool] = lambda _app_id, _log: False
        self.counters = HistoryCounters()
        self._store = store
        self._clock = clock
        self._calls = StoreCalls(self.options.write_timeout, sleep)
        self._origins = Origins(store, self._calls, clock)
        self._on_changed = on_stream_changed
        self._heads = Heads(self._stream_changed)
        self._degraded = DegradedStreams(
            store, self._calls, self._heads, clock, sleep, self.options.node_id, self.counters
        )
        self.taking = taking = Taking(store, self._calls, self._degraded, clock, sleep)
        capacity = self.options.queue_capacity
        authority = StoreAuthority(
            store, self._calls, self._heads, self._degraded, on_elsewhere, self._settle, self._prepare
        )
        self._sequencer = sequencer = Sequencer(authority, self._heads, sleep)
        self._writer = Writer(
            store, self._calls, self._heads, self._degraded, taking, sequencer, clock, sleep, self.counters, capacity
        )
        self._reads = Reads(store, self._calls, self._heads, sequencer, self._degraded, self._origins)
        self._operators = Operators(
            store,
            self._calls,
            self._reads,
            self._heads,
            self._degraded,
            self._origins,
            clock,
            self.options,
            on_stream_trimmed,
        )
        self.messages = Messages(store, self._calls, self._reads)
        self._tally = Tally(store, self._calls, clock)
        self._expiry = Expiry(store, self._calls, clock, sleep, self.options)
        self._tasks: list[asyncio.Task[None]] = []

    # ---- the life of it ----

    async def start(self) -> None:
        """Opens the store and begins to write. Raises errors.HISTORY_UNAVAILABLE when the store cannot be used."""
        await self._store.start()
        try:
            await self._origins.load()
        except BaseException:
            await self._store.close()
            raise
        self._tasks = start_tasks(self._degraded.heal(), self.taking.run(), self._expiry.run())

    async def close(self) -> None:
        """Answers the publishes that wait, takes back what was not delivered where possible, and closes the store."""
        if self._tasks:
            await self._writer.finish()
            if self._degraded and not self._calls.hanging and not await self._degraded.try_all():
                _log.error("streams stay degraded over the end of the process", streams=len(self._degraded))
        await end_tasks(self._tasks)
        self._tasks = []
        await self._sequencer.close()
        await self._tally.close()
        await self._calls.close()
        await self._store.close()

    async def check(self) -> bool:
        """True when the store answers, for health checks. Raises the reason when it does not."""
        if self._calls.hanging:
            raise unavailable("The history store hangs")
        return await self._calls.read(self._store.check())

    # ---- publish and subscribe ----

    def submit(
        self, append: Append, deliver: Deliver, counters: HistoryCounters | None = None
    ) -> asyncio.Future[Committed]:
        """Stores a message; ``deliver`` is called once it is stored, then the future is done.

        What is no message of a channel is counted in ``counters``, not in those of the history.
        All messages of a channel are stored and delivered in the order in which they were submitted. A repeated one, or
        one in conflict with its key, is not delivered. Raises errors.HISTORY_BUSY, errors.HISTORY_DEGRADED or
        errors.HISTORY_UNAVAILABLE when it cannot be taken, and the future fails with one of the latter when it was not
        stored: then it never is, and is not delivered.
        """
        key = (append.app_id, append.channel)
        head = self._heads.get(key)
        if head is None or not head.serial:
            append = structs.replace(append, stream_id=self._origins.id_of(key), change=self._begun(key, append.change))
        return self._writer.submit(append, deliver, counters)

    def _begun(self, key: StreamKey, change: Create | Mutation | None) -> Create | Mutation | None:
        """A create that may be the first message of its history too."""
        if not isinstance(change, Create):
            return change
        return structs.replace(change, history_stream_id=self._origins.id_of((key[0], change.channel)))

    async def attach(self, app_id: str, channel: str, retention: Retention = KEEP_ALL) -> StreamInfo:
        """The stream of a channel, for who subscribes now (spec: history § 1.1 and 5.1); nothing is stored.

        Where there is none it is the one that the first message will begin. Everything up to its head has been
        delivered before this returns. Raises errors.HISTORY_UNAVAILABLE, and errors.HISTORY_DEGRADED where its place
        is not known.
        """
        key = (app_id, channel)
        while True:
            known, info = self._heads.get(key), await self._reads.stream(key)
            await self._reads.confirm(key)
            latest = self._heads.get(key)
            # Else the first message came meanwhile, and what other nodes stored before it does not come any more.
            if known is not None or latest is None:
                break
        if self._heads.fell_back(known, info.head):
            info = await self._reconcile(key, retention)
        elif latest is None:
            self._heads.advance(key, info.head)
        while not await self._reads.deliver_to(key, info.head):
            info = await self._reconcile(key, retention)
        return info

    # ---- what other nodes store ----

    def offer(
        self, app_id: str, channel: str, position: Position, message_id: str | None, size: int, deliver: DeliverAt
    ) -> None:
        """Takes a message that another node stored, with what delivers it here: at once, or behind those before it.

        Those that do not come by themselves are read from the store. One that was delivered already is dropped, and
        the first of a channel of which nothing is known here is delivered at once. ``size`` in bytes.
        """
        self._sequencer.offer((app_id, channel), position, message_id, size, deliver)

    async def catch_up(self, app_id: str, channel: str, position: Position | None = None) -> None:
        """Delivers what the store has beyond what was delivered here, in order and once, at least up to ``position``.

        Without a position up to the newest message. A channel of which nothing is known here begins with the message
        at ``position``. Where messages are gone by retention, or the channel goes on as another stream,
        ``on_stream_changed`` is called in their place. Raises errors.HISTORY_UNAVAILABLE and errors.HISTORY_DEGRADED.
        """
        await self._sequencer.catch_up((app_id, channel), position)

    async def _prepare(self, key: StreamKey, rows: Sequence[Row]) -> Sequence[Row]:
        return await self.messages.whole(key, rows) if self.wants_whole(*key) else rows

    async def compare(self, app_id: str, channel: str) -> None:
        """Does what `catch_up` does for a channel of which something is known here; of others nothing is missed."""
        if self._heads.get((app_id, channel)):
            await self._sequencer.catch_up((app_id, channel))

    def _stream_changed(self, app_id: str, channel: str, position: Position) -> None:
        self._origins.forget()
        if self._on_changed is not None:
            self._on_changed(app_id, channel, position)

    async def _reconcile(self, key: StreamKey, retention: Retention) -> StreamInfo:
        info = await self._settle(key, None, retention)
        if (known := self._heads.get(key)) is None or known.stream_id != info.stream_id:
            self._heads.move(key, info.head)
        return info

    async def _settle(self, key: StreamKey, replaced: Position | None, retention: Retention = KEEP_ALL) -> StreamInfo:
        """Looks again while nothing is being changed, since what was seen may have been on its way.

        A stream that fell back gets another id, and so does one where something else stands at ``replaced``.
        """
        async with self._calls.lock:
            self._reads.check(key)
            known = self._heads.get(key)
            info = await self._calls.change(self._store.ensure(*key, self._now_ms(), retention))
            spoilt = replaced is not None and replaced.stream_id == info.stream_id
            if spoilt or self._heads.fell_back(known, info.head):
                info = await self._calls.change(self._store.rotate(*key, self._now_ms()))
            return info

    def forget(self, app_id: str, channel: str) -> None:
        """The channel has no subscriber, and nothing of it is kept in memory any more."""
        self._heads.forget((app_id, channel))
        self._sequencer.release((app_id, channel))

    def closed(self, app_id: str, channel: str) -> None:
        """The channel has lost its last subscriber: its place before the first message need not be remembered."""
        if (head := self._heads.get((app_id, channel))) is not None and not head.serial:
            self.forget(app_id, channel)

    # ---- reading ----

    async def page(
        self, app_id: str, channel: str, query: HistoryQuery, attach: Position | None = None
    ) -> dict[str, Any]:
        """A page as it is answered over HTTP (spec: history § 7.1); ``attach`` is where the connection attached.

        Messages in it are `msgspec.Raw`. Raises errors.HISTORY_QUERY, errors.HISTORY_DEGRADED and
        errors.HISTORY_UNAVAILABLE.
        """
        key = (app_id, channel)
        info, reply = await read_page(LatestReads(self._reads, key), key, query, self.options.max_page_size, attach)
        reply["stream_state"] = stream_state(info, None, self.options.backend)
        return reply

    async def socket_page(
        self, app_id: str, channel: str, parameters: Mapping[str, Any], attach: Position | None
    ) -> dict[str, Any]:
        """A page as it is answered over a socket (spec: history § 6), from the parameters of the frame."""
        query = socket_query(parameters)
        reply = await self.page(app_id, channel, query, attach)
        shorten_kinds(reply["items"])
        reply["bounds"] |= {"until_attach": query.until_attach, "attach_serial": attach and attach.serial}
        return reply

    async def replay(
        self,
        app_id: str,
        channel: str,
        *,
        stream_id: str | None,
        serial: int,
        last_message_id: str | None = None,
        max_size: int,
        whole: bool = False,
    ) -> Replayed | Failed:
        """What came after a position, or why that is not known; raises nothing (spec: history § 3.3).

        With ``whole`` appends to messages come with all of their text.
        """
        wanted = Wanted(stream_id, serial, last_message_id)
        prepare = self.messages.whole if whole else None
        return await replay(self._reads, (app_id, channel), wanted, max_size, self.options.max_page_size, prepare)

    async def rewind(
        self,
        app_id: str,
        channel: str,
        *,
        count: int | None = None,
        seconds: int | None = None,
        head: Position,
        predicate: Predicate | None = None,
    ) -> Rewound:
        """The newest ``count`` messages up to ``head``, or those of the last ``seconds`` (spec: history § 5.3).

        Raises errors.HISTORY_DEGRADED and errors.HISTORY_UNAVAILABLE.
        """
        return await rewind(
            LatestReads(self._reads, (app_id, channel)),
            (app_id, channel),
            count=count,
            since_ms=None if count is not None or seconds is None else self._now_ms() - seconds * 1000,
            head=head,
            predicate=predicate,
            page_size=self.options.max_page_size,
        )

    async def rows(
        self,
        app_id: str,
        channel: str,
        *,
        bounds: Bounds = WHOLE_STREAM,
        direction: Direction = "newest_first",
        limit: int,
        after: int | None = None,
    ) -> Page:
        """Rows as they are stored, for who keeps something else than messages; see `HistoryStore.read`.

        The stream's state in the store is in the page and stops nothing. Raises errors.HISTORY_DEGRADED
        while it is not known what was stored, and errors.HISTORY_UNAVAILABLE.
        """
        key = (app_id, channel)
        page = await self._reads.page(key, bounds=bounds, direction=direction, limit=limit, after=after)
        await self._reads.confirm(key)
        return page

    # ---- operators ----

    async def require_reset(self, app_id: str, channel: str, reason: str) -> None:
        """See `Operators.require_reset`."""
        await self._operators.require_reset(app_id, channel, reason)

    async def state(self, app_id: str, channel: str) -> dict[str, Any]:
        """See `Operators.state`."""
        return await self._operators.state(app_id, channel)

    async def reset(self, app_id: str, channel: str, request: Reset) -> dict[str, Any]:
        """See `Operators.reset`."""
        return await self._operators.reset(app_id, channel, request)

    async def purge(self, app_id: str, channel: str, request: Purge) -> dict[str, Any]:
        """See `Operators.purge`."""
        return await self._operators.purge(app_id, channel, request)

    def runtime_status(self) -> dict[str, Any]:
        """The ``history`` block of ``/stats``."""
        return {
            "enabled": True,
            "backend": self.options.backend,
            "state_authority": authority(self.options.backend),
            "degraded_channels": len(self._degraded),
            "reset_required_channels": 0,
            "queue_depth": self._writer.depth,
        }

    @property
    def totals(self) -> Mapping[Group, Total]:
        """What the streams held when `refresh_totals` looked last."""
        return self._tally.totals

    @property
    def evicted(self) -> Evicted:
        """What retention took away."""
        return self._store.evicted

    def degraded(self) -> Counter[Group]:
        """How many streams are degraded now."""
        return Counter(group_of_channel(*key) for key in self._degraded)

    async def refresh_totals(self) -> None:
        """Looks again what the streams hold; raises nothing and takes a moment at most."""
        await self._tally.refresh()

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)
