"""Who lives, by what arrives and by this node's own clock."""

from __future__ import annotations

from sockudo.cluster.items import ALL, Item, node_topic
from sockudo.cluster.members import NetworkMembership, Timing
from sockudo.cluster.ports import Node, NodeChange
from sockudo.cluster.wire import Beat, Bye, Dead, Ping

ME, OTHER, THIRD = "a" * 32, "b" * 32, "c" * 32


class Members:
    """A membership whose time is set by hand, and everything that it did."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[tuple[str, Item]] = []
        self.resyncs = self.reconnects = 0
        self.changes: list[tuple[str, int, str]] = []
        me = Node(ME, 1, "me")
        self.of = NetworkMembership(me, Timing(), lambda: self.now, self._send, self._resync, self._reconnect)
        self.of.watch(self._changed)

    def _send(self, topic: str, item: Item) -> None:
        self.sent.append((topic, item))

    def _resync(self) -> None:
        self.resyncs += 1

    def _reconnect(self) -> None:
        self.reconnects += 1

    def _changed(self, change: NodeChange) -> None:
        self.changes.append((change.node.id, change.node.incarnation, change.what))

    def pass_time(self, seconds: float, *, hears: bool = True, of: tuple[str, ...] = ()) -> None:
        """Time goes by in half seconds; ``hears``: its own beats come back, and those ``of`` others come."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.5
            before = len(self.sent)
            self.of.tick()
            for _, item in self.sent[before:] if hears else ():
                if isinstance(item, Beat):
                    self.of.take_own_beat(item)
                elif isinstance(item, Ping):
                    self.of.take_own_ping(item)
            for node_id in of:
                self.beat(node_id)

    def beat(self, node_id: str, incarnation: int = 1, role: str = "full") -> bool:
        accepted = self.of.accepts(node_id, incarnation)
        if accepted:
            self.of.take_beat(node_id, incarnation, Beat(self.now, node_id[:1], 2.0, role=role))
        return accepted


def test_a_node_beats_every_two_seconds_for_all_and_for_itself() -> None:
    members = Members()
    members.pass_time(10)
    topics = [topic for topic, _ in members.sent]
    assert topics.count(ALL) == topics.count(node_topic(ME)) == 5
    assert members.of.heard_itself
    assert not members.of.deaf


def test_a_node_that_takes_long_to_connect_is_neither_deaf_nor_fenced_then() -> None:
    members = Members()
    members.now += 60
    members.of.begin()
    members.pass_time(4)
    assert (members.of.deaf, members.of.fenced(), members.of.unheard()) == (False, False, 0.0)
    assert members.reconnects == members.resyncs == 0


def test_a_node_that_joins_owns_nothing_before_it_knows_all_that_another_one_knows() -> None:
    members = Members()
    members.of.begin()
    assert members.of.owner("a key").id == ME
    members.of.take_beat(OTHER, 1, Beat(100.0, "other", 2.0, nodes=2))
    assert members.of.misses_nodes
    assert {members.of.owner(f"key {number}").id for number in range(20)} == {OTHER}
    members.of.take_beat(THIRD, 1, Beat(100.0, "third", 2.0, nodes=2))
    assert not members.of.misses_nodes
    members.pass_time(1)
    members.of.join()
    assert [item.role for _, item in members.sent if isinstance(item, Beat)][-1] == "full"
    assert {members.of.owner(f"key {number}").id for number in range(20)} == {ME, OTHER, THIRD}


def test_a_node_that_joins_is_answered_at_once_and_no_live_one_yet() -> None:
    members = Members()
    members.pass_time(0.5)
    members.sent.clear()
    members.beat(OTHER, role="joining")
    assert [item.nodes for _, item in members.sent if isinstance(item, Beat)] == [1]
    assert not members.of.is_alive(OTHER)
    assert members.of.hears(OTHER)
    members.beat(OTHER)
    assert members.changes == [(OTHER, 1, "up")]


def test_a_node_is_unheard_two_beats_after_the_last_one_that_came_back() -> None:
    members = Members()
    members.pass_time(10)
    heard = max(item.sent for _, item in members.sent if isinstance(item, Ping))
    members.now = heard + 4
    assert members.of.unheard() == 0.0
    members.now += 0.01
    assert members.of.unheard() > 4


def test_a_silent_node_is_held_dead_after_the_timeout_and_stays_so() -> None:
    members = Members()
    members.beat(OTHER)
    members.pass_time(9)
    assert members.of.is_alive(OTHER)
    members.pass_time(2)
    assert not members.of.is_alive(OTHER)
    assert members.changes == [(OTHER, 1, "up"), (OTHER, 1, "down")]
    members.sent.clear()
    assert not members.beat(OTHER)
    assert members.sent == [(node_topic(OTHER), Dead(1))]
    assert not members.beat(OTHER)
    assert len(members.sent) == 1
    assert members.beat(OTHER, 2)
    assert members.changes[-1] == (OTHER, 2, "up")


def test_a_deaf_node_judges_no_other_one_connects_anew_and_reads_everything_when_it_hears_again() -> None:
    members = Members()
    members.beat(OTHER)
    members.pass_time(60, hears=False)
    assert members.of.deaf
    assert members.of.fenced()
    assert members.of.is_alive(OTHER)
    assert members.reconnects >= 5
    members.pass_time(2.5)
    assert not members.of.deaf
    assert members.resyncs == 1
    assert members.of.fenced()
    members.pass_time(5, of=(OTHER,))
    assert not members.of.fenced()
    assert members.of.is_alive(OTHER)


def test_a_node_that_was_held_dead_goes_on_as_the_next_incarnation() -> None:
    members = Members()
    members.of.take_dead(Dead(7))
    assert members.of.me.incarnation == 1
    members.of.take_dead(Dead(1))
    members.of.take_dead(Dead(1))
    assert members.of.me == Node(ME, 2, "me")
    assert members.changes == [(ME, 2, "up")]
    assert members.resyncs == 1


def test_a_goodbye_ends_a_node_at_once() -> None:
    members = Members()
    members.beat(OTHER)
    members.of.take_bye(OTHER, 2)
    assert members.of.is_alive(OTHER)
    members.of.take_bye(OTHER, 1)
    assert not members.of.is_alive(OTHER)
    members.of.leave()
    assert members.sent[-1] == (ALL, Bye())
    assert members.of.fenced()


def test_the_keys_of_a_draining_node_go_to_others_and_observers_learn_of_it() -> None:
    members = Members()
    drains: list[int] = []
    members.of.watch_drains(lambda: drains.append(1))
    for node_id in (OTHER, THIRD):
        members.beat(node_id)
    keys = [str(number) for number in range(300)]
    assert {members.of.owner(key).id for key in keys} == {ME, OTHER, THIRD}
    members.beat(OTHER, role="draining")
    assert drains == [1]
    assert {members.of.owner(key).id for key in keys} == {ME, THIRD}
    members.of.drain()
    assert {members.of.owner(key).id for key in keys} == {THIRD}
    assert members.of.is_alive(OTHER)


def test_beats_are_rarer_among_many_nodes() -> None:
    assert Timing().among(64) == Timing(2.0, 10.0)
    assert Timing().among(65) == Timing(4.0, 20.0)
    assert Timing().among(200) == Timing(8.0, 40.0)


def test_others_hear_of_connections_at_once_ten_times_a_second() -> None:
    members = Members()
    members.of.hurry()
    assert members.sent == []
    members.beat(OTHER)
    members.pass_time(3, of=(OTHER,))
    members.of.connections = lambda: {"shop": 2}
    before = len(members.sent)
    for _ in range(10):
        members.now += 0.05
        members.of.hurry()
    beats = [item for _, item in members.sent[before:] if isinstance(item, Beat)]
    assert 4 <= len(beats) <= 5
    assert {beat.connections["shop"] for beat in beats} == {2}


def test_connections_elsewhere_are_those_of_live_nodes() -> None:
    members = Members()
    for node_id, counts in ((OTHER, {"shop": 2}), (THIRD, {"shop": 3, "news": 1})):
        members.of.take_beat(node_id, 1, Beat(members.now, node_id, 2.0, connections=counts))
    assert [members.of.elsewhere(app) for app in ("shop", "news", "none")] == [5, 1, 0]
    members.of.take_bye(THIRD, 1)
    assert members.of.elsewhere("shop") == 2
