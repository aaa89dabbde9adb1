from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from sockudo.cluster.in_process import InProcessMembership, Network
from sockudo.cluster.items import channel_topic
from sockudo.cluster.ports import Node as NodeName
from sockudo.cluster.ports import Received
from sockudo.publishing.roster_items import EntriesChanged, EntriesOf
from sockudo.publishing.topics import Place
from support.inside import Client, Node, live_app

APP = live_app()
ROOM = "presence-room"


def join(node: Node, user_id: str, info: Any = None) -> Client:
    client = node.connect()
    client.subscribe(ROOM, {"user_id": user_id, "user_info": info})
    return client


def leave(client: Client) -> None:
    client.send("pusher:unsubscribe", {"channel": ROOM})


async def settle(*nodes: Node) -> None:
    for _ in range(6):
        for node in nodes:
            node.settle()
        await asyncio.sleep(0)


def changes(client: Client) -> list[tuple[str, str]]:
    """What a client was told of members since the last look."""
    told = []
    for frame in client.frames():
        kind = frame["event"].removeprefix("pusher_internal:")
        if kind in {"member_added", "member_removed"}:
            told.append((kind, json.loads(frame["data"])["user_id"]))
    return told


def listed(node: Node) -> dict[str, bytes]:
    presence = node.state.channels[ROOM].presence
    assert presence is not None
    return presence.infos()


def nodes(count: int) -> Sequence[Node]:
    network = Network()
    return [Node(APP, network=network) for _ in range(count)]


async def test_members_come_and_go_for_the_subscribers_of_every_node() -> None:
    a, b = nodes(2)
    ana = join(a, "ana", {"n": 1})
    ben = join(b, "ben")
    await settle(a, b)
    ana.frames(), ben.frames()
    cleo = join(b, "cleo")
    await settle(a, b)
    assert changes(ana) == changes(ben) == [("member_added", "cleo")]
    assert set(listed(a)) == set(listed(b)) == {"ana", "ben", "cleo"}
    assert json.loads(listed(b)["ana"]) == {"n": 1}
    leave(cleo)
    await settle(a, b)
    assert changes(ana) == changes(ben) == [("member_removed", "cleo")]


async def test_a_user_on_two_nodes_comes_once_and_goes_with_the_last_connection() -> None:
    a, b = nodes(2)
    watcher = join(a, "watcher")
    first, second = join(a, "ana"), join(b, "ana")
    await settle(a, b)
    assert changes(watcher) == [("member_added", "ana")]
    leave(first)
    await settle(a, b)
    assert changes(watcher) == []
    leave(second)
    await settle(a, b)
    assert changes(watcher) == [("member_removed", "ana")]
    assert set(listed(a)) == {"watcher"}


async def test_a_first_subscriber_learns_of_the_members_elsewhere() -> None:
    a, b = nodes(2)
    for user in ("ana", "ben"):
        join(a, user)
    late = join(b, "late")
    await settle(a, b)
    assert set(listed(b)) == {"ana", "ben", "late"}
    frames = late.frames()
    subscribed = json.loads(next(f["data"] for f in frames if f["event"] == "pusher_internal:subscription_succeeded"))
    known = set(subscribed["presence"]["ids"]) | {
        json.loads(frame["data"])["user_id"] for frame in frames if frame["event"] == "pusher_internal:member_added"
    }
    assert known == {"ana", "ben", "late"}


async def test_members_of_a_node_that_went_leave_once_and_those_who_are_elsewhere_stay() -> None:
    a, b, c = nodes(3)
    watcher = join(a, "watcher")
    join(b, "ana"), join(b, "ben"), join(c, "ben")
    await settle(a, b, c)
    changes(watcher)
    assert isinstance(b.membership, InProcessMembership)
    b.membership.leave()
    await settle(a, c)
    assert changes(watcher) == [("member_removed", "ana")]
    assert set(listed(a)) == set(listed(c)) == {"watcher", "ben"}


async def test_nodes_that_join_later_know_each_others_members() -> None:
    network = Network()
    a = Node(APP, network=network)
    ana = join(a, "ana")
    b = Node(APP, network=network)
    ben = join(b, "ben")
    await settle(a, b)
    assert set(listed(a)) == set(listed(b)) == {"ana", "ben"}
    assert changes(ana) == [("member_added", "ben")]
    leave(ana)
    await settle(a, b)
    assert changes(ben)[-1] == ("member_removed", "ana")


async def test_what_members_say_of_themselves_is_known_everywhere() -> None:
    a, b = nodes(2)
    join(b, "watcher")
    member = join(a, "ana", {"n": 1})
    await settle(a, b)
    channel = a.state.channels[ROOM]
    a.hub.update_member(member.session, channel, b'{"n":2}')
    await settle(a, b)
    assert listed(b)["ana"] == b'{"n":2}'


async def test_a_change_that_was_missed_is_made_good() -> None:
    a, b = nodes(2)
    watcher = join(a, "watcher")
    ana = join(b, "ana")
    await settle(a, b)
    changes(watcher)
    # Lost on the way: this node does not listen for a moment.
    a.bus.unsubscribe(channel_topic(APP.id, ROOM))
    leave(ana)
    join(b, "ben")
    await settle(a, b)
    assert changes(watcher) == []
    a.bus.subscribe(channel_topic(APP.id, ROOM))
    join(b, "cleo")
    await settle(a, b)
    assert sorted(changes(watcher)) == [("member_added", "ben"), ("member_added", "cleo"), ("member_removed", "ana")]


async def test_nodes_are_asked_once_the_subscription_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = nodes(2)
    join(b, "ana")
    await settle(a, b)
    confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(a.bus, "subscribe", lambda _: confirmed)
    place = Place(APP.id, ROOM)
    a.rosters.watch(place, "recorder")
    # What changes behind an answer that comes now would not arrive.
    a.rosters.refresh(place, b.membership.me.id)
    await settle(a, b)
    assert not a.rosters.knows(place)
    confirmed.set_result(None)
    await settle(a, b)
    assert a.rosters.knows(place)
    assert a.rosters.is_present(place, "ana")


async def test_what_is_old_or_of_a_stranger_changes_nothing() -> None:
    a, b = nodes(2)
    watcher = join(a, "watcher")
    join(b, "ana")
    await settle(a, b)
    changes(watcher)
    owner = b.membership.me
    old = EntriesChanged(APP.id, ROOM, 0, 0, {"ghost": b"{}"})
    a.router.receive(Received(owner, "", 1, old))
    elsewhere = EntriesChanged("unknown", ROOM, 0, 1, {"ghost": b"{}"})
    a.router.receive(Received(NodeName("f" * 32, 1, ""), "", 1, elsewhere))
    await settle(a, b)
    assert changes(watcher) == []
    assert set(listed(a)) == {"watcher", "ana"}


async def test_subscribers_are_told_of_many_members_over_several_turns() -> None:
    a, b = nodes(2)
    a.entries.members_in_turn = 10
    watcher = join(a, "watcher")
    await settle(a, b)
    changes(watcher)
    owner = NodeName("f" * 32, 1, "")
    came = {f"user-{number}": b"1" for number in range(35)}
    a.router.receive(Received(owner, "", 1, EntriesChanged(APP.id, ROOM, 0, 1, came)))
    assert len(changes(watcher)) == 10
    # What is told next waits behind it.
    gone = EntriesChanged(APP.id, ROOM, 1, 2, {}, {"user-34": "disconnect"})
    a.router.receive(Received(owner, "", 2, gone))
    assert changes(watcher) == []
    told = []
    for _ in range(10):
        await asyncio.sleep(0)
        told.append(changes(watcher))
    assert [len(some) for some in told if some] == [10, 10, 5, 1]
    assert told[3] == [("member_removed", "user-34")]
    assert set(listed(a)) == {"watcher", *came} - {"user-34"}


async def test_a_channel_that_closes_is_told_nothing_more() -> None:
    a, b = nodes(2)
    a.entries.members_in_turn = 10
    watcher = join(a, "watcher")
    await settle(a, b)
    owner = NodeName("f" * 32, 1, "")
    came = {f"user-{number}": b"1" for number in range(35)}
    a.router.receive(Received(owner, "", 1, EntriesChanged(APP.id, ROOM, 0, 1, came)))
    leave(watcher)
    again = join(a, "ana")
    await settle(a, b)
    assert changes(again) == []


async def test_an_answer_has_a_bounded_number_of_entries_but_the_whole_of_one_roster() -> None:
    [a] = nodes(1)
    sizes = [0, 3, 4, 20, 1]
    for place, size in enumerate(sizes):
        for number in range(size):
            a.connect().subscribe(f"presence-{place}", {"user_id": f"user-{number}"})
    places = tuple(Place(APP.id, f"presence-{place}") for place in range(len(sizes)))

    def answered(most: int, *wanted: Place) -> list[int | None]:
        """How many entries of each place come back; None for those that did not fit."""
        states = a.router.answer(EntriesOf(wanted, ((0, 0),) * len(wanted), most))
        return [len(state.entries) if state.incarnation else None for state in states]

    assert answered(5, *places) == [0, 3, 4, None, None]
    assert answered(5, *places[3:]) == [20, None]
    assert answered(0, *places) == sizes


async def test_what_did_not_fit_into_an_answer_is_asked_for_again() -> None:
    network = Network()
    a = Node(APP, network=network)
    for room in range(5):
        for number in range(4):
            a.connect().subscribe(f"presence-{room}", {"user_id": f"user-{number}"})
    b = Node(APP, network=network)
    b.rosters.entries_in_answer = 5
    for room in range(5):
        b.connect().subscribe(f"presence-{room}", {"user_id": "watcher"})
    for _ in range(4):
        await settle(a, b)
    for room in range(5):
        presence = b.state.channels[f"presence-{room}"].presence
        assert presence is not None
        assert presence.user_count == 5


async def test_random_comings_and_goings_leave_everyone_with_the_truth() -> None:
    """Every watcher's list, kept from what it is told alone, is the set of users with a connection on any node."""
    for seed in range(40):
        chance = random.Random(seed)
        ground = nodes(3)
        watchers = [join(node, f"watcher-{place}") for place, node in enumerate(ground)]
        await settle(*ground)
        seen = [set(listed(node)) for node in ground]
        for watcher in watchers:
            changes(watcher)
        here: list[tuple[str, Client]] = []
        for _ in range(60):
            if here and chance.random() < 0.45:
                _, client = here.pop(chance.randrange(len(here)))
                leave(client)
            else:
                user = chance.choice("abcde")
                here.append((user, join(chance.choice(ground), user)))
            if chance.random() < 0.5:
                await settle(*ground)
        await settle(*ground)
        expected = {user for user, _ in here} | {f"watcher-{place}" for place in range(3)}
        for watcher, node, members in zip(watchers, ground, seen, strict=True):
            for kind, user in changes(watcher):
                assert (user in members) is (kind == "member_removed"), (seed, kind, user)
                members ^= {user}
            assert members == set(listed(node)) == expected, seed
