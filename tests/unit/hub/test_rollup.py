"""Appends that come once in an interval to those who want them so (spec: messages § 11)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.hub import Connection, Gate, GateLimits
from sockudo.hub.outgoing import Wants
from sockudo.protocol.formats import V1_JSON, V2_JSON
from sockudo.protocol.frames import Frame
from support.world import Peer, World

APPEND, UPDATE = "sockudo:message.append", "sockudo:message.update"
LIMITS = GateLimits(1000, None, lambda: None)


@dataclass
class Store:
    """A channel's versions as the store has them, delivered through a hub whose time is moved by hand."""

    world: World = field(default_factory=World)
    log: list[Frame] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    timers: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    numbers: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.world.hub.later = self.later

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        heapq.heappush(self.timers, (self.world.time + seconds, next(self.numbers), work))

    def join(self, pace: int = 0, name: str = "news", *, whole: bool = False, v1: bool = False) -> Reader:
        connection, peer = self.world.connect(V1_JSON if v1 else V2_JSON)
        reader = Reader(connection, peer, dict(self.texts), Wants(whole=whole, pace=pace), name)
        self.world.hub.subscribe(connection, name, reader.wants)
        return reader

    def change(self, message: str, action: str, text: str) -> None:
        serial = len(self.log) + 1
        headers = {"sockudo_message_serial": message, "sockudo_version_serial": f"{serial:05d}"}
        self.texts[message] = self.texts.get(message, "") + text if action == "append" else text
        event = "said" if action == "create" else f"sockudo:message.{action}"
        frame = Frame(event, "news", text, None, None, None, str(serial), "log", serial, {"headers": headers})
        self.log.append(frame)
        if action == "create":
            self.world.hub.publish(self.world.app, frame)
            return
        whole = Frame(event, "news", self.texts[message], None, None, None, str(serial), "log", serial, frame.extras)
        self.world.hub.publish_change(self.world.app, frame, whole if action == "append" else None)

    def append(self, text: str, message: str = "m") -> None:
        self.change(message, "append", text)

    def wait(self, ms: float) -> None:
        until = self.world.time + ms / 1000
        while self.timers and self.timers[0][0] <= until:
            self.world.time, _, work = heapq.heappop(self.timers)
            work()
            self.world.settle()
        self.world.time = until
        self.world.settle()


@dataclass
class Reader:
    """A client that keeps texts: a version that is not behind the one it has is one that it knows."""

    connection: Connection
    peer: Peer
    texts: dict[str, str]
    wants: Wants
    name: str
    versions: dict[str, str] = field(default_factory=dict)
    serial: int = 0
    taken: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)

    def frames(self) -> list[dict[str, Any]]:
        self.got += self.peer.frames()
        return self.got

    def data(self) -> list[Any]:
        return [frame["data"] for frame in self.frames()]

    def read(self, until: int | None = None) -> None:
        """Takes what came, without a hole that is not accounted for."""
        frames = self.frames()[self.taken : until]
        self.taken += len(frames)
        for frame in frames:
            headers = frame["extras"]["headers"]
            if "serial" in frame:
                assert headers.get("sockudo_first_serial", frame["serial"]) > self.serial
                self.serial = frame["serial"]
            self.take(headers, frame["event"], frame["data"])

    def take(self, headers: dict[str, Any], event: str, data: Any) -> None:
        message, version = headers["sockudo_message_serial"], headers["sockudo_version_serial"]
        if version <= self.versions.get(message, ""):
            return
        self.versions[message] = version
        piece = event == APPEND and not self.wants.whole
        self.texts[message] = self.texts.get(message, "") + data if piece else data


@pytest.fixture
def store() -> Store:
    return Store()


def test_appends_within_an_interval_come_as_one(store: Store) -> None:
    fast, slow, full, old = store.join(), store.join(40), store.join(40, whole=True), store.join(v1=True)
    for text, ms in (("a", 12), ("b", 13), ("c", 25), ("d", 5), ("e", 0)):
        store.append(text)
        store.wait(ms)
    store.wait(100)
    assert fast.data() == ["a", "b", "c", "d", "e"]
    assert slow.data() == ["a", "bc", "de"]
    assert full.data() == ["a", "abc", "abcde"]
    assert old.frames() == []
    joined = slow.frames()[1]
    assert joined["serial"] == 3
    assert joined["message_id"] == "3"
    assert joined["extras"]["headers"]["sockudo_version_serial"] == "00003"
    assert joined["extras"]["headers"]["sockudo_first_serial"] == 2
    assert "sockudo_first_serial" not in slow.frames()[0]["extras"]["headers"]
    assert (store.world.app.traffic.appends_held, store.world.app.traffic.appends_joined) == (4, 2)


def test_after_a_quiet_interval_an_append_comes_at_once(store: Store) -> None:
    slow = store.join(40)
    store.append("a")
    store.wait(45)
    assert not store.world.app.rolling
    assert not store.timers
    store.append("b")
    store.wait(0)
    assert slow.data() == ["a", "b"]


@pytest.mark.parametrize("action", ["create", "update", "delete"])
def test_what_else_has_a_place_comes_behind_what_waits(store: Store, action: str) -> None:
    slow = store.join(40)
    store.append("a")
    store.append("b")
    store.append("c")
    store.change("other" if action == "create" else "m", action, "end")
    store.wait(0)
    assert slow.data() == ["a", "bc", "end"]
    assert [frame["serial"] for frame in slow.frames()] == [1, 3, 4]


def test_a_message_without_a_place_does_not_end_the_interval(store: Store) -> None:
    slow = store.join(40)
    store.append("a")
    store.append("b")
    store.world.hub.publish(store.world.app, Frame("typing", "news", "x"))
    store.wait(0)
    assert slow.data() == ["a", "x"]


def test_of_several_messages_the_last_frame_alone_has_a_place(store: Store) -> None:
    slow = store.join(40)
    for message, text in (("m", "a"), ("m", "b"), ("n", "x"), ("m", "c"), ("n", "y")):
        store.append(text, message)
    store.wait(40)
    assert [(frame["data"], frame.get("serial"), "stream_id" in frame) for frame in slow.frames()] == [
        ("a", 1, True),
        ("bc", None, False),
        ("xy", 5, True),
    ]
    assert slow.frames()[-1]["extras"]["headers"]["sockudo_first_serial"] == 2


@pytest.mark.parametrize("name", ["news", "new*"])
def test_who_comes_gets_nothing_from_before_and_who_stays_gets_it_once(store: Store, name: str) -> None:
    first = store.join(40, name)
    for text in "abc":
        store.append(text)
    second = store.join(40, name)
    store.append("d")
    store.wait(40)
    assert (first.data(), second.data()) == (["a", "bc", "d"], ["d"])


@pytest.mark.parametrize("name", ["news", "new*"])
def test_who_goes_gets_what_waits(store: Store, name: str) -> None:
    slow = store.join(40, name)
    store.append("a")
    store.append("b")
    store.world.hub.unsubscribe(slow.connection, name)
    store.append("c")
    store.wait(40)
    assert slow.data() == ["a", "b"]


def test_who_hears_a_channel_twice_gets_it_once(store: Store) -> None:
    slow = store.join(40)
    store.world.hub.subscribe(slow.connection, "new*", slow.wants)
    for text in "abc":
        store.append(text)
    store.wait(40)
    assert slow.data() == ["a", "bc"]


def test_behind_a_gate_each_comes_by_itself(store: Store) -> None:
    slow, other = store.join(40), store.join(40)
    store.append("a")
    store.append("b")
    gate = store.world.hub.hold(slow.connection, "news", LIMITS)
    assert isinstance(gate, Gate)
    store.append("c")
    store.append("d")
    store.world.hub.open(gate)
    store.append("e")
    store.wait(40)
    assert slow.data() == ["a", "b", "c", "d", "e"]
    assert other.data() == ["a", "b", "cd", "e"]


def test_each_pace_has_its_own_interval(store: Store) -> None:
    readers = [store.join(pace) for pace in (20, 100)]
    for text in "abcdefghij":
        store.append(text)
        store.wait(10)
    store.wait(100)
    assert [reader.data() for reader in readers] == [["a", "b", "cd", "ef", "gh", "ij"], ["a", "bcdefghij"]]


def test_what_waits_is_bounded(store: Store) -> None:
    slow = store.join(500)
    store.append("a")
    store.append("b" * 40_000)
    store.append("c" * 40_000)
    store.append("d")
    for _ in range(1001):
        store.append("e")
    store.world.settle()
    assert [len(data) for data in slow.data()] == [1, 80_000, 1000]


def test_many_channels_at_once_take_several_turns_and_one_timer() -> None:
    store = Store()
    hub, app = store.world.hub, store.world.app
    peers = []
    for number in range(1000):
        connection, peer = store.world.connect(V2_JSON)
        hub.subscribe(connection, f"c{number}", Wants(pace=40))
        peers.append(peer)
    for serial in (1, 2, 3):
        for number in range(1000):
            extras = {"headers": {"sockudo_message_serial": "m"}}
            frame = Frame(
                APPEND, f"c{number}", "x", message_id=str(serial), stream_id="log", serial=serial, extras=extras
            )
            hub.publish_change(app, frame, None)
    assert len(store.timers) == 1
    store.wait(39)
    store.world.time += 0.002
    store.timers[0][2]()
    assert store.world.app.traffic.appends_joined == 200
    store.wait(10)
    assert {tuple(data for _, data in peer.events()) for peer in peers} == {("x", "xx")}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from("mno"), st.text("xyz", min_size=1, max_size=3)),
        st.tuples(st.sampled_from(["create", "update", "delete"]), st.sampled_from("mno"), st.text("xyz", max_size=3)),
        st.tuples(st.just("wait"), st.integers(1, 60), st.just("")),
        st.tuples(st.just("join"), st.sampled_from([0, 20, 40, 100]), st.sampled_from(["news", "new*"])),
        st.tuples(st.just("whole"), st.sampled_from([0, 40]), st.just("news")),
        st.tuples(st.just("gate"), st.integers(0, 5), st.just("")),
        st.tuples(st.just("cut"), st.integers(0, 5), st.integers(0, 5)),
    ),
    max_size=40,
)


@given(STEPS)
def test_whoever_reads_holds_what_the_store_holds(steps: list[tuple[str, Any, Any]]) -> None:
    """Every reader ends with the texts of the store, also one that was cut off at any frame and replayed the log."""
    store = Store()
    readers: list[Reader] = []
    gates: list[Gate] = []
    for what, one, other in steps:
        if what in {"join", "whole"}:
            reader = store.join(one, other, whole=what == "whole")
            reader.serial = len(store.log)
            readers.append(reader)
        elif what == "wait":
            for gate in gates:
                store.world.hub.open(gate)
            gates.clear()
            store.wait(one)
        elif what == "gate" and readers:
            chosen = readers[one % len(readers)]
            gate = store.world.hub.hold(chosen.connection, chosen.name, LIMITS)
            gates += [] if gate is None else [gate]
        elif what == "cut" and readers:
            store.world.settle()
            cut = readers.pop(one % len(readers))
            cut.read(cut.taken + other)
            store.world.hub.disconnect(cut.connection)
            for frame in store.log[cut.serial :]:
                whole = frame.event == APPEND and cut.wants.whole
                headers = (frame.extras or {})["headers"]
                text = store.texts[headers["sockudo_message_serial"]] if whole else frame.data
                cut.take(headers, frame.event, text)
            assert {name: cut.texts.get(name) for name in store.texts} == store.texts
        elif what not in {"gate", "cut"}:
            store.change(one, what, other)
    for gate in gates:
        store.world.hub.open(gate)
    store.wait(1000)
    assert not store.world.app.rolling
    for reader in readers:
        reader.read()
        assert {name: reader.texts.get(name) for name in store.texts} == store.texts
        assert reader.serial == len(store.log)
