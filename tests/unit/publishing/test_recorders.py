from __future__ import annotations

import asyncio
from itertools import count

from sockudo.cluster.in_process import Network
from sockudo.hub.edges import MemberReported
from sockudo.publishing.topics import Place
from support.inside import Node, live_app

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
