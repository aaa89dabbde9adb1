"""Events from client to client: who may send them, and that they arrive as they were sent."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo.config.apps import Features, Limits
from sockudo.protocol.frames import Frame
from support.inside import Client, Node, live_app

ALLOWED = Features(enable_client_messages=True)


@pytest.fixture
def node() -> Node:
    return Node(live_app(features=ALLOWED))


def joined(node: Node, channel: str, user: str | None = None) -> Client:
    client = node.connect()
    client.subscribe(channel, None if user is None else {"user_id": user})
    client.frames()
    return client


class TestOrderOfChecks:
    def test_each_repair_shows_the_next(self) -> None:
        limits = Limits(max_event_name_length=10, max_channel_name_length=12, max_event_payload_in_kb=1)
        client = Node(live_app(limits=limits)).connect()

        def attempt(event: str, channel: str | None = None, data: Any = "x" * 1024) -> tuple[int, str]:
            client.send(event, data, channel)
            return client.error()

        refused = "Client event error: "
        assert attempt("client-") == (4301, refused + "Client events are not enabled for this app")
        client.session.live = live_app(limits=limits, features=ALLOWED)
        assert attempt("client-") == (4000, "Invalid event name: a client event needs a name after 'client-'")
        assert attempt("client-long") == (4000, "Invalid event name: Event name exceeds maximum length of 10")
        assert attempt("client-abc") == (4301, refused + "Channel required for client event")
        assert attempt("client-abc", "news-*-too-long") == (
            4300,
            "Channel error: Channel name too long. Max length is 12",
        )
        assert attempt("client-abc", "news-*") == (
            4301,
            refused + "Client events cannot target wildcard subscription channels",
        )
        assert attempt("client-abc", "[meta]a") == (4301, refused + "Client events cannot target metachannels")
        only = "Client events can only be sent to private or presence channels"
        assert attempt("client-abc", "news") == (4301, refused + only)
        assert attempt("client-abc", "private-a") == (4301, refused + "Payload size (1026 bytes) exceeds limit (1KB)")
        assert attempt("client-abc", "private-a", "x" * 1022) == (
            4301,
            f"{refused}Socket {client.socket_id} is not subscribed to channel private-a",
        )
        client.subscribe("private-a")
        client.frames()
        client.send("client-abc", "x" * 1022, "private-a")
        assert client.frames() == []

    @pytest.mark.parametrize(
        "channel",
        ["private-encrypted-a", "private-cache-a", "private-encrypted-cache-a", "presence-cache-a", "cache-a", "a"],
    )
    def test_kinds_of_channels_without_client_events(self, node: Node, channel: str) -> None:
        client = node.connect()
        client.subscribe(channel, {"user_id": "u"} if channel.startswith("presence-") else None)
        client.frames()
        client.send("client-a", 1, channel)
        assert client.error()[0] == 4301

    @pytest.mark.parametrize("event", ["Client-a", "client_a", "CLIENT-a", " client-a", "clien-a"])
    def test_what_does_not_begin_like_a_client_event_is_ignored(self, node: Node, event: str) -> None:
        client = joined(node, "private-a")
        client.send(event, 1, "private-a")
        assert client.frames() == []

    @pytest.mark.parametrize("event", ["client- ", "client-😀", "client-a b", "client--"])
    def test_odd_names_are_names(self, node: Node, event: str) -> None:
        sender, other = joined(node, "private-a"), joined(node, "private-a")
        sender.send(event, 1, "private-a")
        assert other.events() == [event]

    def test_names_are_measured_in_bytes(self, node: Node) -> None:
        client = joined(node, "private-a")
        client.send("client-" + "é" * 97, 1, "private-a")
        assert client.error()[0] == 4000
        client.send("client-" + "é" * 96, 1, "private-a")
        assert client.frames() == []

    def test_zero_means_no_limit(self) -> None:
        limits = Limits(max_event_name_length=0, max_channel_name_length=0, max_event_payload_in_kb=0)
        node = Node(live_app(limits=limits, features=ALLOWED))
        channel = "private-" + "c" * 500
        sender, other = joined(node, channel), joined(node, channel)
        sender.send("client-" + "e" * 500, "x" * 60_000, channel)
        assert len(other.frames()) == 1

    def test_a_channel_inside_data_is_not_the_channel(self, node: Node) -> None:
        client = joined(node, "private-a")
        client.send("client-a", {"channel": "private-a"})
        assert client.error() == (4301, "Client event error: Channel required for client event")


class TestDelivery:
    def test_the_others_hear_it_the_sender_does_not(self, node: Node) -> None:
        sender, others = joined(node, "private-a"), [joined(node, "private-a") for _ in range(3)]
        stranger = joined(node, "private-b")
        sender.send("client-a", {"b": 1}, "private-a")
        for other in others:
            assert other.frames() == [{"event": "client-a", "channel": "private-a", "data": {"b": 1}}]
        assert sender.frames() == stranger.frames() == []

    @pytest.mark.parametrize(
        "data",
        [
            '"text"',
            '{"b":1,"a":1, "b" : 2}',
            "-0.0",
            "12345678901234567890123456789",
            "1.10",
            '"\\u00e9\\/"',
            "[ ]",
            "false",
        ],
    )
    def test_data_arrives_byte_for_byte(self, node: Node, data: str) -> None:
        sender, other = joined(node, "private-a"), joined(node, "private-a")
        other.peer.writes.clear()
        sender.send_raw(f'{{"event":"client-a","channel":"private-a","data": {data} }}'.encode())
        node.settle()
        [write] = other.peer.writes
        assert write[2:] == f'{{"event":"client-a","channel":"private-a","data":{data}}}'.encode()

    @pytest.mark.parametrize("frame", [b"", b',"data":null'])
    def test_missing_data_becomes_null(self, node: Node, frame: bytes) -> None:
        sender, other = joined(node, "private-a"), joined(node, "private-a")
        sender.send_raw(b'{"event":"client-a","channel":"private-a"%b}' % frame)
        assert other.frames() == [{"event": "client-a", "channel": "private-a", "data": None}]

    def test_on_presence_channels_the_user_is_named_by_the_server(self, node: Node) -> None:
        sender, other = joined(node, "presence-a", "u"), joined(node, "presence-a", "v")
        sender.frames()
        sender.send_raw(
            b'{"event":"client-a","channel":"presence-a","data":1,"user_id":"forged","name":"n","tags":{"a":"b"}}'
        )
        assert other.frames() == [{"event": "client-a", "channel": "presence-a", "data": 1, "user_id": "u"}]

    def test_a_user_who_is_only_signed_in_is_not_named(self) -> None:
        node = Node(live_app(features=Features(enable_client_messages=True, enable_user_authentication=True)))
        sender, other = joined(node, "private-a"), joined(node, "private-a")
        sender.sign_in({"id": "u"})
        sender.frames()
        sender.send("client-a", 1, "private-a")
        assert other.frames() == [{"event": "client-a", "channel": "private-a", "data": 1}]

    def test_order_with_the_backends_events(self, node: Node) -> None:
        sender, other = joined(node, "private-a"), joined(node, "private-a")
        for name in ("one", "two"):
            node.hub.publish(node.state, Frame(name, "private-a", "{}"))
            sender.send(f"client-{name}", 1, "private-a")
        assert other.events() == ["one", "client-one", "two", "client-two"]
        assert sender.events() == ["one", "two"]

    def test_cache_channels_do_not_keep_them(self, node: Node) -> None:
        sender = joined(node, "private-a")
        sender.send("client-a", 1, "private-a")
        assert len(node.state.cache) == 0
