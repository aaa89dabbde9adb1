"""Deltas through the hub: who gets them, how often they are made, and that every client can follow them."""

from __future__ import annotations

import base64
import json
import os
import random

import msgspec
import pytest

from sockudo.hub import Connection, GateLimits
from sockudo.hub.outgoing import Wants
from sockudo.protocol.delta import Algorithm, ChannelDeltas, fossil
from sockudo.protocol.delta.fossil import decode
from sockudo.protocol.formats import V2_JSON
from sockudo.protocol.frames import Frame
from support.world import Peer, World

FOSSIL = Wants(delta=Algorithm.FOSSIL)


def payloads(peer: Peer) -> list[bytes]:
    data, found = b"".join(peer.writes), []
    peer.writes.clear()
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        found.append(data[start : start + size])
        data = data[start + size :]
    return found


class Reader:
    """A client that keeps one base, as SDKs do, and gives back the frames as they were before they were shortened."""

    def __init__(self) -> None:
        self.base = b""
        self.number = -1
        self.deltas = 0

    def read(self, payload: bytes) -> bytes:
        frame = json.loads(payload)
        if frame["event"] == "sockudo:delta":
            data = frame["data"]
            assert data["base_index"] == self.number
            self.base = decode(self.base, base64.b64decode(data["delta"]))
            self.number = data["seq"]
            self.deltas += 1
        elif "__delta_seq" in frame:
            self.base = payload[: payload.index(b',"__delta_seq"')] + b"}"
            self.number = frame["__delta_seq"]
        else:
            return payload
        return self.base


def document(number: int) -> str:
    return json.dumps({f"field-{name}": name * 7 for name in range(20)} | {"changing": number})


def say(world: World, number: int, *, exclude: Connection | None = None, compress: bool = True) -> Frame:
    frame = Frame("quote", "fx", document(number), serial=number)
    world.hub.publish(world.app, frame, exclude and exclude.socket_id, compress=compress)
    world.settle()
    return frame


def join(world: World) -> tuple[Connection, Peer, Reader]:
    connection, peer = world.connect(V2_JSON)
    world.hub.subscribe(connection, "fx", FOSSIL)
    return connection, peer, Reader()


def serials(reader: Reader, peer: Peer) -> list[int]:
    return [json.loads(reader.read(payload))["serial"] for payload in payloads(peer)]


def test_two_whole_messages_then_differences_then_a_whole_one() -> None:
    world = World()
    _, peer, reader = join(world)
    for number in range(1, 25):
        say(world, number)
    kinds = []
    for payload in payloads(peer):
        before = reader.deltas
        assert json.loads(reader.read(payload))["serial"] == len(kinds) + 1
        kinds.append("D" if reader.deltas > before else "F")
    assert "".join(kinds) == "FF" + "D" * 10 + "F" + "D" * 10 + "F"


def test_a_thousand_subscribers_cost_one_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    readers = [join(world) for _ in range(1000)]
    for number in range(1, 4):
        say(world, number)
    made = []
    encode = fossil.encode
    monkeypatch.setattr(
        "sockudo.protocol.delta.node.encode", lambda _, base, target: made.append(1) or encode(base, target)
    )
    say(world, 4)
    assert len(made) == 1
    assert all(serials(reader, peer) == [1, 2, 3, 4] for _, peer, reader in readers)
    assert all(reader.deltas == 2 for *_, reader in readers)


def test_who_comes_later_or_is_left_out_is_told_whole_messages_first() -> None:
    world = World()
    one, one_peer, one_reader = join(world)
    for number in range(1, 5):
        say(world, number)
    _, late_peer, late_reader = join(world)
    say(world, 5, exclude=one)
    for number in range(6, 12):
        say(world, number)
    assert serials(one_reader, one_peer) == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert serials(late_reader, late_peer) == [5, 6, 7, 8, 9, 10, 11]
    assert late_reader.deltas > 0
    assert one_reader.deltas > 0


def test_what_the_publisher_wants_whole_leaves_the_chain_as_it_is() -> None:
    world = World()
    _, peer, reader = join(world)
    for number in range(1, 5):
        say(world, number)
    say(world, 5, compress=False)
    say(world, 6)
    frames = payloads(peer)
    assert b"__delta_seq" not in frames[4]
    assert json.loads(frames[5])["event"] == "sockudo:delta"
    assert [json.loads(reader.read(frame))["serial"] for frame in frames] == [1, 2, 3, 4, 5, 6]


def test_a_client_that_lost_its_base_gets_whole_messages() -> None:
    world = World()
    _, peer, reader = join(world)
    for number in range(1, 6):
        say(world, number)
    serials(reader, peer)
    next(iter(world.app.channels["fx"].subscribers())).lost_base("fx")
    reader.base, reader.number = b"", -1
    for number in range(6, 9):
        say(world, number)
    assert serials(reader, peer) == [6, 7, 8]


def test_behind_a_gate_everything_is_whole() -> None:
    world = World()
    connection, peer, reader = join(world)
    for number in range(1, 5):
        say(world, number)
    gate = world.hub.hold(connection, "fx", GateLimits(10, None, lambda: None))
    assert gate is not None
    say(world, 5)
    world.hub.open(gate)
    for number in range(6, 10):
        say(world, number)
    assert serials(reader, peer) == list(range(1, 10))
    assert world.app.channels["fx"].subscription_count == 1


def test_nothing_is_left_when_everybody_has_gone() -> None:
    world = World()
    connections = [join(world)[0] for _ in range(3)]
    say(world, 1)
    assert len(world.hub.tracks) == 1
    for connection in connections:
        world.hub.disconnect(connection)
    assert world.hub.tracks == {}
    assert world.hub.delta_node.base_bytes == 0
    assert world.app.channels == {}


def test_a_channel_may_show_or_hide_tags_on_its_own_account() -> None:
    world = World()
    world.app.deltas = ChannelDeltas({"fx": {"enable_tags": False}})
    connection, peer = world.connect(V2_JSON)
    world.hub.subscribe(connection, "fx")
    world.hub.publish(world.app, Frame("e", "fx", "{}", tags={"a": "b"}))
    world.settle()
    assert "tags" not in msgspec.json.decode(payloads(peer)[0])


def test_random_comings_and_goings() -> None:
    """Whatever happens, each client reads every message that was said while it was there, in order, exactly once."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(int(os.environ.get("SOCKUDO_EXAMPLES", "12"))):
        world, number = World(), 0
        here: list[tuple[Connection, Peer, Reader, list[int]]] = []
        for _ in range(120):
            action = dice.random()
            if action < 0.15 or not here:
                here.append((*join(world), []))
            elif action < 0.2:
                connection, peer, reader, expected = here.pop(dice.randrange(len(here)))
                assert serials(reader, peer) == expected
                world.hub.disconnect(connection)
            elif action < 0.25:
                _, peer, reader, expected = here[0]
                assert serials(reader, peer) == expected
                expected.clear()
                here[0][0].lost_base("fx")
                reader.base, reader.number = b"", -1
            else:
                number += 1
                left_out = dice.choice(here)[0] if dice.random() < 0.2 else None
                say(world, number, exclude=left_out, compress=dice.random() < 0.9)
                for connection, _, _, expected in here:
                    if connection is not left_out:
                        expected.append(number)
        for _, peer, reader, expected in here:
            assert serials(reader, peer) == expected
