"""Where a channel is before its first message, without anything being stored for it.

A client that subscribes to a durable channel gets its place, also when nothing was ever published to it, and has to
be found there after a cut or a restart. So the id of the stream that the first message will begin follows from the
names of app and channel and from a seed. The seed is the random id of a stream of its own at `SEED_PLACE`: it lasts as
long as the store, is the same for all of its nodes, and a store that was wiped has another one.

An id comes back only for a channel whose stream was never written to: what is written stays, and so does what a reset
or a rotation has made.
"""

from __future__ import annotations

from sockudo.base.clock import Clock
from sockudo.base.ids import derived_id
from sockudo.history.calls import StoreCalls
from sockudo.history.heads import StreamKey
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.records import KEEP_ALL, SEED_PLACE, Retained, StreamInfo

__all__ = ["Origins"]


class Origins:
    """The streams that have not begun."""

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
