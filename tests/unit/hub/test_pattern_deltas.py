"""Deltas by patterns through the hub: chains of concrete channels, and that every client can follow them."""

from __future__ import annotations

import base64
import json
import os
import random
from collections import Counter
from typing import Any

import pytest

from sockudo.client.binary import from_msgpack, from_protobuf
from sockudo.client.events import read_event
from sockudo.hub import Connection, GateLimits
from sockudo.hub.outgoing import Wants
from sockudo.protocol.delta import Algorithm, ChannelDeltas, DeltaNode, DeltaOptions, fossil
from sockudo.protocol.filters import FilterOptions, compile_filter
from sockudo.protocol.formats import V2_JSON, V2_MSGPACK, V2_PROTOBUF, Format
from sockudo.protocol.frames import Frame
from support.world import Peer, World

FOSSIL = Wants(delta=Algorithm.FOSSIL)
SHAPES = [V2_JSON, V2_MSGPACK, V2_PROTOBUF]
NEWS = compile_filter(
    {"filter": {"events": ["news"]}},
    FilterOptions(events_enabled=True, max_events=50, max_event_name=200, tags_enabled=True),
)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.label)


class Reader:
    """A client with one base for each channel, as SDKs have it; ``kinds`` as F, D and P."""

    def __init__(self, shape: Format, peer: Peer) -> None:
        self.shape = shape
        self.peer = peer
        self.bases: dict[str, tuple[int, bytes]] = {}
        self.numbers: Counter[str] = Counter()
        self.kinds = ""
        self._found: list[tuple[str, str, Any]] = []

    def read(self) -> list[tuple[str, str, Any]]:
        """(channel, event, data) of everything that came."""
        data, found = b"".join(self.peer.writes), []
        self.peer.writes.clear()
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            found.append(self._take(data[start : start + size]))
            data = data[start + size :]
        return found

    def so_far(self) -> list[tuple[str, str, Any]]:
        """The same of everything that ever came."""
        self._found += self.read()
        return self._found

    def unsubscribed(self, channel: str) -> None:
        """What came under the channel's own name is forgotten, as SDKs do it."""
        self.so_far()
        self.bases.pop(channel, None)
        self.numbers.pop(channel, None)

    def _fields(self, payload: bytes) -> dict[str, Any]:
        if self.shape is V2_JSON:
            found: dict[str, Any] = json.loads(payload)
            return found
        return from_msgpack(payload) if self.shape is V2_MSGPACK else from_protobuf(payload)

    def _take(self, payload: bytes) -> tuple[str, str, Any]:
        fields = self._fields(payload)
        channel, number = fields["channel"], fields.get("__delta_seq")
        if fields["event"] == "sockudo:delta":
            self.kinds += "D"
            data = fields["data"] if isinstance(fields["data"], dict) else json.loads(bytes(fields["data"]))
            base_number, base = self.bases[channel]
            assert base_number == data["base_index"]
            text = fossil.decode(base, base64.b64decode(data["delta"]))
            number = data["seq"]
        elif number is None:
            self.kinds += "P"
            return channel, fields["event"], fields["data"]
        else:
            self.kinds += "F"
            shown = [f'"{name}":{json.dumps(fields[name])}' for name in ("event", "channel", "data")]
            text = f"{{{','.join(shown)},".encode()
            if self.shape is V2_JSON:
                text = payload[: payload.index(b',"__delta_seq"')] + b"}"
        assert number >= self.numbers[channel], "a number came again"
        self.numbers[channel] = number + 1
        self.bases[channel] = number, text
        if self.kinds[-1] == "F":
            return channel, fields["event"], fields["data"]
        event = read_event(text.decode())
        return channel, event.event, json.loads(text)["data"]


class Desk(World):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.hub.delta_node = DeltaNode(DeltaOptions(**options), lambda: self.time)
        self.said = 0

    def reader(self, name: str, shape: Format = V2_JSON, wants: Wants = FOSSIL) -> tuple[Connection, Reader]:
        connection, peer = self.connect(shape)
        self.hub.subscribe(connection, name, wants)
        return connection, Reader(shape, peer)

    def say(self, *channels: str, event: str = "quote") -> None:
        for channel in channels:
            self.said += 1
            data = json.dumps({"number": self.said, "rest": "x" * 300})
            self.hub.publish(self.app, Frame(event, channel, data, tags={"9": "a"}))
            self.settle()

    def nothing_is_left(self) -> None:
        assert self.hub.tracks == {}
        assert self.hub.delta_node.base_bytes == 0
        assert self.app._delta_channels == {}


def kinds(reader: Reader) -> str:
    reader.kinds = ""
    reader.read()
    return reader.kinds


@every_shape
def test_chains_are_those_of_the_channels(shape: Format) -> None:
    desk = Desk()
    connection, reader = desk.reader("fx-*", shape)
    desk.say(*["fx-1", "fx-2"] * 4)
    assert kinds(reader) == "FFFFDDDD"
    assert connection.deltas == 0
    desk.hub.disconnect(connection)
    desk.nothing_is_left()


def test_subscribers_of_a_pattern_share_what_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    readers = [desk.reader("fx-*", shape) for shape in SHAPES for _ in range(100)]
    desk.say(*["fx-1"] * 3)
    made = []
    encode = fossil.encode
    monkeypatch.setattr(
        "sockudo.protocol.delta.node.encode", lambda _, base, target: made.append(1) or encode(base, target)
    )
    desk.say("fx-1")
    # One for JSON and one for both binary formats.
    assert len(made) == 2
    assert {kinds(reader) for _, reader in readers} == {"FFDD"}
    for connection, _ in readers:
        desk.hub.disconnect(connection)
    desk.nothing_is_left()


def test_an_exact_subscription_takes_over_in_the_middle_of_a_turn() -> None:
    desk = Desk()
    connection, reader = desk.reader("fx-*")
    desk.say(*["fx-1"] * 3)
    desk.hub.publish(desk.app, Frame("quote", "fx-1", "x" * 300))
    desk.hub.subscribe(connection, "fx-1", FOSSIL)
    desk.hub.publish(desk.app, Frame("quote", "fx-1", "y" * 300))
    desk.settle()
    found = [data[:1] for _, _, data in reader.read()]
    assert found[-2:] == ["x", "y"]
    assert reader.kinds == "FFDDF"
    desk.hub.publish(desk.app, Frame("quote", "fx-1", "z" * 300))
    desk.hub.unsubscribe(connection, "fx-1")
    desk.say(*["fx-1"] * 3)
    assert kinds(reader) == "FFFD"


def test_room_is_made_for_the_channel_used_now() -> None:
    desk = Desk(max_channel_states_per_socket=2)
    connection, reader = desk.reader("fx-*")
    desk.say(*["fx-1", "fx-2"] * 3)
    assert kinds(reader) == "FFFFDD"
    desk.say("fx-1", "fx-3", "fx-1", "fx-2", "fx-3")
    assert kinds(reader) == "DFDFF"
    assert connection.chains is not None
    assert list(connection.chains.crowds) == ["fx-2", "fx-3"]
    for name in ("a", "b"):
        desk.hub.subscribe(connection, name, FOSSIL)
    assert connection.chains.crowds == {}
    desk.say("fx-1", "a")
    assert kinds(reader) == "PF"
    desk.hub.disconnect(connection)
    desk.nothing_is_left()


def test_what_was_said_in_the_turn_is_not_lost_where_room_is_made() -> None:
    desk = Desk(max_channel_states_per_socket=1)
    _, reader = desk.reader("fx-*")
    for number in range(30):
        desk.hub.publish(desk.app, Frame("quote", f"fx-{number % 3}", f"{number}" + "x" * 300))
    desk.settle()
    assert Counter(channel for channel, _, _ in reader.read()) == {"fx-0": 10, "fx-1": 10, "fx-2": 10}


def test_what_a_connection_remembers_of_chains_that_it_left_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockudo.hub.connection._REMEMBERED", 3)
    desk = Desk(max_channel_states_per_socket=1)
    connection, _ = desk.reader("fx-*")
    desk.say(*(f"fx-{number}" for number in range(9)))
    assert connection.chains is not None
    assert len(connection.chains._left) == 3


def test_behind_a_gate_everything_is_whole() -> None:
    desk = Desk()
    connection, reader = desk.reader("fx-*")
    desk.say(*["fx-1"] * 3)
    gate = desk.hub.hold(connection, "fx-*", GateLimits(10, None, lambda: None))
    assert gate is not None
    desk.say("fx-1")
    desk.hub.open(gate)
    desk.say(*["fx-1"] * 3)
    assert kinds(reader) == "FFDPFFD"


def test_a_missed_message_ends_the_chains() -> None:
    desk = Desk()
    connection, reader = desk.reader("fx-*")
    desk.reader("fx-*")
    desk.say(*["fx-1", "fx-2"] * 3)
    desk.hub.missed(connection)
    desk.say(*["fx-1", "fx-2"] * 3)
    assert kinds(reader) == "FFFFDD" * 2


def test_only_what_is_lost_is_asked_for() -> None:
    desk = Desk()
    connection, reader = desk.reader("fx-*")
    desk.say(*["fx-1", "fx-2"] * 3)
    kinds(reader)
    assert connection.lost_base("fx-1")
    assert not connection.lost_base("fx-3")
    assert not connection.lost_base("gx-*")
    desk.say("fx-1", "fx-2")
    assert kinds(reader) == "FD"
    assert connection.lost_base("fx-*")
    desk.say("fx-1", "fx-2")
    assert kinds(reader) == "FF"


def test_a_channel_that_the_app_switches_off_is_plain_and_the_format_is_the_channels_own() -> None:
    desk = Desk()
    desk.app.deltas = ChannelDeltas({"fx-1": "disabled", "fx-2": "xdelta3"})
    for choices, algorithm in ((frozenset(), "fossil"), (frozenset(Algorithm), "xdelta3")):
        _, reader = desk.reader("fx-*", wants=FOSSIL._replace(choices=choices))
        desk.say(*["fx-1", "fx-2"] * 2)
        assert kinds(reader) == "PFPF"
        desk.say("fx-2")
        assert f'"algorithm":"{algorithm}"'.encode() in b"".join(reader.peer.writes)


@every_shape
def test_any_sequence_of_subscriptions(shape: Format) -> None:
    """Every client reads each message that one of its subscriptions lets through, once, in the order of its channel."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    names = ["fx-1", "fx-2", "fx-*", "*-1", "*", "f*2"]
    unfiltered = [FOSSIL, FOSSIL, Wants()]
    filtered = [*unfiltered, Wants(NEWS), Wants(NEWS, Algorithm.FOSSIL)]
    for _ in range(int(os.environ.get("SOCKUDO_EXAMPLES", "8"))):
        desk = Desk(max_channel_states_per_socket=dice.choice([1, 2, 100]))
        # What comes by different subscriptions in one turn has no order, so with filters each message has its own.
        one_by_one = dice.random() < 0.6
        wanted = filtered if one_by_one else unfiltered
        here: list[tuple[Connection, Reader, dict[str, Wants], list[tuple[str, str]]]] = []
        for _ in range(4):
            connection, peer = desk.connect(shape)
            here.append((connection, Reader(shape, peer), {}, []))
        for _ in range(150):
            connection, reader, subscribed, _ = dice.choice(here)
            step, name = dice.random(), dice.choice(names)
            if step < 0.2:
                subscribed[name] = dice.choice(wanted)
                desk.hub.subscribe(connection, name, subscribed[name])
                if "*" not in name:
                    # SDKs begin with nothing; what they have of a pattern's channel stays.
                    connection.lost_base(name)
            elif step < 0.3 and name in subscribed:
                del subscribed[name]
                desk.hub.unsubscribe(connection, name)
                reader.unsubscribed(name)
            elif step < 0.35:
                connection.lost_base(name)
            else:
                _publish(desk, dice, here)
            if one_by_one or dice.random() < 0.5:
                desk.settle()
        desk.settle()
        for connection, reader, _, expected in here:
            found = [(channel, json.loads(data)["number"]) for channel, _, data in reader.so_far()]
            for channel in ("fx-1", "fx-2"):
                assert [each for each in found if each[0] == channel] == [e for e in expected if e[0] == channel]
            desk.hub.disconnect(connection)
        desk.nothing_is_left()


def _publish(
    desk: Desk, dice: random.Random, here: list[tuple[Connection, Reader, dict[str, Wants], list[tuple[str, str]]]]
) -> None:
    channel, event = dice.choice(["fx-1", "fx-2"]), dice.choice(["quote", "quote", "news"])
    desk.said += 1
    excluded = dice.choice(here)[0] if dice.random() < 0.1 else None
    data = json.dumps({"number": desk.said, "rest": "x" * 300})
    fits = {"fx-1": ("fx-1", "fx-*", "*-1", "*"), "fx-2": ("fx-2", "fx-*", "*", "f*2")}[channel]
    for connection, _, subscribed, expected in here:
        through = [name for name in fits if name in subscribed]
        passes = any(subscribed[name].predicate is None or event == "news" for name in through)
        if passes and connection is not excluded:
            expected.append((channel, desk.said))
    exclude = None if excluded is None else excluded.socket_id
    desk.hub.publish(desk.app, Frame(event, channel, data), exclude, compress=dice.random() < 0.9)
