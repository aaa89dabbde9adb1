"""Which of several nodes reports, and what the others know when that one is lost or leaves."""

from __future__ import annotations

import asyncio
import random
from itertools import count

import pytest

from sockudo.cluster.in_process import Network
from sockudo.cluster.members import Timing
from sockudo.cluster.network import NetworkBus, join_carrier
from sockudo.cluster.ports import Received
from sockudo.hub.edges import MemberReported
from sockudo.publishing.recorder_items import HandOver, Reported
from sockudo.publishing.topics import Place
from support.carriers import MemoryBroker, MemoryCarrier
from support.inside import Client, Node, live_app
from support.virtual_time import in_virtual_time

APP = live_app()


async def settle(*nodes: Node) -> None:
    for _ in range(8):
        for node in nodes:
            node.settle()
        await asyncio.sleep(0)


async def test_a_recorder_that_knows_the_members_already_waits_for_those_of_the_node_that_names_the_place() -> None:
    network = Network()
    a, b = [Node(APP, network=network) for _ in range(2)]
    reported: list[str] = []
    for node in (a, b):
        node.edges.add(MemberReported, lambda event: reported.append(event.member.user_id))
    await settle(a, b)
    room = next(room for n in count() if a.membership.owner(f"{APP.id}/{(room := f'presence-{n}')}") == a.membership.me)
    place = Place(APP.id, room)
    a.rosters.watch(place, "prepared")
    await settle(a, b)
    assert a.rosters.knows(place)
    # The change of the members comes by another topic than the name of the place, and may be behind it.
    a.bus.unsubscribe(place.topic)
    b.connect().subscribe(room, {"user_id": "ben"})
    await settle(a, b)
    assert reported == ["ben"]


class Cluster:
    """Nodes on one carrier that come and go, and what they report, in virtual time."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.nodes: list[Node] = []
        self.reported: list[tuple[str, str, str]] = []
        self.ana: Client
        self._rng = random.Random(1)
        self._carriers: dict[str, MemoryCarrier] = {}
        self._buses: dict[str, NetworkBus] = {}

    async def add(self) -> Node:
        carrier, node_id = self.broker.carrier(), self._rng.randbytes(16).hex()
        bus = join_carrier(carrier, "", Timing(), asyncio.get_running_loop().time, node_id=node_id)
        node = Node(APP, bus=bus)
        self._carriers[node_id], self._buses[node_id] = carrier, bus
        node.edges.add(
            MemberReported, lambda event: self.reported.append((node_id, event.member.kind, event.member.user_id))
        )
        self.nodes.append(node)
        await bus.open()
        return node

    def kill(self, node: Node) -> None:
        """From now on nothing of it arrives, and nothing arrives there."""
        carrier = self._carriers[node.membership.me.id]
        carrier.mute = True
        for topic in tuple(self._buses[node.membership.me.id].topics):
            carrier.unsubscribe(topic)
        self.nodes.remove(node)

    async def leave(self, node: Node) -> None:
        await node.recorders.hand_over(2.0)
        await self._buses[node.membership.me.id].close()
        await node.recorders.close()
        self.nodes.remove(node)

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return [(kind, user) for _, kind, user in self.reported]


def places_of(*nodes: Node) -> str:
    """A presence channel that the first of the nodes records, which the second follows, and so on."""
    for number in count():
        room = f"presence-{number}"
        ranked = nodes[0].membership.ranked(f"{APP.id}/{room}")
        if [node.id for node in ranked[: len(nodes)]] == [node.membership.me.id for node in nodes]:
            return room
    raise AssertionError


async def trio() -> tuple[Cluster, Node, Node, Node, str]:
    """A recorder, its second, another node with ana, and the channel she is in."""
    cluster = Cluster()
    recorder, second, other = [await cluster.add() for _ in range(3)]
    await asyncio.sleep(1)
    room = places_of(recorder, second, other)
    cluster.ana = other.connect()
    cluster.ana.subscribe(room, {"user_id": "ana"})
    await asyncio.sleep(1)
    assert cluster.reported == [(recorder.membership.me.id, "member_added", "ana")]
    return cluster, recorder, second, other, room


@in_virtual_time
async def test_the_second_reports_what_is_left_when_its_recorder_is_lost() -> None:
    cluster, recorder, second, other, room = await trio()
    recorder.connect().subscribe(room, {"user_id": "ben"})
    await asyncio.sleep(1)
    cluster.kill(recorder)
    other.connect().subscribe(room, {"user_id": "cleo"})
    await asyncio.sleep(15)
    assert cluster.reported[1:] == [
        (recorder.membership.me.id, "member_added", "ben"),
        (second.membership.me.id, "member_added", "cleo"),
        (second.membership.me.id, "member_removed", "ben"),
    ]


@in_virtual_time
async def test_a_second_that_leaves_while_its_recorder_is_lost_passes_on_what_was_reported() -> None:
    cluster, recorder, second, _, _ = await trio()
    cluster.kill(recorder)
    await cluster.leave(second)
    await asyncio.sleep(15)
    assert cluster.kinds == [("member_added", "ana")]


@in_virtual_time
async def test_a_second_that_another_node_displaces_keeps_what_it_knows_until_the_recorder_has_confirmed_it() -> None:
    cluster, recorder, second, other, room = await trio()
    place = Place(APP.id, room)
    for _ in range(200):
        # One that is the second now.
        added = await cluster.add()
        await asyncio.sleep(0.5)
        if [node.id for node in other.membership.ranked(f"{APP.id}/{room}")][1] == added.membership.me.id:
            break
        await cluster.leave(added)
        await asyncio.sleep(0.5)
    else:
        pytest.fail("no node came between")
    assert place not in dict(second.recorders.roles())
    assert dict(added.recorders.roles())[place].reported == {"ana": None}
    cluster.kill(recorder)
    await asyncio.sleep(15)
    assert cluster.kinds == [("member_added", "ana")]


@in_virtual_time
async def test_nodes_that_leave_together_pass_on_what_was_reported() -> None:
    cluster, recorder, second, _, _ = await trio()
    await asyncio.gather(cluster.leave(recorder), cluster.leave(second))
    await asyncio.sleep(15)
    assert cluster.kinds == [("member_added", "ana")]


@in_virtual_time
async def test_a_second_that_missed_a_report_asks_for_all() -> None:
    _, recorder, second, _, room = await trio()
    place = Place(APP.id, room)
    of_second, of_recorder = (dict(node.recorders.roles())[place] for node in (second, recorder))
    of_second.reported.clear()
    of_second.seen.clear()
    of_second.seen[recorder.membership.me.id] = 0
    recorder.connect().subscribe(room, {"user_id": "ben"})
    await asyncio.sleep(1)
    assert of_second.reported == of_recorder.reported == {"ana": None, "ben": None}
    assert of_second.seen == of_recorder.seen


@in_virtual_time
async def test_a_channel_that_was_vacated_is_not_vacated_again_for_a_node_that_missed_it() -> None:
    cluster, recorder, second, _, room = await trio()
    place = Place(APP.id, room)
    cluster.ana.session.leave(code=1000)
    await asyncio.sleep(1)
    assert cluster.kinds == [("member_added", "ana"), ("member_removed", "ana")]
    old = Reported(*place, ("ana",), (), 1, True, whole=True, seen={recorder.membership.me.id: 1})
    recorder.router.receive(Received(second.membership.me, "n", 1, old))
    await asyncio.sleep(1)
    assert cluster.kinds == [("member_added", "ana"), ("member_removed", "ana")]


@in_virtual_time
async def test_an_older_node_passes_on_its_reports_without_numbers() -> None:
    cluster, recorder, second, _, room = await trio()
    assert recorder.router.answer(
        HandOver(second.membership.me.id, (Reported(APP.id, room, ("ana", "ben"), (), 2, True, whole=True),))
    )
    await asyncio.sleep(1)
    assert cluster.kinds == [("member_added", "ana"), ("member_removed", "ben")]


@in_virtual_time
async def test_a_node_that_is_not_known_yet_hands_nothing_over() -> None:
    _, recorder, _, _, room = await trio()
    report = Reported(APP.id, room, (), (), 0, False, whole=True, seen={"x": 1})
    assert recorder.router.answer(HandOver("x", (report,))) is False
