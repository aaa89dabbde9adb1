"""The last event of cache channels among nodes: the newest one wins, whichever node has it."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from sockudo.cluster.in_process import Network
from sockudo.cluster.ports import Received
from sockudo.protocol.frames import Frame
from sockudo.publishing import caches as module
from sockudo.publishing.caches import CachedOf, KeepCached
from sockudo.publishing.nodes import Message
from sockudo.publishing.topics import Place
from support.durable import HandTime
from support.inside import Node, live_app
from support.waiting import settle

APP = live_app()
PLACE = Place(APP.id, "cache-room")


class Trio:
    def __init__(self) -> None:
        self.network, self.time = Network(), HandTime()
        self.nodes = [self.node() for _ in range(3)]

    def node(self) -> Node:
        node = Node(APP, network=self.network, clock=self.time, sleep=self.time.sleep)
        assert len(node.state.cache) == 0
        return node

    @property
    def owner(self) -> Node:
        owner = self.nodes[0].membership.owner(f"{APP.id}/{PLACE.name}")
        return next(node for node in self.nodes if node.membership.me == owner)

    @property
    def others(self) -> list[Node]:
        return [node for node in self.nodes if node is not self.owner]

    async def publish(self, node: Node, data: str) -> None:
        node.publisher.publish(APP, node.state, Frame("e", PLACE.name, data), self.time.monotonic())
        await self.settle()
        self.time.advance(1)

    async def settle(self) -> None:
        for _ in range(8):
            for node in self.nodes:
                node.settle()
            await settle(3)

    async def ask(self, node: Node) -> str | None:
        asked = node.publisher.refresh_cache(*PLACE)
        if inspect.isawaitable(asked):
            await asked
        return self.last(node)

    def last(self, node: Node) -> str | None:
        event = node.state.cache.get(PLACE.name, self.time.monotonic())
        return None if event is None else str(event.frame.data)


@pytest.fixture
def trio() -> Trio:
    return Trio()


async def test_the_owner_keeps_what_is_published_anywhere(trio: Trio) -> None:
    for number, node in enumerate((*trio.nodes, *trio.nodes)):
        await trio.publish(node, str(number))
        assert trio.last(trio.owner) == str(number)


async def test_a_node_that_asks_has_the_newest(trio: Trio) -> None:
    first, second = trio.others
    await trio.publish(first, "old")
    await trio.publish(second, "new")
    assert [await trio.ask(node) for node in trio.nodes] == ["new"] * 3


async def test_what_was_published_since_the_question_is_newer_than_every_answer(trio: Trio) -> None:
    first, second = trio.others
    await trio.publish(first, "old")

    async def late(request: CachedOf) -> Any:
        second.state.cache.put(PLACE.name, Frame("e", PLACE.name, "new"), trio.time.monotonic())
        trio.time.advance(1)
        return module._Cached(Message(APP.id, Frame("e", PLACE.name, "old")), 0.5)

    first.router.on_request(CachedOf, late)
    assert await trio.ask(second) == "new"


async def test_of_two_events_of_a_stream_the_later_one_is_the_newest(trio: Trio) -> None:
    now = trio.time.monotonic()
    cache = trio.owner.state.cache
    cache.put(PLACE.name, Frame("e", PLACE.name, "5", stream_id="s", serial=5), now)
    cache.offer(PLACE.name, Frame("e", PLACE.name, "4", stream_id="s", serial=4), now + 1, now + 1)
    assert trio.last(trio.owner) == "5"
    cache.offer(PLACE.name, Frame("e", PLACE.name, "6", stream_id="s", serial=6), now - 1, now)
    assert trio.last(trio.owner) == "6"


async def test_an_event_ends_everywhere_at_its_time(trio: Trio) -> None:
    [node, _] = trio.others
    node.state.cache.ttl = trio.owner.state.cache.ttl = 10
    await trio.publish(node, "x")
    trio.time.advance(8.5)
    assert await trio.ask(node) == trio.last(trio.owner) == "x"
    trio.time.advance(1)
    assert await trio.ask(node) is None
    expired = Frame("e", PLACE.name, "y")
    node.state.cache.offer(PLACE.name, expired, trio.time.monotonic() - 10, trio.time.monotonic())
    assert trio.last(node) is None


async def test_the_next_owner_gets_it_from_those_who_have_it(trio: Trio) -> None:
    await trio.publish(trio.others[0], "x")
    gone = trio.owner
    trio.network.leave(gone.membership.me)
    trio.nodes.remove(gone)
    await trio.settle()
    assert trio.last(trio.owner) == "x"


async def test_a_node_that_joins_gets_what_it_owns(trio: Trio) -> None:
    await trio.publish(trio.others[0], "x")
    while trio.owner in trio.nodes[:3]:
        trio.nodes.append(trio.node())
        await trio.settle()
    assert trio.last(trio.owner) == "x"


async def test_subscribers_wait_for_one_question_together(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    [node, _] = trio.others
    await trio.publish(trio.owner, "x")
    asked = 0
    answer = trio.owner.router._requests[CachedOf]

    async def counted(request: CachedOf) -> Any:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return answer(request)

    trio.owner.router.on_request(CachedOf, counted)
    clients = [node.connect() for _ in range(3)]
    for client in clients:
        client.subscribe(PLACE.name)
    await trio.settle()
    events = [client.events() for client in clients]
    assert asked == 1
    assert events == [["pusher_internal:subscription_succeeded", "e"]] * 3
    for _ in range(2):
        # Once it was asked while there were subscribers, what comes by itself is all.
        late = node.connect()
        late.subscribe(PLACE.name)
        first = late.events()
        await trio.settle()
    assert first == ["pusher_internal:subscription_succeeded", "e"]


async def test_an_app_that_is_not_here_keeps_nothing(trio: Trio) -> None:
    node = trio.nodes[0]
    message = Message("other", Frame("e", PLACE.name, "x"))
    node.router.receive(Received(node.membership.me, "n", 1, KeepCached(message)))
    assert node.router.answer(CachedOf("other", PLACE.name)) is None
