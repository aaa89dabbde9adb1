"""One channel, several wire shapes: each connection gets its own, each shape is encoded once, V1 sees none of V2."""

from __future__ import annotations

import msgpack
import msgspec
import pytest

from sockudo.hub import HubOptions
from sockudo.protocol import formats
from sockudo.protocol.formats import V1_JSON, V2_JSON, V2_MSGPACK, V2_PROTOBUF
from sockudo.protocol.frames import Frame, subscription_succeeded
from sockudo.protocol.proto.pusher_pb2 import PusherMessage
from support.world import World

FULL = Frame(
    "e",
    "news",
    '{"a":1}',
    tags={"t": "1"},
    message_id="m-1",
    stream_id="s-1",
    serial=7,
    extras={"headers": {"h": 1.5}},
)


def payload(frame: bytes) -> bytes:
    return frame[2:] if frame[1] < 126 else frame[4:]


def test_everyone_gets_one_message_in_their_own_shape() -> None:
    world = World()
    peers = {}
    for shape in (V1_JSON, V2_JSON, V2_MSGPACK, V2_PROTOBUF):
        connection, peers[shape] = world.connect(shape)
        world.hub.subscribe(connection, "news")
    world.hub.publish(world.app, FULL)
    world.settle()
    assert peers[V1_JSON].frames() == [{"event": "e", "channel": "news", "data": '{"a":1}'}]
    assert peers[V2_JSON].frames() == [
        {
            "event": "e",
            "channel": "news",
            "data": '{"a":1}',
            "tags": {"t": "1"},
            "message_id": "m-1",
            "stream_id": "s-1",
            "serial": 7,
            "extras": {"headers": {"h": 1.5}},
        }
    ]
    (packed,) = peers[V2_MSGPACK].writes
    assert packed[0] == 0x82
    fields = msgpack.unpackb(payload(packed))
    assert (fields[0], fields[1], fields[2], fields[8], fields[10]) == ("e", "news", ["string", '{"a":1}'], "m-1", 7)
    (proto,) = peers[V2_PROTOBUF].writes
    assert proto[0] == 0x82
    message = PusherMessage.FromString(payload(proto))
    assert (message.event, message.data.string, message.serial, message.tags["t"]) == ("e", '{"a":1}', 7, "1")


def test_a_shape_is_encoded_once_and_only_where_somebody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    encoded = []

    def counting(frame: Frame) -> bytes:
        encoded.append(frame.event)
        return V2_JSON.encode(frame)

    counted = formats.Format("counted", v2=True, json=True, encode=counting, decode=V2_JSON.decode)
    unwanted = World()
    for _ in range(20):
        connection, _ = world.connect(counted)
        world.hub.subscribe(connection, "news")
    world.hub.publish(world.app, Frame("e", "news", "{}"))
    world.settle()
    connection, _ = unwanted.connect()
    unwanted.hub.subscribe(connection, "news")
    unwanted.hub.publish(unwanted.app, Frame("e", "news", "{}"))
    assert encoded == ["e"]


@pytest.mark.parametrize(
    ("shape", "event"),
    [(V1_JSON, "pusher_internal:subscription_succeeded"), (V2_JSON, "sockudo_internal:subscription_succeeded")],
)
def test_system_events_carry_the_prefix_of_their_protocol(shape: formats.Format, event: str) -> None:
    frame = msgspec.json.decode(shape.encode(subscription_succeeded("news")))
    assert frame == {"event": event, "channel": "news", "data": "{}"}


def test_an_event_of_the_other_family_is_rewritten_too() -> None:
    assert msgspec.json.decode(V1_JSON.encode(Frame("sockudo:x", "c", "1")))["event"] == "pusher:x"
    assert msgspec.json.decode(V2_JSON.encode(Frame("pusher:x", "c", "1")))["event"] == "sockudo:x"
    assert msgspec.json.decode(V2_JSON.encode(Frame("pusherx", "c", "1")))["event"] == "pusherx"


def test_what_is_for_v2_alone_reaches_no_v1_connection() -> None:
    world = World()
    (old, old_peer), (new, new_peer) = world.connect(), world.connect(V2_JSON)
    channel = None
    for connection in (old, new):
        channel = world.hub.join(connection, "presence-a", connection.socket_id, b"{}").channel
    world.settle()
    old_peer.frames(), new_peer.frames()
    assert channel is not None
    world.hub.update_member(new, channel, b'{"n":1}')
    world.settle()
    assert old_peer.frames() == []
    assert new_peer.events() == [
        ("sockudo_internal:presence_update", '{"user_id":"1.2","user_info":{"n":1}}'),
    ]
    assert channel.presence is not None
    assert channel.presence.infos()["1.2"] == b'{"n":1}'


def test_tags_are_shown_only_where_that_is_configured() -> None:
    world = World(HubOptions(show_tags=False))
    connection, peer = world.connect(V2_JSON)
    world.hub.subscribe(connection, "news")
    world.hub.publish(world.app, FULL)
    world.settle()
    (frame,) = peer.frames()
    assert "tags" not in frame
    assert frame["serial"] == 7


def test_the_order_of_fields_is_the_specified_one() -> None:
    text = V2_JSON.encode(FULL).decode()
    names = ["event", "channel", "data", "tags", "message_id", "stream_id", "serial", "extras"]
    places = [text.index(f'"{name}":') for name in names]
    assert places == sorted(places)
