"""Reading streams, those that have not begun included: in bounded time, and never anything that may be taken back."""

from __future__ import annotations

from sockudo.base.clock import Clock
from sockudo.base.ids import derived_id
from sockudo.base.stream_records import (
    KEEP_ALL,
    SEED_PLACE,
    WHOLE_STREAM,
    Bounds,
    Direction,
    Page,
    Position,
    Retained,
    StreamInfo,
)
from sockudo.history.calls import StoreCalls
from sockudo.history.degraded import DegradedStreams
from sockudo.history.heads import Heads, StreamKey
from sockudo.history.sequencer import Sequencer
from sockudo.hub.streams.ports import HistoryStore

__all__ = ["Origins", "Reads"]


class Origins:
    """The streams that have not begun: where a channel is before its first message, without anything being stored.

    A client that subscribes to a durable channel gets its place, also when nothing was ever published to it, and has to
    be found there after a cut or a restart. So the id of the stream that the first message will begin follows from the
    names of app and channel and from a seed. The seed is the random id of a stream of its own at `SEED_PLACE`: it lasts
    as long as the store, is the same for all of its nodes, and a store that was wiped has another one.

    An id comes back only for a channel whose stream was never written to: what is written stays, and so does what a
    reset or a rotation has made.
    """

    def __init__(self, store: HistoryStore, calls: StoreCalls, clock: Clock) -> None:
        self._store = store
        self._calls = calls
        self._clock = clock
        # None while it may not be that of the store.
        self._seed: bytes | None = None

    async def load(self) -> bytes:
        """Looks up the seed, which the first node makes. Raises errors.HISTORY_UNAVAILABLE.

        Until it is there the known one stays: a message that is published meanwhile begins the stream whose id
        subscribers have.
        """
        info = await self._calls.read(self._store.info(*SEED_PLACE))
        if info is None:
            now_ms = int(self._clock.time() * 1000)
            info = await self._calls.read(self._store.ensure(*SEED_PLACE, now_ms, KEEP_ALL))
        self._seed = info.stream_id.encode()
        return self._seed

    def forget(self) -> None:
        """The store is not the one that it was: until the seed was looked up again ids are random."""
        self._seed = None

    def id_of(self, key: StreamKey) -> str | None:
        """The id of the stream of a channel without one; None while that is not known."""
        return None if self._seed is None else derived_id(self._seed, *key)

    async def stream(self, key: StreamKey) -> StreamInfo:
        """The stream of a channel without one, as its first message will find it.

        Raises errors.HISTORY_UNAVAILABLE.
        """
        return StreamInfo(derived_id(await self.load(), *key), 1, Retained())


class Reads:
    """Every read of messages goes through here and ends with `confirm`.

    The store shows a message from its commit on, a moment before it is delivered; and should the outcome of the commit
    be unknown, the message is taken back. So what was read is only shown once that is settled.
    """

    def __init__(
        self,
        store: HistoryStore,
        calls: StoreCalls,
        heads: Heads,
        sequencer: Sequencer,
        degraded: DegradedStreams,
        origins: Origins,
    ) -> None:
        self._store = store
        self._calls = calls
        self._heads = heads
        self._sequencer = sequencer
        self._degraded = degraded
        self._origins = origins

    async def info(self, key: StreamKey) -> StreamInfo | None:
        """The stream of a channel; raises errors.HISTORY_UNAVAILABLE."""
        return await self._calls.read(self._store.info(*key))

    async def stream(self, key: StreamKey) -> StreamInfo:
        """The same, or the stream that the first message of the channel will begin."""
        return await self.info(key) or await self._origins.stream(key)

    async def page(
        self,
        key: StreamKey,
        *,
        bounds: Bounds = WHOLE_STREAM,
        direction: Direction = "newest_first",
        limit: int,
        after: int | None = None,
        latest: bool = False,
    ) -> Page:
        """See `HistoryStore.read`; raises errors.HISTORY_UNAVAILABLE."""
        read = self._store.read(*key, bounds=bounds, direction=direction, limit=limit, after=after, latest=latest)
        return await self._calls.read(read)

    def check(self, key: StreamKey, info: StreamInfo | None = None) -> None:
        """See `DegradedStreams.check`."""
        self._degraded.check(key, "healthy" if info is None else info.state)

    async def confirm(self, key: StreamKey) -> None:
        """Returns once everything of the channel that was read may be shown; raises errors.HISTORY_DEGRADED."""
        await self._sequencer.idle(key)
        self.check(key)

    async def deliver_to(self, key: StreamKey, head: Position) -> bool:
        """Returns once everything up to ``head``, which was read from the store, has been delivered on this node too.

        False when the channel has gone on elsewhere meanwhile. Nothing is delivered of a channel that this node does
        not know. Raises errors.HISTORY_UNAVAILABLE and errors.HISTORY_DEGRADED.
        """
        known = self._heads.get(key)
        if known is not None and known.stream_id == head.stream_id and known.serial < head.serial:
            await self._sequencer.catch_up(key, head)
            known = self._heads.get(key)
        return known is None or (known.stream_id == head.stream_id and known.serial >= head.serial)
