from __future__ import annotations

import asyncio
import json

import pytest

from sockudo.base.tasks import without_waiting
from sockudo.cluster.directory import NOTHING, ChannelCounts
from sockudo.cluster.in_process import Network
from support.inside import Node, live_app

APP = live_app()


def subscribe(node: Node, channel: str, count: int = 1) -> None:
    for _ in range(count):
        node.connect().subscribe(channel)


def join(node: Node, user_id: str) -> None:
    node.connect().subscribe("presence-room", {"user_id": user_id})


async def settle(*nodes: Node) -> None:
    for _ in range(6):
        for node in nodes:
            node.settle()
        await asyncio.sleep(0)


def test_a_node_alone_answers_at_once() -> None:
    node = Node(APP)
    subscribe(node, "news", 2)
    join(node, "ana")
    directory = node.cluster_directory
    assert without_waiting(directory.channels(APP.id)) == (
        {"news": ChannelCounts(2, 0), "presence-room": ChannelCounts(1, 1)},
        True,
    )
    assert without_waiting(directory.channels(APP.id, "pre")).channels == {"presence-room": ChannelCounts(1, 1)}
    assert without_waiting(directory.names(APP.id)) == (["news", "presence-room"], True)
    assert without_waiting(directory.names(APP.id, "pre")) == (["presence-room"], True)
    assert without_waiting(directory.channel(APP.id, "news")) == (ChannelCounts(2, 0), True)
    assert without_waiting(directory.members(APP.id, "presence-room")) == (("ana",), True)


def test_what_is_not_there_is_nothing() -> None:
    node = Node(APP)
    directory = node.cluster_directory
    assert without_waiting(directory.channels("unknown")).channels == {}
    assert without_waiting(directory.names("unknown")).names == ()
    assert without_waiting(directory.channel("unknown", "news")).counts == NOTHING
    assert without_waiting(directory.channel(APP.id, "news")).counts == NOTHING
    subscribe(node, "news")
    assert without_waiting(directory.members(APP.id, "news")).users == ()


async def test_subscriptions_are_summed_and_users_are_not() -> None:
    network = Network()
    a, b, c = (Node(APP, network=network) for _ in range(3))
    subscribe(a, "news", 2)
    subscribe(b, "news")
    subscribe(b, "only-here")
    join(a, "ana"), join(b, "ana"), join(b, "ben")
    await settle(a, b, c)
    for node in (a, b, c):
        directory = node.cluster_directory
        assert await directory.channels(APP.id) == (
            {"news": ChannelCounts(3, 0), "only-here": ChannelCounts(1, 0), "presence-room": ChannelCounts(3, 2)},
            True,
        )
        names = await directory.names(APP.id)
        assert (sorted(names.names), names.complete) == (["news", "only-here", "presence-room"], True)
        assert (await directory.names(APP.id, "only")).names == ("only-here",)
        assert (await directory.channel(APP.id, "news")).counts == ChannelCounts(3, 0)
        assert sorted((await directory.members(APP.id, "presence-room")).users) == ["ana", "ben"]


async def test_the_reply_to_a_publish_counts_every_node() -> None:
    network = Network()
    a, b = (Node(APP, network=network) for _ in range(2))
    subscribe(a, "news")
    subscribe(b, "news", 2)
    api = a.event_api()
    body = json.dumps({"name": "e", "channel": "news", "data": "x", "info": "subscription_count"}).encode()
    answer = api.publish(APP, a.state, body, None, a.clock.monotonic())
    assert isinstance(answer, asyncio.Future)
    [entry] = json.loads(await answer)["channels"].values()
    assert entry["subscription_count"] == 3
    assert "subscription_count_complete" not in entry


async def test_a_node_that_cannot_answer_makes_the_answer_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network()
    a, b = (Node(APP, network=network) for _ in range(2))
    subscribe(a, "news")

    async def fail(_: object) -> object:
        raise OSError("gone")

    monkeypatch.setattr(b.router, "answer", fail)
    assert await a.cluster_directory.channel(APP.id, "news") == (ChannelCounts(1, 0), False)
    assert await a.cluster_directory.names(APP.id) == (("news",), False)
    api = a.event_api()
    body = json.dumps({"name": "e", "channel": "news", "data": "x", "info": "subscription_count"}).encode()
    answer = api.publish(APP, a.state, body, None, a.clock.monotonic())
    assert isinstance(answer, asyncio.Future)
    [entry] = json.loads(await answer)["channels"].values()
    assert (entry["subscription_count"], entry["subscription_count_complete"]) == (1, False)
