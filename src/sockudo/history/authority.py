"""Where a stream is numbered, as the sequencer asks it: the store, or the node that holds a stream without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from sockudo.base.message_records import is_log
from sockudo.base.stream_records import Bounds, DurableState, Position, Row, StreamInfo
from sockudo.history.calls import StoreCalls
from sockudo.history.degraded import DegradedStreams
from sockudo.history.frames import is_shown
from sockudo.history.heads import Heads, StreamKey
from sockudo.hub.streams.ports import HistoryStore

__all__ = ["Authority", "DeliverAt", "Elsewhere", "Numbered", "Reading", "StoreAuthority"]

Elsewhere = Callable[[str, str, Row], None]
"""App id, channel and a message that another node stored: delivers it to the subscribers of this one."""

DeliverAt = Callable[[Position], None]
"""Delivers a message whose turn has come, at its place in the stream."""


class Numbered(NamedTuple):
    """A message at its place. ``deliver`` is None where only the place is left of it."""

    place: Position
    message_id: str | None
    deliver: DeliverAt | None


class Reading(NamedTuple):
    """What an authority has beyond a place, read in one consistent view; ``more``: there are further messages.

    A node that has followed another stream goes on behind the serial ``begin``, None being the head.
    """

    head: Position
    messages: Sequence[Numbered] = ()
    more: bool = False
    state: DurableState = "healthy"
    begin: int | None = None


class Authority(Protocol):
    """Numbers streams. Every method raises ``errors.SockudoError`` when it cannot be asked."""

    async def read(self, key: StreamKey, start: int | None) -> Reading | None:
        """The messages from the serial ``start`` on, oldest first, or only the head without one.

        The one at ``start`` may be left out. None when there is no stream.
        """
        ...

    def check(self, key: StreamKey, reading: Reading | None) -> None:
        """Raises when what was read must not be delivered."""

    def has_lost(self, known: Position, message_id: str | None, reading: Reading) -> bool:
        """Whether the stream lacks what was delivered here, up to ``known`` with the message of this id."""
        ...

    async def settle(self, key: StreamKey, known: Position) -> Position:
        """The head of the stream that goes on in the place of one that has lost what was delivered."""
        ...


_PAGE: Final = 250


class StoreAuthority:
    """The durable store. ``settle`` gives a stream that fell back another id."""

    def __init__(
        self,
        store: HistoryStore,
        calls: StoreCalls,
        heads: Heads,
        degraded: DegradedStreams,
        on_elsewhere: Elsewhere | None,
        settle: Callable[[StreamKey, Position], Awaitable[StreamInfo]],
        prepare: Callable[[StreamKey, Sequence[Row]], Awaitable[Sequence[Row]]],
    ) -> None:
        self._store = store
        self._calls = calls
        self._heads = heads
        self._degraded = degraded
        self._elsewhere = on_elsewhere
        self._settle = settle
        self._prepare = prepare

    async def read(self, key: StreamKey, start: int | None) -> Reading | None:
        bounds = Bounds(start_serial=start or 0)
        page = await self._calls.read(self._store.read(*key, bounds=bounds, direction="oldest_first", limit=_PAGE))
        if page.info is None:
            return None
        rows = await self._prepare(key, page.rows) if is_log(key[1]) else page.rows
        messages = [self._numbered(key, row) for row in rows]
        return Reading(page.info.head, messages, page.has_more, page.info.state)

    def _numbered(self, key: StreamKey, row: Row) -> Numbered:
        place = Position(row.stream_id, row.serial)
        return Numbered(place, row.message_id, partial(self._deliver, key, row) if is_shown(row) else None)

    def _deliver(self, key: StreamKey, row: Row, _place: Position) -> None:
        if self._elsewhere is not None:
            self._elsewhere(*key, row)

    def check(self, key: StreamKey, reading: Reading | None) -> None:
        self._degraded.check(key, "healthy" if reading is None else reading.state)

    def has_lost(self, known: Position, message_id: str | None, reading: Reading) -> bool:
        """It fell back, or something else stands where the message was, as in a backup that was added to."""
        first = reading.messages[0] if reading.messages else None
        same_place = first is not None and first.place == known and first.deliver is not None
        is_another = message_id is not None and same_place and first is not None and first.message_id != message_id
        return is_another or self._heads.fell_back(known, reading.head)

    async def settle(self, key: StreamKey, known: Position) -> Position:
        return (await self._settle(key, known)).head
