"""Protocol and format of a connection, with the server's own readers and writers on the other side."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sockudo.client.failures import ClientError
from sockudo.client.wire import V1, Format, Wire
from sockudo.protocol import msgpack, protobuf
from sockudo.protocol.frames import Frame

SERVER = {"msgpack": msgpack, "protobuf": protobuf}
BINARY: tuple[Format, ...] = ("msgpack", "protobuf")


def test_what_the_url_says() -> None:
    assert V1.parameters() == {"protocol": "7"}
    assert Wire(2).parameters() == {"protocol": "2"}
    assert Wire(2, "msgpack", "a.b.c").parameters() == {"protocol": "2", "format": "msgpack", "token": "a.b.c"}
    assert "a.b.c" not in repr(Wire(2, "json", "a.b.c"))


def test_json() -> None:
    wire = Wire(2)
    assert wire.encode({"event": "pusher:ping"}) == '{"event":"pusher:ping"}'
    assert wire.decode('{"event":"x","data":"1"}').data == 1
    with pytest.raises(ClientError, match="binary"):
        wire.decode(b"x")


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize(
    "frame",
    [
        {"event": "pusher:ping"},
        {"event": "client-x", "channel": "private-a", "data": "text — é"},
        {"event": "pusher:subscribe", "data": {"channel": "harbor", "filter": {"events": ["a"]}, "rewind": 3}},
        {"event": "client-x", "channel": "private-a", "data": None},
    ],
)
def test_what_clients_send(name: Format, frame: dict[str, Any]) -> None:
    payload = Wire(2, name).encode(frame)
    assert isinstance(payload, bytes)
    read = SERVER[name].decode(payload)
    data = None if read.data is None else json.loads(read.data)
    assert (read.event, read.channel, data) == (frame["event"], frame.get("channel"), frame.get("data"))


FRAMES = [
    Frame("pusher:pong"),
    Frame("tide", "harbor", '{"metres":2.4}'),
    Frame("said", "harbor", "text — é"),
    Frame("client-typing", "private-a", msgspec.Raw(b'{"on":[1,2.5,null,true]}'), None, "crew-8"),
    Frame(
        "tide",
        "harbor",
        "x",
        "named",
        "crew-8",
        {"venue": "ldn"},
        "m-1",
        "s-1",
        2**63,
        {
            "headers": {"n": 7.5, "b": True, "s": "t"},
            "ephemeral": True,
            "idempotencyKey": "k",
            "echo": False,
            "ai": {"transport": {"a": "b"}},
        },
    ),
]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("frame", FRAMES)
def test_what_the_server_sends_is_the_same_in_every_format(name: Format, frame: Frame) -> None:
    expected = V1.decode(msgspec.json.encode(frame).decode())
    found = Wire(2, name).decode(SERVER[name].encode(frame))
    assert json.loads(found.raw) == json.loads(expected.raw)
    assert msgspec.structs.asdict(frame)["extras"] == found.extras
    for part in ("event", "channel", "data", "user_id", "name", "tags", "message_id", "stream_id", "serial"):
        assert getattr(found, part) == getattr(expected, part), part


def _packed(**fields: Any) -> bytes:
    values: list[Any] = [None] * 15
    values[0], values[2], values[12] = "x", fields.get("data"), fields.get("extras")
    return msgspec.msgpack.encode(values)


def test_kinds_of_data_that_other_servers_send() -> None:
    wire = Wire(2, "msgpack")
    assert wire.decode(_packed(data=["binary", b"\x01\x02"])).data == [1, 2]
    structured = ["structured", ["{}", "harbor", None, {"n": "[1]"}]]
    assert wire.decode(_packed(data=structured)).data == {"channel_data": "{}", "channel": "harbor", "n": [1]}


def test_kinds_of_data_that_other_servers_send_as_protobuf() -> None:
    message = protobuf.PusherMessage(event="x")  # type: ignore[attr-defined]
    message.data.structured.channel = "harbor"
    message.data.structured.extra["n"] = "[1]"
    wire = Wire(2, "protobuf")
    assert wire.decode(message.SerializeToString()).data == {"channel": "harbor", "n": [1]}
    message.data.binary = b"\x01\x02"
    assert wire.decode(message.SerializeToString()).data == [1, 2]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([1, 2]),
        msgspec.msgpack.encode({"event": "x"}),
        _packed(data=["odd", "x"]),
        _packed(data="x"),
        _packed(data=["json", "{"]),
        _packed(extras=["x"]),
        msgspec.msgpack.encode([None] * 15),
    ],
)
def test_what_is_no_frame_in_messagepack(payload: bytes) -> None:
    with pytest.raises(ClientError):
        Wire(2, "msgpack").decode(payload)


@pytest.mark.parametrize("payload", [b"\x0a\x05x", b"\x0b", b"\x0a\x02\xff\xff", b"\x12\x01x"])
def test_what_is_no_frame_in_protobuf(payload: bytes) -> None:
    with pytest.raises(ClientError):
        Wire(2, "protobuf").decode(payload)
