"""Messages as differences on connections in MessagePack and protocol buffers
(spec: filters-deltas § 2.13)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from blackbox.deltas import CHOSEN_APP, ENABLED, Witness, confirmed, delta_server, enable, publish, quote, reader_of
from support.server import ServerProcess
from support.websocket import Connect
from support.wire import JSON, MSGPACK, PROTOBUF, WIRES, Wire


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with delta_server() as running:
        yield running


binary = pytest.mark.parametrize("wire", [MSGPACK, PROTOBUF], ids=str)


@pytest.mark.parametrize("algorithm", ["fossil", "xdelta3"])
def test_one_channel_in_every_format(connect_v2: Connect, server: ServerProcess, unique: str, algorithm: str) -> None:
    pairs = []
    for wire in WIRES:
        client, witness = connect_v2(wire=wire), Witness(connect_v2(wire=wire))
        reader = enable(client, {"algorithms": [algorithm]}, algorithm)
        for each in (client, witness.client):
            each.subscribe(unique)
        pairs.append((reader, witness))
    publish(server, unique, *range(25), tags={"10": "2", "9": "ü"})
    for reader, witness in pairs:
        assert reader.messages(25) == witness.messages(25)
        assert reader.kinds == "FF" + "D" * 10 + "F" + "D" * 10 + "FD"
        assert reader.algorithms == {algorithm}


@binary
def test_the_frames(connect_v2: Connect, server: ServerProcess, unique: str, wire: Wire) -> None:
    client, witness = connect_v2(wire=wire), connect_v2(wire=wire)
    enable(client)
    client.subscribe(unique)
    witness.subscribe(unique)
    publish(server, unique, 1, 2, 3, tags={"a": "b"})
    for number in range(2):
        assert client.event() == {**witness.event(), "__delta_seq": number}
    plain, found = witness.event(), client.event()
    assert list(found["data"]) == ["event", "delta", "seq", "algorithm", "base_index"]
    assert (found["data"]["seq"], found["data"]["base_index"], found["data"]["event"]) == (2, 1, "quote")
    del found["data"]
    ids = ("message_id", "stream_id", "serial")
    assert found == {"event": "sockudo:delta", "channel": unique, **{name: plain[name] for name in ids}}


@binary
def test_each_key_has_its_chain(connect_v2: Connect, server: ServerProcess, unique: str, wire: Wire) -> None:
    name = f"keyed-{unique}"
    client, witness = connect_v2(app=CHOSEN_APP, wire=wire), Witness(connect_v2(app=CHOSEN_APP, wire=wire))
    reader = enable(client)
    for each in (client, witness.client):
        each.subscribe(name)
    for number in range(5):
        for key in ("EURUSD", 'a"b\\c\nö', None):
            server.publish(name, "quote", quote(number, pair=key), app=CHOSEN_APP)
    assert reader.messages(15) == witness.messages(15)
    assert reader.kinds == "FFP" * 2 + "DDP" * 3


@binary
@pytest.mark.parametrize(
    "text",
    ['"quoted" \\ /', "\x00\x01\x08\x09\x0a\x0c\x0d\x1f", "\x7f\x80", "\u2028\u2029", "🌊 ö €", "<&>", "in \ufeff it"],
    ids=ascii,
)
def test_texts_of_every_kind(connect_v2: Connect, server: ServerProcess, unique: str, wire: Wire, text: str) -> None:
    client, witness = connect_v2(wire=wire), Witness(connect_v2(wire=wire))
    reader = enable(client)
    channel = "texts-" + unique[-40:].encode("ascii", "ignore").hex()
    for each in (client, witness.client):
        each.subscribe(channel)
    for number in range(5):
        server.publish(channel, "quote", f"{number} {text * 40}")
    assert reader.messages(5) == witness.messages(5)
    assert reader.kinds == "FFDDD"


@binary
def test_what_clients_do_not_rebuild_alike_is_plain_and_leaves_the_chain_as_it_is(
    connect_v2: Connect, server: ServerProcess, unique: str, wire: Wire
) -> None:
    channel = f"presence-{unique}"
    client, witness, author = connect_v2(wire=wire), Witness(connect_v2(wire=wire)), connect_v2()
    reader = enable(client)
    author.subscribe(channel, "ana")
    for each in (client, witness.client):
        each.subscribe(channel, "bob")
        each.until_pong()
    publish(server, channel, 1, 2, 3)
    publish(server, channel, 4, extras={"headers": {"a": "b"}})
    publish(server, channel, 5)
    author.say("client-quote", quote(6), channel)
    author.until_pong()
    server.publish(channel, "quote", "\ufeff" + quote(7))
    publish(server, channel, 8)
    server.publish(channel, "\ufeffquote", quote(9))
    publish(server, channel, 10)
    publish(server, channel, 11, delta=False)
    publish(server, channel, 12)
    assert reader.messages(12) == witness.messages(12)
    assert reader.kinds == "FFDPDPPDPDPD"


@binary
def test_a_client_that_lost_its_base_says_so_in_its_format(
    connect_v2: Connect, server: ServerProcess, unique: str, wire: Wire
) -> None:
    client, witness = connect_v2(wire=wire), Witness(connect_v2(wire=wire))
    reader = enable(client)
    for each in (client, witness.client):
        each.subscribe(unique)
    publish(server, unique, *range(4))
    assert reader.messages(4) == witness.messages(4)
    client.say("sockudo:delta_sync_error", {"channel": unique})
    client.hears_nothing()
    reader.forget(unique)
    publish(server, unique, *range(4))
    assert reader.messages(4) == witness.messages(4)
    assert reader.kinds == "FFDD" * 2


@binary
def test_one_subscription_alone(connect_v2: Connect, server: ServerProcess, unique: str, wire: Wire) -> None:
    client = connect_v2(wire=wire)
    client.subscribe(unique, delta="xdelta3")
    confirmed(client, unique, "xdelta3")
    reader = reader_of(client)
    publish(server, unique, *range(4))
    reader.messages(4)
    assert (reader.kinds, reader.algorithms) == ("FFDD", {"xdelta3"})


@pytest.mark.parametrize(
    ("client", "wire", "enabled"),
    [
        ("js", MSGPACK, True),
        ("js", PROTOBUF, False),
        ("kotlin", MSGPACK, True),
        ("kotlin", PROTOBUF, True),
        ("flutter", MSGPACK, True),
        ("flutter", PROTOBUF, False),
        ("swift", JSON, True),
        ("swift", MSGPACK, False),
        ("swift", PROTOBUF, False),
        ("csharp", JSON, True),
        ("csharp", MSGPACK, False),
        ("csharp", PROTOBUF, False),
        ("python", MSGPACK, False),
        ("python", PROTOBUF, False),
    ],
    ids=str,
)
def test_libraries_get_what_they_can_follow(
    connect_v2: Connect, server: ServerProcess, unique: str, client: str, wire: Wire, enabled: bool
) -> None:
    socket = connect_v2(wire=wire, params=f"client={client}&version=2.0.0")
    socket.say("sockudo:enable_delta_compression")
    assert socket.event()["data"]["enabled"] is enabled
    channel = "c" + unique[-40:].encode("ascii", "ignore").hex()
    socket.subscribe(channel)
    publish(server, channel, *range(4))
    reader = reader_of(socket)
    reader.messages(4)
    assert reader.kinds == ("FFDD" if enabled else "PPPP")


@binary
def test_the_confirmation_is_an_ordinary_frame(connect_v2: Connect, wire: Wire) -> None:
    client = connect_v2(wire=wire)
    client.say("sockudo:enable_delta_compression", json.dumps({"algorithms": ["xdelta3"]}))
    assert client.event() == {"event": ENABLED, "data": {"enabled": True, "algorithm": "xdelta3"}}
