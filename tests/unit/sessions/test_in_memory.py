"""Sessions over a transport that is no WebSocket: nothing of the hub, of deltas or of sessions knows the difference."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from sockudo.config import Settings
from sockudo.config.sections.delivery import TagFiltering
from sockudo.protocol.formats import V1_JSON, V2_JSON, V2_MSGPACK, V2_PROTOBUF, Format
from sockudo.protocol.frames import Frame
from sockudo.protocol.proto.pusher_pb2 import PusherMessage
from sockudo.sessions.sweeper import check
from support.inside import Client, Node, OrderedPeer
from unit.sessions.in_memory import MemoryPeer


@pytest.fixture
def node() -> Node:
    return Node()


def connect(node: Node, wire_format: Format = V1_JSON) -> tuple[Client, MemoryPeer]:
    peer = MemoryPeer()
    return node.connect(shape=wire_format, peer=peer), peer


def publish(node: Node, event: str, data: str = "{}", **options: Any) -> None:
    tags = options.pop("tags", None)
    frame = Frame(event, "news", data, tags=tags)
    node.publisher.publish(node.app, node.state, frame, node.clock.monotonic(), **options)


def names(peer: MemoryPeer) -> list[str]:
    return [frame["event"] for frame in peer.frames()]


def test_a_subscriber_gets_its_answer_and_messages(node: Node) -> None:
    client, peer = connect(node)
    client.subscribe("news")
    publish(node, "tide", '{"height":3}')
    node.settle()
    assert peer.frames() == [
        {"event": "pusher_internal:subscription_succeeded", "channel": "news", "data": "{}"},
        {"event": "tide", "channel": "news", "data": '{"height":3}'},
    ]


def test_messages_of_one_turn_are_one_write_for_every_kind_of_transport(node: Node) -> None:
    client, peer = connect(node)
    other = node.connect()
    for each in (client, other):
        each.subscribe("news")
    node.settle()
    peer.payloads(), other.peer.frames()
    before = peer.writes
    for name in "abc":
        publish(node, name)
    node.settle()
    assert names(peer) == [frame["event"] for frame in other.peer.frames()] == ["a", "b", "c"]
    assert peer.writes == before + 1


def test_each_format_is_a_payload_of_its_kind(node: Node) -> None:
    peers = {}
    for wire_format in (V2_JSON, V2_MSGPACK, V2_PROTOBUF):
        client, peers[wire_format] = connect(node, wire_format)
        node.hub.subscribe(client.session, "news")
    publish(node, "tide", "x")
    node.settle()
    [(kind, text)] = peers[V2_JSON].payloads()
    assert (kind, json.loads(text)["event"]) == ("T", "tide")
    [(kind, packed)] = peers[V2_MSGPACK].payloads()
    assert (kind, msgpack.unpackb(packed)[0]) == ("B", "tide")
    [(kind, proto)] = peers[V2_PROTOBUF].payloads()
    assert (kind, PusherMessage.FromString(proto).event) == ("B", "tide")


def test_an_excluded_socket_gets_nothing(node: Node) -> None:
    (first, first_peer), (second, second_peer) = connect(node), connect(node)
    for client in (first, second):
        client.subscribe("news")
    node.settle()
    first_peer.payloads(), second_peer.payloads()
    publish(node, "a", exclude=first.socket_id)
    node.settle()
    assert (names(first_peer), names(second_peer)) == ([], ["a"])


def test_a_filter_decides_what_comes() -> None:
    node = Node(settings=Settings(tag_filtering=TagFiltering(enabled=True)))
    client, peer = connect(node, V2_JSON)
    client.subscribe("news", filter={"tags": {"key": "kind", "cmp": "eq", "val": "goal"}})
    node.settle()
    assert names(peer) == ["sockudo_internal:subscription_succeeded"]
    for kind in ("goal", "card"):
        publish(node, kind, tags={"kind": kind})
    node.settle()
    assert names(peer) == ["goal"]


def test_differences_are_payloads_like_others(node: Node) -> None:
    client, peer = connect(node, V2_JSON)
    client.send("pusher:enable_delta_compression", {})
    client.subscribe("news")
    node.settle()
    peer.payloads()
    for number in range(3):
        publish(node, "price", json.dumps({"bid": number, "text": "the same each time " * 20}))
        node.settle()
    came = peer.frames()
    assert [frame["event"] for frame in came] == ["price", "price", "sockudo:delta"]
    assert all(len(json.dumps(whole)) > 2 * len(json.dumps(came[2])) for whole in came[:2])


def test_a_slow_reader_is_ended_by_the_same_bound(node: Node) -> None:
    client, peer = connect(node)
    client.subscribe("news")
    node.settle()
    peer.payloads()
    client.session.pause()
    for number in range(5000):
        publish(node, f"e-{number}")
        if client.session.ended:
            break
        node.settle()
    node.settle()
    assert client.session.ended
    assert peer.closed is not None
    assert peer.closed[0] == 4100


def test_without_a_ping_of_the_transport_a_quiet_v2_peer_is_pinged_by_a_frame(node: Node) -> None:
    client, peer = connect(node, V2_JSON)
    socket = OrderedPeer()
    other = node.connect(shape=V2_JSON, peer=socket)
    node.clock.advance(61)
    for session in (client.session, other.session):
        check(session, node.clock.monotonic())
    assert names(peer) == ["sockudo:ping"]
    assert socket.log[-1][0] == 0x89
