from __future__ import annotations

from typing import Any

import pytest

from sockudo.cluster.in_process import Network
from sockudo.cluster.items import channel_topic, patterns_topic
from sockudo.config.apps import Features
from sockudo.protocol.formats import V2_JSON
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import channel_kind
from sockudo.publishing import delivering
from support.inside import Client, Node, live_app
from support.waiting import settle

APP = live_app(features=Features(enable_client_messages=True, enable_user_authentication=True))


class Pair:
    """Two nodes on one network that serve the same app."""

    def __init__(self) -> None:
        self.network = Network()
        self.a, self.b = Node(APP, network=self.network), Node(APP, network=self.network)

    def publish(self, node: Node, channel: str, data: str = "{}", **options: Any) -> None:
        node.publisher.publish(APP, node.state, Frame("news", channel, data), node.clock.monotonic(), **options)
        self.settle()

    def settle(self) -> None:
        for _ in range(3):
            self.a.settle()
            self.b.settle()


@pytest.fixture
def pair() -> Pair:
    return Pair()


def subscribed(node: Node, channel: str, **options: Any) -> Client:
    client = node.connect(**options)
    client.subscribe(channel)
    client.frames()
    return client


def heard(client: Client) -> list[str]:
    return [str(frame["data"]) for frame in client.frames() if frame["event"] == "news"]


def test_a_message_reaches_subscribers_of_every_node_once(pair: Pair) -> None:
    clients = [subscribed(node, "room") for node in (pair.a, pair.b, pair.b)]
    other = subscribed(pair.b, "elsewhere")
    for number in range(3):
        pair.publish(pair.a, "room", str(number))
    assert [heard(client) for client in clients] == [["0", "1", "2"]] * 3
    assert heard(other) == []


def test_the_socket_left_out_may_be_on_another_node(pair: Pair) -> None:
    first, second = subscribed(pair.b, "room"), subscribed(pair.b, "room")
    pair.publish(pair.a, "room", "x", exclude=first.socket_id)
    assert (heard(first), heard(second)) == ([], ["x"])


def test_client_events_cross_nodes(pair: Pair) -> None:
    sender, listener = subscribed(pair.a, "private-room"), subscribed(pair.b, "private-room")
    sender.send("client-hello", {"x": 1}, "private-room")
    pair.settle()
    assert [(frame["event"], frame["data"]) for frame in listener.frames()] == [("client-hello", {"x": 1})]
    assert sender.events() == []


def test_messages_to_a_user_reach_its_connections_everywhere(pair: Pair) -> None:
    client = pair.b.connect()
    client.sign_in({"id": "ana"})
    client.frames()
    pair.publish(pair.a, "#server-to-user-ana", "for ana")
    pair.publish(pair.a, "#server-to-user-ben", "for ben")
    assert heard(client) == ["for ana"]


def test_subscribers_of_a_pattern_hear_a_message_once_even_beside_the_channel(pair: Pair) -> None:
    pattern = subscribed(pair.b, "room-*", shape=V2_JSON)
    pair.publish(pair.a, "room-1", "one")
    assert heard(pattern) == ["one"]
    both = subscribed(pair.b, "room-2", shape=V2_JSON)
    pair.publish(pair.a, "room-2", "two")
    assert (heard(pattern), heard(both)) == (["two"], ["two"])
    pair.publish(pair.a, "private-room-1", "secret")
    assert heard(pattern) == []


async def test_a_cache_channel_remembers_what_another_node_published(pair: Pair) -> None:
    subscribed(pair.b, "cache-room")
    pair.publish(pair.a, "cache-room", "kept")
    late = pair.b.connect()
    late.subscribe("cache-room")
    await settle()
    assert "kept" in heard(late)


def test_nothing_goes_to_a_node_without_subscribers(pair: Pair) -> None:
    client = subscribed(pair.b, "room")
    assert pair.a.bus.interested(channel_topic(APP.id, "room"))
    client.send("pusher:unsubscribe", {"channel": "room"})
    pair.settle()
    assert not pair.a.bus.interested(channel_topic(APP.id, "room"))
    pattern = subscribed(pair.b, "*", shape=V2_JSON)
    assert pair.a.bus.interested(patterns_topic(APP.id))
    pattern.send("pusher:unsubscribe", {"channel": "*"})
    pair.settle()
    assert not pair.a.bus.interested(patterns_topic(APP.id))


def test_a_node_that_joins_hears_for_the_subscribers_that_both_have(pair: Pair) -> None:
    network = Network()
    first = Node(APP, network=network)
    early = subscribed(first, "room")
    user = first.connect()
    user.sign_in({"id": "ana"})
    user.frames()
    assert not first.bus.topics
    second = Node(APP, network=network)
    late = subscribed(second, "room")
    for node, text in ((first, "from the first"), (second, "from the second")):
        node.publisher.publish(APP, node.state, Frame("news", "room", text), node.clock.monotonic())
        second.settle()
        first.settle()
    assert heard(early) == heard(late) == ["from the first", "from the second"]
    frame = Frame("news", "#server-to-user-ana", "for ana")
    second.publisher.publish(APP, second.state, frame, second.clock.monotonic())
    second.settle()
    assert heard(user) == ["for ana"]


def test_an_app_that_a_node_does_not_serve_yet_is_no_concern_of_it(pair: Pair) -> None:
    new = live_app("new")
    pair.a.apps.put(new)
    pair.a.publisher.publish(new, pair.a.gateway.state(new), Frame("news", "room", "x"), 0.0)
    pair.settle()
    assert "new" not in pair.b.hub.apps


def test_nothing_is_made_for_nodes_that_do_not_want_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    subscribed(pair.a, "room")
    subscribed(pair.b, "other")
    made: list[str] = []
    message = delivering.Message

    def counted(app_id: str, frame: Frame, *how: Any) -> Any:
        made.append(str(frame.channel))
        return message(app_id, frame, *how)

    monkeypatch.setattr(delivering, "Message", counted)
    for channel in ("room", "other", "nowhere"):
        pair.publish(pair.a, channel)
    assert made == ["other"]


@pytest.mark.parametrize("name", ["room", "private-room", "cache-room", "#server-to-user-7"])
def test_a_pattern_hears_public_channels_alone(pair: Pair, name: str) -> None:
    subscribed(pair.b, "*", shape=V2_JSON)
    topics = pair.a.publisher._nodes.wanted(APP.id, name, channel_kind(name))
    assert list(topics) == ([patterns_topic(APP.id)] if name in ("room", "cache-room") else [])
