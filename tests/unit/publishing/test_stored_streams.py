"""Durable channels among nodes: what does not come over the bus is found in the store."""

from __future__ import annotations

import asyncio
from typing import Any

from sockudo.apps.live import LiveApp
from sockudo.base.stream_records import Row
from sockudo.cluster.in_process import InProcessBus, Network
from sockudo.cluster.items import channel_topic
from sockudo.cluster.ports import Received
from sockudo.config.apps import ConnectionRecovery
from sockudo.config.apps import History as HistoryOfApp
from sockudo.history import History
from sockudo.history.frames import frame_of
from sockudo.protocol.formats import V2_JSON
from sockudo.protocol.frames import Frame
from sockudo.publishing.stored_streams import StoredStreams
from support.durable import HandTime, UnrulyStore, refuse
from support.inside import Client, Node, live_app
from support.waiting import settle

APP = live_app(connection_recovery=ConnectionRecovery(enabled=True), history=HistoryOfApp(enabled=True))
PLAIN = live_app("plain")


class Joined:
    """Nodes over one store; while ``deaf`` they do not hear each other's channels."""

    def __init__(self) -> None:
        self.network, self.time, self.store = Network(), HandTime(), UnrulyStore()
        self.nodes: list[Node] = []
        self.stored: list[StoredStreams] = []
        self.deaf = False

    async def node(self) -> Node:
        node = Node(APP, PLAIN, network=self.network, clock=self.time, sleep=self.time.sleep)

        def elsewhere(app_id: str, _channel: str, row: Row) -> None:
            node.publisher.deliver_stored(app_id, frame_of(row))

        history = History(self.store, self.time, on_elsewhere=elsewhere, sleep=self.time.sleep)  # type: ignore[arg-type]
        await history.start()
        component = node.components.history
        component.put(history)
        assert isinstance(node.bus, InProcessBus)
        put = node.bus.put

        def hear(received: Received) -> None:
            if not (self.deaf and received.topic.startswith("c:")):
                put(received)

        node.bus.put = hear  # type: ignore[method-assign]
        self.nodes.append(node)
        self.stored.append(
            StoredStreams(
                node.bus,
                node.membership,
                node.router,
                node.hub,
                component,
                node.policies,
                sleep=self.time.sleep,
            )
        )
        return node

    async def rest(self) -> None:
        for _ in range(10):
            for node in self.nodes:
                node.settle()
            await settle(3)

    async def say(self, node: Node, data: str, app: LiveApp = APP) -> None:
        frame = Frame("said", "news", data)
        pending = node.publisher.publish(app, node.gateway.state(app), frame, self.time.monotonic())
        await self.rest()
        assert pending is None or pending.done()

    def reader(self, node: Node) -> Client:
        client = node.connect(APP, V2_JSON)
        client.subscribe("news")
        return client

    async def close(self) -> None:
        closing = [asyncio.ensure_future(work) for stored in self.stored for work in (stored.close(),)]
        closing += [asyncio.ensure_future(node.components.history.service.close()) for node in self.nodes]
        while not all(task.done() for task in closing):
            await self.time.elapse(1)


def serials(client: Client) -> list[Any]:
    return [frame.get("serial") for frame in client.frames()]


async def joined(count: int = 2) -> tuple[Joined, list[Node]]:
    nodes = Joined()
    return nodes, [await nodes.node() for _ in range(count)]


async def test_a_subscriber_begins_where_the_channel_is_and_not_where_its_node_has_left_it() -> None:
    """Both nodes publish where no one listens; the one that was first knows nothing of what the other stored."""
    all_nodes, (first, second) = await joined()
    await all_nodes.say(first, "a")
    await all_nodes.say(second, "b")
    reader = all_nodes.reader(first)
    await all_nodes.rest()
    assert serials(reader) == [2]
    await all_nodes.say(second, "c")
    assert serials(reader) == [3]
    await all_nodes.close()


async def test_the_last_message_is_found_when_it_was_lost() -> None:
    all_nodes, (first, second) = await joined()
    reader = all_nodes.reader(first)
    await all_nodes.rest()
    assert serials(reader) == [0]
    all_nodes.deaf = True
    await all_nodes.say(second, "a")
    assert serials(reader) == []
    all_nodes.store.plan("read", refuse())
    all_nodes.stored[0].scrub()
    await all_nodes.rest()
    assert serials(reader) == []
    await all_nodes.time.elapse(0.1)
    all_nodes.stored[0].scrub()
    await all_nodes.rest()
    assert serials(reader) == [1]
    await all_nodes.close()


async def test_channels_are_compared_when_a_node_is_lost_or_items_are() -> None:
    all_nodes, (first, second, third) = await joined(3)
    reader = all_nodes.reader(first)
    await all_nodes.rest()
    assert serials(reader) == [0]
    all_nodes.deaf = True
    await all_nodes.say(second, "a")
    all_nodes.network.leave(third.membership.me)
    await all_nodes.rest()
    assert serials(reader) == [1]
    await all_nodes.say(second, "b")
    first.router.gap([channel_topic(APP.id, "other"), channel_topic(PLAIN.id, "news")])
    await all_nodes.time.elapse(0.1)
    await all_nodes.rest()
    assert serials(reader) == []
    first.router.gap([channel_topic(APP.id, "news")])
    await all_nodes.rest()
    assert serials(reader) == [2]
    await all_nodes.close()


async def test_a_node_reads_nothing_of_channels_that_it_knows_nothing_of() -> None:
    all_nodes, (first, second) = await joined()
    first.connect(APP).subscribe("news")
    first.connect(PLAIN).subscribe("news")
    await all_nodes.rest()
    all_nodes.store.names()
    all_nodes.stored[0].scrub()
    await all_nodes.rest()
    assert "read" not in all_nodes.store.names()
    all_nodes.network.leave(second.membership.me)
    await all_nodes.rest()
    assert first.bus.alone
    all_nodes.stored[0].scrub()
    assert all_nodes.store.names() == []
    await all_nodes.close()
