"""Who watches on one node sees what happens on the others, in bounded pieces, and nothing is held for who has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from sockudo.cluster.in_process import Network, join_network
from sockudo.cluster.router import Router
from sockudo.inspector import Entry, Inspector, Selection, Watcher
from sockudo.monitoring.elsewhere import Elsewhere, TakeEntries, TakenEntries
from support.virtual_time import in_virtual_time


class Node:
    """A node of this process with an inspector."""

    def __init__(self, network: Network, name: str) -> None:
        self.bus, membership = join_network(asyncio.get_running_loop().call_soon, network, name)
        self.router = Router()
        self.inspector = Inspector(lambda: 1.0)
        self.elsewhere = Elsewhere(self.bus, membership, self.router, self.inspector)
        self.bus.attach(self.router)

    def watch(self, selection: Selection) -> Watcher:
        return self.inspector.watch(selection, lambda: None)

    def happens(self, channel: str, count: int = 1) -> None:
        for _ in range(count):
            self.inspector.note(Entry(1, "subscribed", "app", channel))


class Pair:
    def __init__(self) -> None:
        network = Network()
        self.a, self.b = Node(network, "a"), Node(network, "b")

    async def close(self) -> None:
        for node in (self.a, self.b):
            await node.elsewhere.close()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    await pair.close()


def shown(watcher: Watcher) -> list[tuple[str | None, str | None]]:
    return [(entry.node, entry.channel) for entry in watcher.take(1000)[0]]


@in_virtual_time
async def test_entries_come_from_every_node_with_its_name() -> None:
    pair = Pair()
    watcher = pair.a.watch(Selection("app", channel="room"))
    stop = pair.a.elsewhere.follow(watcher)
    await asyncio.sleep(0.1)
    pair.b.happens("room")
    pair.b.happens("other")
    pair.a.happens("room")
    await asyncio.sleep(0.5)
    assert sorted(shown(watcher), key=str) == [("b", "room"), (None, "room")]
    assert pair.b.inspector.watching
    stop()
    await asyncio.sleep(9)
    assert pair.b.inspector.watching, "it may have been a slow moment"
    await asyncio.sleep(2)
    assert not pair.b.inspector.watching
    assert len(pair.b.elsewhere) == 0
    await pair.close()


@in_virtual_time
async def test_a_flood_comes_in_pieces_and_what_is_left_out_is_counted() -> None:
    pair = Pair()
    watcher = pair.a.watch(Selection())
    stop = pair.a.elsewhere.follow(watcher)
    await asyncio.sleep(0.1)
    pair.b.happens("room", 1500)
    await asyncio.sleep(0.3)
    assert len(shown(watcher)) == 100
    await asyncio.sleep(3)
    entries, skipped = watcher.take(2000)
    assert (len(entries), skipped) == (900, 500)
    stop()
    await pair.close()


async def test_what_a_newer_node_tells_is_left_out(pair: Pair) -> None:
    unknown = msgspec.msgpack.encode({"at": 1, "kind": "teleported"})
    known = msgspec.msgpack.encode(Entry(1, "subscribed"))
    pair.b.router.on_request(TakeEntries, lambda _: TakenEntries((unknown, known), 3))
    watcher = pair.a.watch(Selection())
    stop = pair.a.elsewhere.follow(watcher)
    for _ in range(5):
        await asyncio.sleep(0)
    stop()
    entries, skipped = watcher.take(10)
    assert [entry.node for entry in entries] == ["b"]
    assert skipped == 4


async def test_watchers_of_others_are_bounded(pair: Pair) -> None:
    for number in range(300):
        await pair.a.bus.ask(
            TakeEntries(str(number), Selection()), deadline=1, nodes=[pair.b.elsewhere._membership.me.id]
        )
    assert len(pair.b.elsewhere) == len(pair.b.inspector) == 256


async def test_a_node_that_is_alone_asks_nothing() -> None:
    alone = Node(Network(), "a")
    assert alone.elsewhere.here is None
    alone.elsewhere.follow(alone.watch(Selection()))()
    assert not alone.elsewhere._following
