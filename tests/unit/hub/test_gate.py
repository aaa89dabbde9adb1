"""A gate: what is said while a subscriber is told the past comes after it, in order, once, or not at all."""

from __future__ import annotations

from sockudo.base.stream_records import Position
from sockudo.hub import Gate, GateLimits
from sockudo.hub.outgoing import EVERYTHING
from sockudo.protocol.formats import V2_JSON
from sockudo.protocol.frames import INTERRUPTED, Frame
from sockudo.protocol.framing import WEBSOCKET
from sockudo.protocol.shapes import shape_of
from support.world import Peer, World


class Gated:
    """A world with one subscriber behind a gate."""

    def __init__(self, messages: int = 10, max_bytes: int | None = None) -> None:
        self.world = World()
        self.overflows = 0
        self.connection, self.peer = self.world.connect(V2_JSON)
        limits = GateLimits(messages, max_bytes, self.overflow)
        gate = self.world.hub.subscribe(self.connection, "news", EVERYTHING, limits)
        assert isinstance(gate, Gate)
        self.gate = gate

    def overflow(self) -> None:
        self.overflows += 1

    def say(self, serial: int | None, name: str = "e", exclude: str | None = None) -> None:
        self.world.hub.publish(self.world.app, Frame(name, "news", "{}", stream_id="s", serial=serial), exclude)


def serials(peer: Peer) -> list[object]:
    return [frame.get("serial") for frame in peer.frames()]


def test_nothing_passes_until_it_opens() -> None:
    gated = Gated()
    gated.say(5)
    gated.world.settle()
    assert gated.peer.writes == []
    assert gated.world.hub.open(gated.gate) == 1
    assert serials(gated.peer) == [5]


def test_what_the_past_has_shown_already_is_left_out_and_the_rest_is_in_order() -> None:
    gated = Gated()
    for serial in (3, 5, 4, 6):
        gated.say(serial)
    assert gated.world.hub.open(gated.gate, {"news": Position("s", 4)}) == 2
    assert serials(gated.peer) == [5, 6]


def test_afterwards_it_shares_with_the_others() -> None:
    gated = Gated()
    gated.say(1)
    gated.world.hub.open(gated.gate)
    gated.say(2)
    gated.world.settle()
    assert serials(gated.peer) == [1, 2]
    assert list(gated.world.app.channels["news"].fanouts) == [shape_of(V2_JSON, WEBSOCKET)]


def test_an_excluded_sender_gets_nothing_back() -> None:
    gated = Gated()
    gated.say(1, exclude=gated.connection.socket_id)
    assert gated.world.hub.open(gated.gate) == 0


def test_too_many_messages_are_told_once_and_none_is_sent() -> None:
    gated = Gated(messages=2)
    for serial in range(1, 6):
        gated.say(serial)
    assert gated.overflows == 1
    gated.world.hub.open(gated.gate)
    assert gated.peer.writes == []


def test_too_many_bytes_count_as_well() -> None:
    gated = Gated(max_bytes=100)
    gated.say(1)
    gated.say(2)
    gated.say(3)
    assert gated.overflows == 1


def test_a_gate_of_someone_who_has_left_opens_nothing() -> None:
    gated = Gated()
    gated.say(1)
    gated.world.hub.unsubscribe(gated.connection, "news")
    assert gated.world.hub.open(gated.gate) == 0
    assert gated.peer.writes == []
    assert gated.world.app.channels == {}


def test_holding_back_an_open_subscription_loses_and_repeats_nothing() -> None:
    gated = Gated()
    gated.world.hub.open(gated.gate)
    gated.say(1)
    gate = gated.world.hub.hold(gated.connection, "news", GateLimits(10, None, gated.overflow))
    assert gate is not None
    assert serials(gated.peer) == [1]
    gated.say(2)
    gated.world.settle()
    assert gated.peer.writes == []
    gated.world.hub.open(gate)
    gated.say(3)
    gated.world.settle()
    assert serials(gated.peer) == [2, 3]


def test_holding_back_who_is_not_subscribed_is_nothing() -> None:
    world = World()
    connection, _ = world.connect(V2_JSON)
    assert world.hub.hold(connection, "news", GateLimits(1, None, lambda: None)) is None


def test_frames_without_a_serial_are_held_too() -> None:
    gated = Gated()
    gated.say(None, "ephemeral")
    gated.say(9)
    assert gated.world.hub.open(gated.gate, {"news": Position("s", 9)}) == 1
    assert [frame["event"] for frame in gated.peer.frames()] == ["ephemeral"]


def test_what_was_said_before_the_stream_changed_is_left_out_and_what_came_after_is_not() -> None:
    gated = Gated()
    replay = gated.world.app.replay
    replay.follow("news", Position("s", 4), 0)
    gated.say(5)
    gated.world.app.interrupt(Frame(INTERRUPTED, "news", "{}"))
    replay.follow("news", Position("t", 0), 0)
    gated.world.hub.publish(gated.world.app, Frame("e", "news", "{}", stream_id="t", serial=1))
    before, held = Position("s", 4), list(gated.gate.held)
    assert gated.world.hub.open(gated.gate, {"news": before}) == 3
    assert serials(gated.peer) == [5, None, 1]

    gate = gated.world.hub.hold(gated.connection, "news", GateLimits(10, None, gated.overflow))
    assert gate is not None
    gate.held.extend(held)
    assert gated.world.hub.open(gate, {"news": Position("t", 0)}) == 1
    assert serials(gated.peer) == [1]
