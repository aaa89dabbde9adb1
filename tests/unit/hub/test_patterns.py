"""Wildcard subscriptions and metachannels: who hears what, once, and never what is protected."""

from __future__ import annotations

from typing import SupportsIndex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.hub import HubOptions
from sockudo.hub.channel import Channel
from sockudo.hub.outgoing import Wants
from sockudo.hub.patterns import Patterns
from sockudo.protocol.filters import FilterOptions, Predicate, compile_filter
from sockudo.protocol.formats import V2_JSON
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import WILDCARD
from support.world import Peer, World

OPTIONS = FilterOptions(events_enabled=True, max_events=50, max_event_name=200, tags_enabled=True)


@pytest.mark.parametrize(
    ("pattern", "channel", "expected"),
    [
        ("*", "news", True),
        ("news*", "news", True),
        ("news*", "newsroom", True),
        ("news*", "new", False),
        ("*room", "newsroom", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*c", "abc", True),
        ("*", "cache-rates", True),
        ("*", "private-a", False),
        ("p*", "presence-a", False),
        ("*", "private-cache-a", False),
        ("*", "[meta]news", False),
        ("*", "#server-to-user-7", False),
    ],
)
def test_which_names_fit(pattern: str, channel: str, expected: bool) -> None:
    world = World()
    connection, _ = world.connect(V2_JSON)
    world.hub.subscribe(connection, pattern)
    assert [found.name for found in world.app.patterns.matching(channel)] == [pattern] * expected


def slow_matches(patterns: list[str], channel: str) -> list[str]:
    """The patterns that fit a public channel, found by comparing each."""
    found = []
    for pattern in patterns:
        before, _, after = pattern.partition("*")
        if len(before) + len(after) <= len(channel) and channel.startswith(before) and channel.endswith(after):
            found.append(pattern)
    return found


@given(
    patterns=st.lists(st.from_regex(r"[ab]{0,3}\*[ab]{0,3}", fullmatch=True), unique=True, max_size=30),
    gone=st.sets(st.integers(0, 29)),
    channels=st.lists(st.text("ab", min_size=1, max_size=8), max_size=10),
)
def test_the_index_finds_what_a_walk_finds_in_the_order_of_arrival(
    patterns: list[str], gone: set[int], channels: list[str]
) -> None:
    world = World()
    connection, _ = world.connect(V2_JSON)
    for pattern in patterns:
        world.hub.subscribe(connection, pattern)
    for place in gone:
        if place < len(patterns):
            world.hub.unsubscribe(connection, patterns[place])
    left = [pattern for place, pattern in enumerate(patterns) if place not in gone]
    index = world.app.patterns
    for channel in channels:
        assert [found.name for found in index.matching(channel)] == slow_matches(left, channel)
    for pattern in left:
        world.hub.unsubscribe(connection, pattern)
    assert not index
    assert not index.matching("a")


class Counting(str):
    """A name that counts how often a part of it is taken, which is what each look-up begins with."""

    __slots__ = ("parts",)
    parts: int

    def __new__(cls, text: str) -> Counting:
        made = super().__new__(cls, text)
        made.parts = 0
        return made

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        self.parts += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("form", ["other-{}-*", "*-other-{}", "other-{}*x", "*"])
def test_a_publish_costs_nothing_for_patterns_of_others(form: str) -> None:
    app = World().app
    patterns = Patterns(app)
    for name in dict.fromkeys(form.format(number) for number in range(50_000)):
        patterns.add(Channel(name, WILDCARD, app))
    published = Counting("news-of-the-day")
    assert len(patterns.matching(published)) == (form == "*")
    assert published.parts <= 2 * len(published)


def heard(peer: Peer) -> list[tuple[object, object]]:
    return [(frame["channel"], frame["event"]) for frame in peer.frames()]


def test_a_pattern_hears_every_channel_that_fits_under_its_own_name() -> None:
    world = World()
    connection, peer = world.connect(V2_JSON)
    world.hub.subscribe(connection, "news*")
    for channel in ("news", "newsroom", "sport", "private-news"):
        world.publish("e", channel)
    world.settle()
    assert heard(peer) == [("news", "e"), ("newsroom", "e")]


def test_each_message_comes_once_however_many_subscriptions_fit() -> None:
    world = World()
    connection, peer = world.connect(V2_JSON)
    for name in ("news", "news*", "*", "*s"):
        world.hub.subscribe(connection, name)
    world.publish("e", "news")
    world.settle()
    assert heard(peer) == [("news", "e")]


def test_a_pattern_is_neither_a_channel_nor_occupied() -> None:
    world = World()
    connection, _ = world.connect(V2_JSON)
    world.hub.subscribe(connection, "news*")
    assert world.app.occupied() == {}
    world.hub.unsubscribe(connection, "news*")
    assert not world.app.patterns


def test_the_sender_is_left_out_of_patterns_too() -> None:
    world = World()
    connection, peer = world.connect(V2_JSON)
    world.hub.subscribe(connection, "*")
    world.publish("e", "news", connection)
    world.settle()
    assert heard(peer) == []


def predicate(*events: str) -> Predicate:
    found = compile_filter({"filter": {"events": list(events)}}, OPTIONS)
    assert found is not None
    return found


def test_one_accepting_subscription_is_enough() -> None:
    world = World()
    connection, peer = world.connect(V2_JSON)
    world.hub.subscribe(connection, "news", Wants(predicate("a")))
    world.hub.subscribe(connection, "news*", Wants(predicate("b")))
    for name in "abc":
        world.publish(name, "news")
    world.settle()
    assert heard(peer) == [("news", "a"), ("news", "b")]


def test_filters_on_one_channel_do_not_disturb_each_other() -> None:
    world = World()
    (one, one_peer), (two, two_peer), (three, three_peer) = (world.connect(V2_JSON) for _ in range(3))
    world.hub.subscribe(one, "news", Wants(predicate("a")))
    world.hub.subscribe(two, "news", Wants(predicate("b", "a")))
    world.hub.subscribe(three, "news")
    for name in "abc":
        world.publish(name, "news")
    world.settle()
    assert [len(heard(peer)) for peer in (one_peer, two_peer, three_peer)] == [1, 2, 3]
    assert world.app.channels["news"].subscription_count == 3


def test_subscribing_again_replaces_the_filter_from_then_on() -> None:
    world = World()
    connection, peer = world.connect(V2_JSON)
    world.hub.subscribe(connection, "news", Wants(predicate("a")))
    world.publish("a", "news")
    world.publish("b", "news")
    world.hub.subscribe(connection, "news", Wants(predicate("b")))
    world.publish("a", "news")
    world.publish("b", "news")
    world.hub.subscribe(connection, "news")
    world.publish("c", "news")
    world.settle()
    assert [event for _, event in heard(peer)] == ["a", "b", "c"]
    assert world.app.channels["news"].subscription_count == 1


class TestMetachannels:
    def test_comings_and_goings(self) -> None:
        world = World()
        watcher, peer = world.connect(V2_JSON)
        world.hub.subscribe(watcher, "[meta]news")
        one, two = (world.connect()[0] for _ in range(2))
        world.hub.subscribe(one, "news")
        world.hub.subscribe(two, "news")
        world.hub.unsubscribe(one, "news")
        world.hub.disconnect(two)
        world.settle()
        events = peer.frames()
        assert {frame["channel"] for frame in events} == {"[meta]news"}
        assert [(str(frame["event"]).partition(":")[2], frame["data"]) for frame in events] == [
            ("channel_occupied", {"channel": "news", "subscription_count": 1}),
            ("subscription_count", {"channel": "news", "subscription_count": 1}),
            ("subscription_count", {"channel": "news", "subscription_count": 2}),
            ("subscription_count", {"channel": "news", "subscription_count": 1}),
            ("channel_vacated", {"channel": "news", "subscription_count": 0}),
        ]

    def test_members(self) -> None:
        world = World()
        watcher, peer = world.connect(V2_JSON)
        world.hub.subscribe(watcher, "[meta]presence-a")
        member, _ = world.connect()
        world.hub.join(member, "presence-a", "ana", b"{}")
        world.hub.unsubscribe(member, "presence-a")
        world.settle()
        about = [(str(frame["event"]).partition(":")[2], frame["data"]) for frame in peer.frames()]
        assert ("member_added", {"channel": "presence-a", "user_id": "ana"}) in about
        assert ("member_removed", {"channel": "presence-a", "user_id": "ana"}) in about

    def test_nobody_watches_the_watchers(self) -> None:
        world = World()
        watcher, _ = world.connect(V2_JSON)
        world.hub.subscribe(watcher, "[meta]news")
        assert world.app.occupied() == {}
        frame = Frame("e", "[meta]news", "{}")
        world.hub.publish(world.app, frame)
        assert world.settle() == 0


def test_all_filters_of_a_message_share_its_work_by_whatever_subscription_it_is_heard() -> None:
    world = World(HubOptions(filter_work=14))
    (one, one_peer), (two, two_peer) = (world.connect(V2_JSON) for _ in range(2))
    for connection, name in ((one, "news"), (two, "n*")):
        found = compile_filter({"filter": {"expression": f"event == 'e' && channel != '{name}-'"}}, OPTIONS)
        world.hub.subscribe(connection, name, Wants(found))
    for _ in range(2):
        world.publish("e", "news")
    world.settle()
    assert [len(heard(peer)) for peer in (one_peer, two_peer)] == [2, 0]
    assert world.app.traffic.predicate_errors == {"message_budget": 2}
    world.hub.options = HubOptions(filter_work=100)
    world.publish("e", "news")
    world.settle()
    assert [len(heard(peer)) for peer in (one_peer, two_peer)] == [1, 1]
