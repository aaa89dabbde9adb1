"""Delivery: order, who hears what, one write per turn, slices."""

from __future__ import annotations

import random
from collections.abc import Callable

from sockudo.hub import Connection
from sockudo.hub.delivery import SLICE
from sockudo.protocol.frames import Frame
from support.world import Peer, World


def begin(world: World, pairs: list[tuple[Connection, Peer]]) -> None:
    """Turns until the first of these subscribers was written to: a delivery to many waits for more."""
    for _ in range(10):
        if any(peer.writes for _, peer in pairs):
            return
        world.turn()
    raise AssertionError("nothing was written")


def test_frames_of_one_turn_are_one_write_in_order(world: World) -> None:
    [(_, peer)] = world.subscribers(1)
    for name in ("a", "b", "c"):
        world.publish(name)
    assert peer.writes == []
    world.settle()
    assert len(peer.writes) == 1
    assert [event for event, _ in peer.events()] == ["a", "b", "c"]


def test_subscribers_share_the_bytes(world: World) -> None:
    pairs = world.subscribers(3)
    world.publish("a")
    world.settle()
    assert len({id(peer.writes[0]) for _, peer in pairs}) == 1


def test_nobody_hears_what_was_said_before_they_came(world: World) -> None:
    world.subscribers(1)
    world.publish("before")
    late, peer = world.connect()
    world.hub.subscribe(late, "news")
    world.publish("after")
    world.settle()
    assert [event for event, _ in peer.events()] == ["after"]


def test_who_leaves_has_heard_everything_said_while_there(world: World) -> None:
    [(connection, peer), (_, other)] = world.subscribers(2)
    world.publish("while")
    world.hub.unsubscribe(connection, "news")
    world.publish("after")
    world.settle()
    assert [event for event, _ in peer.events()] == ["while"]
    assert [event for event, _ in other.events()] == ["while", "after"]


def test_coming_back_within_a_turn_misses_only_what_was_said_in_between(world: World) -> None:
    [(connection, peer), _] = world.subscribers(2)
    world.publish("one")
    world.hub.unsubscribe(connection, "news")
    world.publish("two")
    world.hub.subscribe(connection, "news")
    world.publish("three")
    world.settle()
    assert [event for event, _ in peer.events()] == ["one", "three"]


def test_the_excluded_connection_gets_the_rest(world: World) -> None:
    [(connection, peer), (_, other)] = world.subscribers(2)
    world.publish("one")
    world.publish("two", exclude=connection)
    world.publish("three")
    world.settle()
    assert [event for event, _ in peer.events()] == ["one", "three"]
    assert [event for event, _ in other.events()] == ["one", "two", "three"]


def test_an_excluded_connection_that_leaves_does_not_get_what_it_must_not(world: World) -> None:
    [(connection, peer), _] = world.subscribers(2)
    world.publish("one")
    world.publish("two", exclude=connection)
    world.hub.unsubscribe(connection, "news")
    world.settle()
    assert [event for event, _ in peer.events()] == ["one"]


def test_a_long_channel_is_written_in_slices_while_others_get_their_turn(world: World) -> None:
    big = world.subscribers(5000, "big")
    [(_, small)] = world.subscribers(1, "small")
    world.publish("b", "big")
    begin(world, big)
    assert 0 < sum(bool(peer.writes) for _, peer in big) < 5000
    world.publish("s", "small")
    world.turn()
    assert [event for event, _ in small.events()] == ["s"]
    assert sum(bool(peer.writes) for _, peer in big) < 5000
    world.settle()
    assert all(len(peer.writes) == 1 for _, peer in big)


def test_what_comes_in_the_next_turns_is_one_write_to_many(world: World) -> None:
    pairs = world.subscribers(400)
    for name in ("a", "b", "c"):
        world.publish(name)
        world.turn()
    world.settle()
    assert {len(peer.writes) for _, peer in pairs} == {1}
    assert all([event for event, _ in peer.events()] == ["a", "b", "c"] for _, peer in pairs)


def test_many_wait_for_a_few_turns_that_bring_nothing(world: World) -> None:
    pairs = world.subscribers(1000)
    world.publish("a")
    turns = world.settle()
    assert 2 <= turns <= 5
    assert {len(peer.writes) for _, peer in pairs} == {1}


def test_many_wait_for_a_millisecond_at_most(world: World) -> None:
    pairs = world.subscribers(400)
    world.publish("a")
    world.turn()
    world.time += 0.002
    world.publish("b")
    world.turn()
    assert all([event for event, _ in peer.events()] == ["a", "b"] for _, peer in pairs)


def test_a_few_wait_for_nothing(world: World) -> None:
    pairs = world.subscribers(99)
    world.publish("a")
    world.turn()
    assert {len(peer.writes) for _, peer in pairs} == {1}


def test_a_small_channel_does_not_wait_for_what_gathers_for_a_large_one(world: World) -> None:
    big = world.subscribers(400, "big")
    [(_, small)] = world.subscribers(1, "small")
    world.publish("b", "big")
    world.publish("s", "small")
    world.turn()
    assert [event for event, _ in small.events()] == ["s"]
    assert not any(peer.writes for _, peer in big)
    world.settle()
    assert {len(peer.writes) for _, peer in big} == {1}


def test_those_who_come_and_go_while_it_gathers_hear_their_part(world: World) -> None:
    pairs = world.subscribers(400)
    world.publish("a")
    world.turn()
    (leaving, left), *_ = pairs
    world.hub.unsubscribe(leaving, "news")
    late, late_peer = world.connect()
    world.hub.subscribe(late, "news")
    world.publish("b")
    world.settle()
    assert [event for event, _ in left.events()] == ["a"]
    assert [event for event, _ in late_peer.events()] == ["b"]
    assert all([event for event, _ in peer.events()] == ["a", "b"] for _, peer in pairs[1:])


class Timers:
    """What was put off, by hand."""

    def __init__(self, world: World) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []
        world.hub.later = lambda seconds, work: self.due.append((seconds, work))

    def fire(self) -> list[float]:
        """Does all of it, and returns after how many seconds each was due."""
        due, self.due = self.due, []
        for _, work in due:
            work()
        return [seconds for seconds, _ in due]


def follow(world: World, times: int) -> None:
    """So many rounds, each followed at once by the next one."""
    for _ in range(times):
        world.publish("followed")
        world.settle()


def test_rounds_that_follow_each_other_are_held_for_what_comes(world: World) -> None:
    pairs, timers = world.subscribers(400), Timers(world)
    follow(world, 2)
    for _, peer in pairs:
        assert [event for event, _ in peer.events()] == ["followed"] * 2
    world.publish("a")
    world.settle()
    world.publish("b")
    world.settle()
    assert not any(peer.writes for _, peer in pairs)
    assert timers.fire() == [0.002]
    world.settle()
    assert {len(peer.writes) for _, peer in pairs} == {1}
    assert all([event for event, _ in peer.events()] == ["a", "b"] for _, peer in pairs)


def test_a_round_of_few_is_held_for_less_and_a_small_one_never(world: World) -> None:
    for count, held in ((199, []), (200, [0.001])):
        channel = f"of-{count}"
        world.subscribers(count, channel)
        timers = Timers(world)
        for _ in range(4):
            world.publish("x", channel)
            world.settle()
        assert timers.fire() == held


def test_rounds_with_time_between_them_are_not_held(world: World) -> None:
    pairs, timers = world.subscribers(400), Timers(world)
    for number in range(20):
        # One in four follows at once.
        world.time += 0.0 if number % 4 == 0 else 0.01
        follow(world, 1)
    assert timers.due == []
    assert all(len(peer.writes) == 20 for _, peer in pairs)


def test_holding_ends_where_nothing_comes_meanwhile(world: World) -> None:
    pairs, timers = world.subscribers(400), Timers(world)
    follow(world, 2)
    for _ in range(20):
        world.time += 0.01
        world.publish("alone")
        world.settle()
        timers.fire()
        world.settle()
    world.time += 0.01
    world.publish("last")
    world.settle()
    assert timers.due == []
    assert all(peer.events()[-1][0] == "last" for _, peer in pairs)


def test_nothing_is_held_without_a_timer(world: World) -> None:
    pairs = world.subscribers(400)
    follow(world, 20)
    assert all(len(peer.writes) == 20 for _, peer in pairs)


def test_those_who_come_and_go_while_a_round_is_held_hear_their_part(world: World) -> None:
    pairs, timers = world.subscribers(400), Timers(world)
    follow(world, 2)
    for _, peer in pairs:
        peer.frames()
    world.publish("a")
    world.settle()
    (leaving, left), *rest = pairs
    world.hub.unsubscribe(leaving, "news")
    assert [event for event, _ in left.events()] == ["a"]
    late, late_peer = world.connect()
    world.hub.subscribe(late, "news")
    world.publish("b")
    timers.fire()
    world.settle()
    assert [event for event, _ in late_peer.events()] == ["b"]
    assert all([event for event, _ in peer.events()] == ["a", "b"] for _, peer in rest)
    assert left.writes == []


def test_a_channel_that_ends_while_its_round_is_held(world: World) -> None:
    pairs, timers = world.subscribers(400), Timers(world)
    follow(world, 2)
    world.publish("a")
    world.settle()
    for connection, _ in pairs:
        world.hub.unsubscribe(connection, "news")
    timers.fire()
    assert world.settle() <= 2
    assert all([event for event, _ in peer.events()][-1] == "a" for _, peer in pairs)


def test_a_long_frame_counts_for_several_writes(world: World) -> None:
    pairs = world.subscribers(600)
    world.hub.publish(world.app, Frame("tide", "news", "x" * 160_000))
    written = []
    while world.turns:
        before = sum(bool(peer.writes) for _, peer in pairs)
        world.turn()
        written.append(sum(bool(peer.writes) for _, peer in pairs) - before)
    assert sum(written) == 600
    assert max(written) <= SLICE // 10


def test_slices_keep_order_and_membership(world: World) -> None:
    """What is said, and who comes and goes, while a round is under way: everyone hears exactly their part, in order."""
    pairs = world.subscribers(4500)
    world.publish("one")
    begin(world, pairs)
    waiting = next((connection, peer) for connection, peer in pairs if not peer.writes)
    served = next((connection, peer) for connection, peer in pairs if peer.writes)
    world.publish("two")
    for connection, _ in (waiting, served):
        world.hub.unsubscribe(connection, "news")
    late, late_peer = world.connect()
    world.hub.subscribe(late, "news")
    world.publish("three")
    world.settle()
    assert [event for event, _ in waiting[1].events()] == ["one", "two"]
    assert [event for event, _ in served[1].events()] == ["one", "two"]
    assert [event for event, _ in late_peer.events()] == ["three"]
    rest = [peer for pair in pairs if pair not in (waiting, served) for peer in pair[1:]]
    assert all([event for event, _ in peer.events()] == ["one", "two", "three"] for peer in rest)


def test_random_histories_against_a_model(world: World) -> None:
    """Whatever happens in whatever order, a connection hears exactly what was said while it was subscribed."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    people = [world.connect() for _ in range(1200)]
    expected: dict[int, list[str]] = {index: [] for index in range(len(people))}
    inside: set[int] = set()
    for step in range(3000):
        what = dice.random()
        index = dice.randrange(len(people))
        connection = people[index][0]
        if what < 0.55:
            inside.add(index)
            world.hub.subscribe(connection, "news")
        elif what < 0.65:
            inside.discard(index)
            world.hub.unsubscribe(connection, "news")
        elif what < 0.9:
            name = f"e{step}"
            excluded = index if dice.random() < 0.3 else None
            world.publish(name, exclude=connection if excluded is not None else None)
            for member in inside - {excluded}:
                expected[member].append(name)
        else:
            world.turn()
    world.settle()
    for index, (_, peer) in enumerate(people):
        assert [event for event, _ in peer.events()] == expected[index], index


def test_counts_of_traffic_follow_what_was_written(world: World) -> None:
    world.subscribers(3)
    world.publish("a")
    world.publish("b")
    world.settle()
    assert world.app.traffic.messages_sent == 6
    assert world.app.traffic.bytes_sent > 0


def test_a_channel_without_subscribers_is_forgotten(world: World) -> None:
    [(connection, _)] = world.subscribers(1)
    world.hub.unsubscribe(connection, "news")
    assert world.app.channels == {}
    world.publish("nobody")
    assert world.turns == []
