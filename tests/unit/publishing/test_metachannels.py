"""Metachannels among nodes: a subscriber hears what becomes of a channel wherever its subscribers are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sockudo.cluster.in_process import Network
from sockudo.cluster.items import channel_topic
from sockudo.protocol.formats import V2_JSON
from sockudo.publishing import entries as module
from sockudo.publishing.roster_items import COUNT
from sockudo.publishing.topics import Place
from support.inside import Client, Node, credentials, live_app
from support.signing import channel_auth

APP = live_app()
ROOM, CREW = "room", "presence-crew"


class Nodes:
    def __init__(self, count: int = 3) -> None:
        self.network = Network()
        self.all = [self.add() for _ in range(count)]

    def add(self) -> Node:
        node = Node(APP, network=self.network)
        assert node.state is not None
        return node

    async def settle(self) -> None:
        for _ in range(8):
            for node in self.all:
                node.settle()
            await asyncio.sleep(0)

    async def watcher(self, channel: str, node: int = 1) -> Client:
        client = self.all[node].connect(shape=V2_JSON)
        data = json.dumps({"user_id": "watcher"})
        auth = channel_auth(credentials(APP), client.socket_id, channel, data)
        client.subscribe(f"[meta]{channel}", data, auth=auth)
        await self.settle()
        assert "sockudo_internal:subscription_succeeded" in client.events()
        return client


def heard(client: Client) -> list[tuple[str, Any]]:
    """The events since the last look, each with its count or user."""
    found = []
    for frame in client.frames():
        data = frame["data"] if isinstance(frame["data"], dict) else json.loads(frame["data"])
        found.append((frame["event"].partition(":")[2], data.get("user_id", data.get("subscription_count"))))
    return found


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


async def subscriber(nodes: Nodes, node: int, channel: str = ROOM, **user: Any) -> Client:
    client = nodes.all[node].connect()
    client.subscribe(channel, user or None)
    await nodes.settle()
    return client


async def test_a_node_without_subscribers_of_the_channel_reports_what_becomes_of_it(nodes: Nodes) -> None:
    watcher = await nodes.watcher(ROOM)
    first = await subscriber(nodes, 0)
    assert heard(watcher) == [("channel_occupied", 1), ("subscription_count", 1)]
    second = await subscriber(nodes, 2)
    assert heard(watcher) == [("subscription_count", 2)]
    for client, left in ((first, ("subscription_count", 1)), (second, ("channel_vacated", 0))):
        client.session.leave(code=1000)
        await nodes.settle()
        assert heard(watcher) == [left]


async def test_subscribers_here_and_elsewhere_are_counted_together(nodes: Nodes) -> None:
    watcher = await nodes.watcher(ROOM)
    await subscriber(nodes, 0)
    heard(watcher)
    here = await subscriber(nodes, 1)
    assert heard(watcher) == [("subscription_count", 2)]
    here.session.leave(code=1000)
    await nodes.settle()
    assert heard(watcher) == [("subscription_count", 1)]


async def test_what_was_there_before_is_no_news(nodes: Nodes) -> None:
    await subscriber(nodes, 0)
    await subscriber(nodes, 0)
    await subscriber(nodes, 0, CREW, user_id="ana")
    watchers = [await nodes.watcher(ROOM), await nodes.watcher(CREW)]
    await nodes.settle()
    assert [heard(watcher) for watcher in watchers] == [[], []]
    await subscriber(nodes, 2)
    assert heard(watchers[0]) == [("subscription_count", 3)]


async def test_a_node_that_is_lost_takes_its_subscribers_with_it(nodes: Nodes) -> None:
    watcher = await nodes.watcher(ROOM)
    await subscriber(nodes, 0)
    await subscriber(nodes, 2)
    heard(watcher)
    nodes.network.leave(nodes.all[0].membership.me)
    await nodes.settle()
    assert heard(watcher) == [("subscription_count", 1)]
    nodes.network.leave(nodes.all[2].membership.me)
    await nodes.settle()
    assert heard(watcher) == [("channel_vacated", 0)]


async def test_a_node_that_joins_later_is_asked_too(nodes: Nodes) -> None:
    watcher = await nodes.watcher(ROOM)
    nodes.all.append(nodes.add())
    await nodes.settle()
    await subscriber(nodes, 3)
    assert heard(watcher) == [("channel_occupied", 1), ("subscription_count", 1)]


async def test_a_node_alone_with_a_metachannel_hears_of_those_that_join(nodes: Nodes) -> None:
    alone = Nodes(1)
    watcher = await alone.watcher(ROOM, 0)
    alone.all.append(alone.add())
    await alone.settle()
    await subscriber(alone, 1)
    assert heard(watcher) == [("channel_occupied", 1), ("subscription_count", 1)]


async def test_members_come_and_go_once_however_many_nodes_they_are_on(nodes: Nodes) -> None:
    watcher = await nodes.watcher(CREW)
    ana = await subscriber(nodes, 0, CREW, user_id="ana")
    assert [event for event in heard(watcher) if "member" in event[0]] == [("member_added", "ana")]
    again = await subscriber(nodes, 2, CREW, user_id="ana")
    assert heard(watcher) == [("subscription_count", 2)]
    ana.session.leave(code=1000)
    await nodes.settle()
    assert heard(watcher) == [("subscription_count", 1)]
    again.session.leave(code=1000)
    await nodes.settle()
    assert sorted(heard(watcher)) == [("channel_vacated", 0), ("member_removed", "ana")]


async def test_members_that_are_reported_by_the_channel_itself_are_reported_once(nodes: Nodes) -> None:
    watcher = await nodes.watcher(CREW)
    await subscriber(nodes, 1, CREW, user_id="ben")
    heard(watcher)
    ana = await subscriber(nodes, 0, CREW, user_id="ana")
    assert [event for event in heard(watcher) if "member" in event[0]] == [("member_added", "ana")]
    ana.session.leave(code=1000)
    await nodes.settle()
    assert [event for event in heard(watcher) if "member" in event[0]] == [("member_removed", "ana")]


async def test_without_a_metachannel_nobody_hears_of_counts(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[str] = []
    monkeypatch.setattr(nodes.all[0].bus, "publish", lambda topic, _item: published.append(topic))
    await subscriber(nodes, 0)
    assert channel_topic(APP.id, ROOM) not in published
    watcher = await nodes.watcher(ROOM)
    watcher.send("pusher:unsubscribe", {"channel": f"[meta]{ROOM}"})
    await nodes.settle()
    nodes.all[0].clock.advance(91)
    published.clear()
    await subscriber(nodes, 0)
    assert channel_topic(APP.id, ROOM) not in published


async def test_counts_that_others_ask_for_have_a_bound(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WANTED", 2)
    node = nodes.all[0]
    own = node.rosters._own
    places = [Place(APP.id, f"room-{number}") for number in range(3)]
    for place in places:
        node.connect().subscribe(place.name)
    assert [own.want_count(place) for place in places] == [True, True, False]
    assert [COUNT in own.entries(place) for place in places] == [True, True, False]
    node.clock.advance(91)
    assert own.want_count(places[2])
