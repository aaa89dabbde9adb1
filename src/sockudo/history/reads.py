"""Reading streams: in bounded time, and never anything that nobody was told of."""

from __future__ import annotations

from sockudo.history.calls import StoreCalls
from sockudo.history.degraded import DegradedStreams
from sockudo.history.heads import Heads, StreamKey
from sockudo.history.origins import Origins
from sockudo.history.sequencer import Sequencer
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.records import WHOLE_STREAM, Bounds, Direction, Page, Position, StreamInfo

__all__ = ["Reads"]


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
    ) -> Page:
        """See `HistoryStore.read`; raises errors.HISTORY_UNAVAILABLE."""
        read = self._store.read(*key, bounds=bounds, direction=direction, limit=limit, after=after)
        return await self._calls.read(read)

    def check(self, key: StreamKey, info: StreamInfo | None = None) -> None:
        """See `DegradedStreams.check`."""
        self._degraded.check(key, info)

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
