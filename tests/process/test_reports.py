"""What comes and goes on joined servers is reported once to the endpoints of an app, whichever server is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sockudo.hub.edges import ChannelCounted, ChannelOccupied, ChannelVacated, MemberReported, UserReported
from support.joined import FEATURES, Pair, pair_of

KINDS: dict[type, str] = {
    ChannelOccupied: "occupied",
    ChannelVacated: "vacated",
    MemberReported: "member",
    UserReported: "user",
}


class Reports:
    """What the servers of a pair report, all together."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.seen: list[tuple[str, ...]] = []
        self.counts: list[int] = []
        for server in pair.servers:
            edges = server.services.edges
            for kind in KINDS:
                edges.add(kind, self._note)
            edges.add(ChannelCounted, lambda event: self.counts.append(event.subscriptions))

    def _note(self, event: Any) -> None:
        match event:
            case MemberReported():
                self.seen.append((event.member.kind, event.channel, event.member.user_id))
            case UserReported():
                self.seen.append(("online" if event.online else "offline", event.user_id))
            case _:
                self.seen.append((KINDS[type(event)], event.channel))

    async def until(self, *expected: tuple[str, ...]) -> None:
        """Waits until exactly these were reported, in any order, and a moment for what should not be."""
        for _ in range(1000):
            if len(self.seen) >= len(expected):
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        assert Counter(self.seen) == Counter(expected)
        self.seen.clear()


@pytest.fixture(params=["in-process", "carrier"])
async def reports(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Reports]:
    hook = {"url": "http://127.0.0.1:9/none", "event_types": ["member_added"]}
    policy = {"features": FEATURES, "webhooks": [hook]}
    apps = [{"id": "app", "key": "key", "secret": "secret", "enabled": True, "policy": policy}]
    config: dict[str, object] = {
        "app_manager": {"array": {"apps": apps}},
        "queue": {"driver": "memory"},
        "presence": {"ungraceful_timeout_seconds": 0},
    }
    async with pair_of(tmp_path, config, shared=False, joined=request.param) as pair:
        yield Reports(pair)


@pytest.mark.parametrize("room", [f"room-{number}" for number in range(4)])
async def test_a_channel_is_occupied_and_vacated_once(reports: Reports, room: str) -> None:
    one, two = await reports.pair.client(0), await reports.pair.client(1)
    await one.subscribe(room)
    await two.subscribe(room)
    await reports.until(("occupied", room))
    await one.unsubscribe(room)
    await reports.until()
    await two.unsubscribe(room)
    await reports.until(("vacated", room))
    assert (max(reports.counts), reports.counts[-1]) == (2, 0)


async def test_a_user_comes_and_goes_once_whichever_servers_it_is_on(reports: Reports) -> None:
    room = "presence-room"
    clients = [await reports.pair.client(server) for server in (0, 1, 0)]
    await asyncio.gather(*(client.subscribe(room, user_id="ana") for client in clients[:2]))
    await clients[2].subscribe(room, user_id="ben")
    await reports.until(("occupied", room), ("member_added", room, "ana"), ("member_added", room, "ben"))
    await clients[0].unsubscribe(room)
    await reports.until()
    await clients[1].unsubscribe(room)
    await clients[2].unsubscribe(room)
    await reports.until(("vacated", room), ("member_removed", room, "ana"), ("member_removed", room, "ben"))


async def test_a_signed_in_user_is_online_once(reports: Reports) -> None:
    one, two = await reports.pair.client(0), await reports.pair.client(1)
    await one.signin("ana")
    await two.signin("ana")
    await reports.until(("online", "ana"))
    await one.close()
    await reports.until()
    await two.close()
    await reports.until(("offline", "ana"))


@pytest.mark.parametrize("stopped", [0, 1])
async def test_a_server_that_stops_takes_its_members_with_it_once(reports: Reports, stopped: int) -> None:
    rooms = [f"presence-{number}" for number in range(8)]
    for server, user in ((0, "ana"), (1, "ben")):
        for room in rooms:
            await (await reports.pair.client(server)).subscribe(room, user_id=user)
    await reports.until(
        *(("occupied", room) for room in rooms),
        *(("member_added", room, user) for room in rooms for user in ("ana", "ben")),
    )
    await reports.pair.servers[stopped].stop()
    gone = "ben" if stopped else "ana"
    await reports.until(*(("member_removed", room, gone) for room in rooms))
