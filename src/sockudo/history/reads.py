"""Reading streams: in bounded time, and never anything that nobody was told of."""

from __future__ import annotations

from sockudo import errors
from sockudo.history.calls import RETRY_AFTER, StoreCalls
from sockudo.history.degraded import DegradedStreams
from sockudo.history.heads import StreamKey
from sockudo.history.origins import Origins
from sockudo.history.writer import Writer
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.records import WHOLE_STREAM, Bounds, Direction, Page, StreamInfo

__all__ = ["Reads"]


class Reads:
    """Every read of messages goes through here and ends with `confirm`.

    The store shows a message from its commit on, a moment before it is delivered; and should the outcome of the commit
    be unknown, the message is taken back. So what was read is only shown once that is settled.
    """

    def __init__(
        self, store: HistoryStore, calls: StoreCalls, writer: Writer, degraded: DegradedStreams, origins: Origins
    ) -> None:
        self._store = store
        self._calls = calls
        self._writer = writer
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
        """Raises errors.HISTORY_DEGRADED for a stream that must not be read, by our knowledge or by the store's."""
        if key in self._degraded:
            raise _refusal(key[1], "degraded")
        if info is not None and info.state != "healthy":
            raise _refusal(key[1], info.state)

    async def confirm(self, key: StreamKey) -> None:
        """Returns once everything of the channel that was read may be shown; raises errors.HISTORY_DEGRADED."""
        await self._writer.settled(key)
        self.check(key)


def _refusal(channel: str, state: str) -> errors.SockudoError:
    cure = "only a reset heals it" if state == "reset_required" else "it heals once the store answers, or by a reset"
    return errors.HISTORY_DEGRADED(
        f"The durable stream of channel '{channel}' is {state}: {cure}", retry_after=RETRY_AFTER
    )
