"""Messages for history stores, what came back, and several nodes with a history each over one store."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from contract.places import NOW, Place
from sockudo.base.stream_records import Append, Committed, Page, Position, Retention, Row, StreamInfo
from sockudo.drivers import MemoryHistoryStore
from sockudo.history import History, HistoryOptions
from sockudo.history.frames import frame_of
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.replay import ReplayBuffers
from sockudo.protocol.frames import Frame
from sockudo.testing import FakeClock

__all__ = ["APP", "NOW", "HistoryNode", "an_append", "fill", "open_nodes", "serials", "stream_of", "texts"]

APP = "app"

_encode = msgspec.json.Encoder().encode


class HistoryNode:
    """One node. ``seen`` is what its subscribers got, by channel, in order: message id and position.

    ``changes`` are the streams that were said to go on elsewhere; ``replay`` follows what is delivered.
    """

    def __init__(self, name: str, store: HistoryStore, clock: Any = None, **options: Any) -> None:
        self.name = name
        self.clock = clock or FakeClock(NOW // 1000)
        self.seen: dict[str, list[tuple[str, Position]]] = {}
        self.elsewhere: list[str] = []
        self.changes: list[tuple[str, Position]] = []
        self.replay = ReplayBuffers()
        self.retention = Retention()
        self.history = History(
            store,
            self.clock,
            HistoryOptions(node_id=name),
            self._changed,
            on_elsewhere=self._stored_elsewhere,
            **options,
        )
        self._count = 0

    def _changed(self, _app_id: str, channel: str, position: Position) -> None:
        self.changes.append((channel, position))
        self.replay.align(channel, position, self.clock.monotonic())

    def _stored_elsewhere(self, _app_id: str, channel: str, row: Row) -> None:
        frame = frame_of(row)
        self.elsewhere.append(frame.message_id or "")
        self.deliver(frame, Position(row.stream_id, row.serial))

    def deliver(self, frame: Frame, place: Position) -> None:
        frame.stream_id, frame.serial = place
        self.seen.setdefault(frame.channel or "", []).append((frame.message_id or "", place))
        self.replay.store(frame, 10_000, self.clock.monotonic())

    def submit(self, channel: str = "news", **fields: Any) -> asyncio.Future[Committed]:
        self._count += 1
        frame = Frame("said", channel, f"{self.name}{self._count}", message_id=f"{self.name}{self._count}")
        append = Append(
            APP,
            channel,
            _encode(frame),
            frame.message_id,
            frame.event,
            int(self.clock.time() * 1000),
            self.retention,
            **fields,
        )
        return self.history.submit(append, lambda outcome: self.deliver(frame, outcome.position))

    async def say(self, channel: str = "news", **fields: Any) -> Position:
        return (await self.submit(channel, **fields)).position

    async def hear(self, position: Position | None = None, channel: str = "news") -> None:
        """Another node says how far it has come."""
        await self.history.catch_up(APP, channel, position)

    async def attach(self, channel: str = "news") -> Position:
        return (await self.history.attach(APP, channel)).head

    def serials(self, channel: str = "news") -> list[int]:
        return [position.serial for _, position in self.seen.get(channel, ())]


async def open_nodes(place: Place, *names: str) -> list[HistoryNode]:
    """Started nodes over one store; memory is one object for all of them."""
    shared = MemoryHistoryStore() if place.kind == "memory" else None
    nodes = [HistoryNode(name, shared or place.make(synchronous="normal")) for name in names]
    for node in nodes:
        await node.history.start()
    return nodes


def an_append(text: str = "hello", channel: str = "room", app_id: str = "app", at: int = NOW, **fields: Any) -> Append:
    values: dict[str, Any] = {"message_id": f"id-{text}", "event_name": "said", **fields}
    return Append(app_id, channel, text.encode(), published_at_ms=at, **values)


async def fill(store: HistoryStore, count: int, *, step_ms: int = 10) -> str:
    """Messages "1" … ``count``, a step apart in time; the id of their stream."""
    outcomes = await store.commit([an_append(str(n), at=NOW + n * step_ms) for n in range(1, count + 1)])
    return outcomes[0].position.stream_id


async def stream_of(store: HistoryStore, channel: str = "room", app_id: str = "app") -> StreamInfo:
    """What is known about a stream that there is."""
    info = await store.info(app_id, channel)
    assert info is not None
    return info


def texts(page: Page) -> list[str]:
    return [row.message.decode() for row in page.rows]


def serials(page: Page) -> list[int]:
    return [row.serial for row in page.rows]
