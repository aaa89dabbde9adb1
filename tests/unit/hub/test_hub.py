"""Presence, users, counts: what the others are told, and when."""

from __future__ import annotations

import pytest

from sockudo.hub import HubOptions
from sockudo.protocol.frames import Frame
from support.world import World

ROOM = "presence-room"


def names(peer: object) -> list[str]:
    return [event.split(":")[1] for event, _ in peer.events()]  # type: ignore[attr-defined]


def test_the_others_learn_of_a_member_once_whatever_its_number_of_tabs(world: World) -> None:
    watcher, peer = world.connect()
    world.hub.join(watcher, ROOM, "w", b"{}")
    world.settle()
    peer.events()
    tabs = [world.connect()[0] for _ in range(3)]
    for tab in tabs:
        world.hub.join(tab, ROOM, "u", b'{"n":1}')
    world.settle()
    assert names(peer) == ["member_added"]
    for tab in tabs:
        world.hub.disconnect(tab)
    world.settle()
    assert names(peer) == ["member_removed"]


def test_a_joiner_does_not_hear_of_itself(world: World) -> None:
    connection, peer = world.connect()
    world.hub.join(connection, ROOM, "u", b"{}")
    world.settle()
    assert peer.events() == []


def test_member_added_carries_the_info_as_given(world: World) -> None:
    watcher, peer = world.connect()
    world.hub.join(watcher, ROOM, "w", b"{}")
    other, _ = world.connect()
    world.hub.join(other, ROOM, "u", b'{"nick":"\xc3\xa9"}')
    world.settle()
    assert peer.events() == [("pusher_internal:member_added", '{"user_id":"u","user_info":{"nick":"é"}}')]


def test_a_lost_connection_that_comes_back_in_its_grace_period_was_never_away() -> None:
    world = World(HubOptions(presence_grace=15))
    watcher, peer = world.connect()
    world.hub.join(watcher, ROOM, "w", b"{}")
    first, _ = world.connect()
    world.hub.join(first, ROOM, "u", b"{}")
    world.settle()
    peer.events()
    world.hub.disconnect(first, held_until=world.time + 15)
    again, _ = world.connect()
    world.hub.join(again, ROOM, "u", b"{}")
    world.hub.tick(world.time + 16)
    world.settle()
    assert peer.events() == []


def test_a_lost_connection_that_stays_away_is_removed_when_its_grace_period_ends() -> None:
    world = World(HubOptions(presence_grace=15))
    watcher, peer = world.connect()
    world.hub.join(watcher, ROOM, "w", b"{}")
    lost, _ = world.connect()
    world.hub.join(lost, ROOM, "u", b"{}")
    world.settle()
    peer.events()
    world.hub.disconnect(lost, held_until=world.time + 15)
    world.hub.tick(world.time + 14)
    world.settle()
    assert peer.events() == []
    assert "u" in world.app.channels[ROOM].presence
    world.hub.tick(world.time + 15)
    world.settle()
    assert names(peer) == ["member_removed"]


@pytest.mark.parametrize("ends", [(5, 6, 7), (5, 5, 5)], ids=["one after the other", "at the same time"])
def test_places_held_run_out_in_their_order_even_in_one_round(ends: tuple[int, int, int]) -> None:
    world = World(HubOptions(presence_grace=15))
    watcher, peer = world.connect()
    world.hub.join(watcher, ROOM, "w", b"{}")
    for user, seconds in zip(("twice", "once", "twice"), ends, strict=True):
        lost, _ = world.connect()
        world.hub.join(lost, ROOM, user, b"{}")
        world.hub.disconnect(lost, held_until=world.time + seconds)
    world.settle()
    peer.events()
    world.hub.tick(world.time + 20)
    world.settle()
    assert [data for _, data in peer.events()] == ['{"user_id":"once"}', '{"user_id":"twice"}']


def test_a_channel_that_only_holds_a_member_is_forgotten_with_it() -> None:
    world = World(HubOptions(presence_grace=15))
    lost, _ = world.connect()
    world.hub.join(lost, ROOM, "u", b"{}")
    world.hub.disconnect(lost, held_until=world.time + 15)
    assert ROOM in world.app.channels
    assert world.app.occupied() == {}
    world.hub.tick(world.time + 15)
    assert world.app.channels == {}


def test_nothing_is_left_of_a_connection(world: World) -> None:
    for index in range(20):
        connection, _ = world.connect()
        world.hub.subscribe(connection, "news")
        world.hub.subscribe(connection, f"own-{index}")
        world.hub.join(connection, ROOM, f"u{index % 3}", b"{}")
        world.app.users.sign_in(connection, f"u{index % 3}", b"{}", ("u0", "other"))
    for connection in list(world.app.connections.values()):
        world.hub.disconnect(connection)
        world.hub.disconnect(connection)
    world.settle()
    assert world.app.connections == {}
    assert world.app.channels == {}
    assert len(world.app.users) == 0
    assert world.app.users._watchers == {}
    assert world.app.traffic.connections_closed == 20


class TestUsers:
    def test_a_watchlist_is_answered_with_who_is_on_and_off(self, world: World) -> None:
        online, _ = world.connect()
        world.app.users.sign_in(online, "on", b"{}", ())
        watcher, peer = world.connect()
        world.app.users.sign_in(watcher, "w", b"{}", ("on", "off"))
        [frame] = peer.frames()
        assert frame["event"] == "pusher_internal:watchlist_events"
        assert frame["data"] == {
            "events": [{"name": "online", "user_ids": ["on"]}, {"name": "offline", "user_ids": ["off"]}]
        }

    def test_watchers_hear_of_the_first_and_the_last_connection_only(self, world: World) -> None:
        watcher, peer = world.connect()
        world.app.users.sign_in(watcher, "w", b"{}", ("u",))
        peer.frames()
        first, second = world.connect()[0], world.connect()[0]
        world.app.users.sign_in(first, "u", b"{}", ())
        world.app.users.sign_in(second, "u", b"{}", ())
        world.hub.disconnect(first)
        world.hub.disconnect(second)
        told = [frame["data"]["events"][0]["name"] for frame in peer.frames()]  # type: ignore[index]
        assert told == ["online", "offline"]

    def test_signing_in_as_another_moves_the_connection(self, world: World) -> None:
        connection, _ = world.connect()
        world.app.users.sign_in(connection, "a", b"{}", ())
        world.app.users.sign_in(connection, "b", b"{}", ())
        assert world.app.users.connections("a") == ()
        assert world.app.users.connections("b") == (connection,)

    def test_an_event_for_a_user_reaches_its_connections_but_the_excluded(self, world: World) -> None:
        one, one_peer = world.connect()
        two, two_peer = world.connect()
        for connection in (one, two):
            world.app.users.sign_in(connection, "u", b"{}", ())
        world.hub.publish_to_user(world.app, "u", Frame("hello", "#server-to-user-u", "{}"), two.socket_id)
        assert [event for event, _ in one_peer.events()] == ["hello"]
        assert two_peer.events() == []

    def test_a_users_connections_are_the_signed_in_and_the_present(self, world: World) -> None:
        signed_in, _ = world.connect()
        world.app.users.sign_in(signed_in, "u", b"{}", ())
        present, _ = world.connect()
        world.hub.join(present, ROOM, "u", b"{}")
        other, _ = world.connect()
        world.app.users.sign_in(other, "someone else", b"{}", ())
        world.hub.join(other, ROOM, "u", b"{}")
        assert world.app.connections_of("u") == {signed_in, present}


class TestSubscriptionCount:
    @pytest.fixture(autouse=True)
    def _opt_in(self, world: World) -> None:
        world.app.subscription_counts = True

    def test_a_turns_changes_are_told_once(self, world: World) -> None:
        pairs = world.subscribers(3)
        world.settle()
        for _, peer in pairs:
            assert peer.events() == [("pusher_internal:subscription_count", '{"subscription_count":3}')]

    def test_a_large_channel_is_told_once_a_second(self, world: World) -> None:
        pairs = world.subscribers(150)
        world.settle()
        for _, peer in pairs:
            peer.writes.clear()
        world.subscribers(1)
        world.settle()
        assert pairs[0][1].events() == []
        world.hub.tick(world.time)
        world.settle()
        assert pairs[0][1].events() == [("pusher_internal:subscription_count", '{"subscription_count":151}')]
