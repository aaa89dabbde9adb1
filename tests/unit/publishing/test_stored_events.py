"""Last events in a store: written behind the publish, the last one of each channel, and asked for once."""

from __future__ import annotations

import inspect

import pytest

from sockudo.cluster.owners import OwnerCounts
from sockudo.protocol.frames import Frame
from sockudo.publishing import stored_events as module
from sockudo.publishing.stored_events import StoredEvents
from sockudo.publishing.topics import Place
from support.durable import HandTime
from support.inside import Node, live_app
from support.stores import MemoryCacheStore
from support.waiting import settle

APP = live_app()
PLACE = Place(APP.id, "cache-room")


class Ground:
    """A node over a store, and another one that was started later."""

    def __init__(self) -> None:
        self.time, self.counts = HandTime(), OwnerCounts()
        self.store = MemoryCacheStore(self.time.monotonic)
        self.events = StoredEvents(self.store, self.time.monotonic, self.counts, self.time.sleep)

    def put(self, data: str, name: str = PLACE.name, ttl: float = 60, **place: object) -> None:
        self.events.put(Place(APP.id, name), Frame("e", name, data, **place), ttl)  # type: ignore[arg-type]

    async def last(self, name: str = PLACE.name) -> object:
        found = await self.events.get(Place(APP.id, name))
        return None if found is None else found[0].unpacked().data


@pytest.fixture
def ground() -> Ground:
    return Ground()


async def test_the_last_event_of_each_channel_is_written(ground: Ground) -> None:
    for number in range(5):
        ground.put(str(number))
    ground.put("x", "cache-other")
    await settle()
    assert await ground.last() == "4"
    assert await ground.last("cache-other") == "x"
    assert await ground.last("cache-none") is None


async def test_it_is_kept_for_its_time_since_the_publish(ground: Ground) -> None:
    ground.put("x", ttl=60)
    await settle()
    ground.time.advance(40)
    found = await ground.events.get(PLACE)
    assert found is not None
    assert found[1] == pytest.approx(20)
    ground.time.advance(21)
    assert await ground.last() is None


async def test_what_the_store_did_not_take_is_written_later_unless_it_is_old(ground: Ground) -> None:
    ground.store.away = True
    ground.put("old")
    ground.put("short", "cache-short", ttl=0.5)
    await settle()
    assert await ground.last() is None
    assert ground.counts.events_unanswered == 1
    ground.put("new")
    ground.store.away = False
    await ground.time.elapse(1)
    assert await ground.last() == "new"
    assert await ground.last("cache-short") is None


async def test_more_than_may_wait_is_left_out_and_counted(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    ground.store.away = True
    ground.put("first", "cache-0")
    await settle()
    for number in (1, 2):
        ground.put("x", f"cache-{number}")
    assert ground.counts.events_left_out == 1
    ground.store.away = False
    await ground.time.elapse(1)
    assert [await ground.last(f"cache-{number}") for number in range(3)] == [None, "x", "x"]


async def test_an_event_that_cannot_be_read_is_none(ground: Ground) -> None:
    await ground.store.put(module._hash(PLACE), module.StoredEvent(b"\xc1"), 60)
    assert await ground.last() is None


async def test_closing_writes_what_waits(ground: Ground) -> None:
    ground.put("x")
    await ground.events.close()
    assert await ground.last() == "x"


# ---- at a node ----


async def shown(node: Node) -> str | None:
    asked = node.publisher.refresh_cache(*PLACE)
    if inspect.isawaitable(asked):
        await asked
    event = node.state.cache.get(PLACE.name, node.clock.monotonic())
    return None if event is None else str(event.frame.data)


def node_over(ground: Ground) -> Node:
    events = StoredEvents(ground.store, ground.time.monotonic, ground.counts, ground.time.sleep)
    node = Node(APP, clock=ground.time, sleep=ground.time.sleep, stored=events)
    assert len(node.state.cache) == 0
    return node


async def test_a_node_that_starts_later_has_what_was_published_before(ground: Ground) -> None:
    first = node_over(ground)
    first.publisher.publish(APP, first.state, Frame("e", PLACE.name, "x"), ground.time.monotonic())
    await settle()
    second = node_over(ground)
    assert await shown(second) == "x"
    asked = ground.store.calls
    assert await shown(second) == "x"
    assert ground.store.calls == asked


async def test_what_is_known_here_goes_before_a_store_that_is_behind(ground: Ground) -> None:
    node = node_over(ground)
    node.publisher.publish(APP, node.state, Frame("e", PLACE.name, "old"), ground.time.monotonic())
    await settle()
    ground.store.away = True
    ground.time.advance(1)
    node.publisher.publish(APP, node.state, Frame("e", PLACE.name, "new"), ground.time.monotonic())
    await settle()
    assert await shown(node) == "new"
    ground.store.away = False
    assert await shown(node) == "new"
