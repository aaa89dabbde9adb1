"""Who keeps a record of members is told of each coming, change and going, with its cause and in order."""

from __future__ import annotations

import pytest

from sockudo.hub import Connection, HubOptions, MemberEvent
from sockudo.hub.events import MemberChanged
from sockudo.hub.presence import Cause
from support.world import World

ROOM = "presence-room"


@pytest.fixture
def seen() -> list[MemberEvent]:
    return []


@pytest.fixture
def world(seen: list[MemberEvent]) -> World:
    return observed(World(), seen)


def observed(world: World, seen: list[MemberEvent]) -> World:
    def note(changed: MemberChanged) -> None:
        channel, event = changed
        assert channel.name == ROOM
        assert channel.app is world.app
        seen.append(event)

    world.hub.observers.add(MemberChanged, note)
    return world


def join(world: World, user_id: str = "ana", info: bytes = b"{}") -> Connection:
    connection, _ = world.connect()
    world.hub.join(connection, ROOM, user_id, info)
    return connection


def test_coming_changing_and_going_on_one_socket(world: World, seen: list[MemberEvent]) -> None:
    connection = join(world, info=b'{"n":1}')
    world.hub.update_member(connection, world.app.channels[ROOM], b'{"n":2}')
    world.hub.unsubscribe(connection, ROOM)
    world.hub.join(connection, ROOM, "ana", b'{"n":3}')
    assert seen == [
        MemberEvent("member_added", "join", "ana", connection.socket_id, b'{"n":1}'),
        MemberEvent("member_updated", "join", "ana", connection.socket_id, b'{"n":2}'),
        MemberEvent("member_removed", "disconnect", "ana", connection.socket_id),
        MemberEvent("member_added", "join", "ana", connection.socket_id, b'{"n":3}'),
    ]


def test_a_second_socket_comes_and_goes_unnoticed_and_the_last_one_is_named(
    world: World, seen: list[MemberEvent]
) -> None:
    first, second = join(world), join(world)
    world.hub.disconnect(first)
    world.hub.disconnect(second)
    assert [(event.kind, event.socket_id) for event in seen] == [
        ("member_added", first.socket_id),
        ("member_removed", second.socket_id),
    ]


@pytest.mark.parametrize(("forced", "cause"), [(False, "disconnect"), (True, "forced_disconnect")])
def test_who_wanted_a_connection_to_end(world: World, seen: list[MemberEvent], forced: bool, cause: Cause) -> None:
    connection = join(world)
    world.hub.disconnect(connection, forced=forced)
    assert seen[1:] == [MemberEvent("member_removed", cause, "ana", connection.socket_id)]


@pytest.mark.parametrize(("forced", "cause"), [(False, "timeout"), (True, "forced_disconnect")])
def test_a_grace_period_that_runs_out_names_no_connection(seen: list[MemberEvent], forced: bool, cause: Cause) -> None:
    world = observed(World(HubOptions(presence_grace=15)), seen)
    world.hub.disconnect(join(world), held_until=world.time + 15, forced=forced)
    world.hub.tick(world.time + 14)
    assert len(seen) == 1
    world.hub.tick(world.time + 15)
    assert seen[1:] == [MemberEvent("member_removed", cause, "ana")]


def test_a_rejoin_within_the_grace_period_is_nothing_new(seen: list[MemberEvent]) -> None:
    world = observed(World(HubOptions(presence_grace=15)), seen)
    world.hub.disconnect(join(world), held_until=world.time + 15)
    again = join(world)
    world.hub.tick(world.time + 15)
    world.hub.disconnect(again)
    assert [event.kind for event in seen] == ["member_added", "member_removed"]
    assert seen[1].cause == "disconnect"


def test_nothing_of_other_channels(world: World, seen: list[MemberEvent]) -> None:
    [(connection, _)] = world.subscribers(1)
    world.hub.disconnect(connection)
    assert seen == []
