"""Processes of a fleet are killed at random: who was lost leaves once, and the truth is left."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import pytest

from chaos.fleet import BROKERS, QUICK, Fleet, fleet_of, seeded, show
from chaos.traffic import Traffic
from support.waiting import until

KILLS = int(os.environ.get("SOCKUDO_NODE_KILLS", "2"))

SLACK = 3.0
"""For the machine, and for what watches."""
VACATED_WITHIN = 60.0
"""Deliveries that the killed process had begun are tried again when their claim has run out."""


@pytest.mark.timeout(120 + 30 * KILLS)
@pytest.mark.parametrize("kind", [*BROKERS, "workers"])
async def test_who_was_lost_leaves_once_and_the_truth_is_left(kind: str) -> None:
    async with fleet_of(kind, seeded(), lease=QUICK) as fleet, Traffic(fleet) as traffic:
        took = [await one_kill(fleet, traffic) for _ in range(KILLS)]
        right, vacated = (max(seconds) for seconds in zip(*took, strict=True))
        show(f"{KILLS} kills, members were right after {right:.2f} s at the latest, webhooks after {vacated:.2f} s")
        await traffic.goes_on(10)
        await traffic.end()
        await traffic.check_durable()
        traffic.check_buffered(whole=False)
        traffic.check_members(ordered=False)


async def one_kill(fleet: Fleet, traffic: Traffic) -> tuple[float, float]:
    """Kills one process and starts another; how long it took until members were right and webhooks had come."""
    await until(
        lambda: all(reports(fleet, "channel_occupied")[m.own] > vacations(fleet)[m.own] for m in traffic.members),
        "every channel to be reported as occupied",
    )
    for member in traffic.members:
        member.gives_up = fleet.rng.random() < 0.5
    watched = {member: (len(member.heard), member.added.copy(), member.removed.copy()) for member in traffic.members}
    vacated = vacations(fleet)
    now = asyncio.get_running_loop().time
    began = now()
    await fleet.kill()
    await asyncio.sleep(0.3)
    await traffic.is_true(fleet.lease.timeout + SLACK)
    took = now() - began
    lost = [member for member in traffic.members if member.stays_away]
    users = {member.user for member in traffic.members if not member.stays_away}
    gone = {member.user for member in lost} - users
    for watcher, (visits, added, removed) in watched.items():
        if watcher.here and len(watcher.heard) == visits:
            left, came = watcher.removed - removed, watcher.added - added
            assert {user: left[user] for user in gone} == dict.fromkeys(gone, 1), f"{watcher.name} heard {left}"
            assert {user: left[user] - came[user] for user in users} == dict.fromkeys(users, 0)
            assert max((left[user] for user in users), default=0) <= 1
    empty = Counter(member.own for member in lost)
    await until(
        lambda: all((vacations(fleet) - vacated)[name] for name in empty),
        f"{sorted(empty)} to be reported as vacated",
        seconds=VACATED_WITHIN,
    )
    reported = now() - began
    for member in traffic.members:
        member.gives_up = member.stays_away = False
    await fleet.restore()
    await traffic.is_true()
    repeated = {name: times for name, times in (vacations(fleet) - vacated).items() if times > 1 and name in empty}
    assert repeated == {}
    return took, reported


def vacations(fleet: Fleet) -> Counter[str]:
    return reports(fleet, "channel_vacated")


def reports(fleet: Fleet, name: str) -> Counter[str]:
    """How often this was reported of each channel; a delivery that was tried again counts once."""
    deliveries = {request.delivery: request.events for request in fleet.hooks.requests}
    events = [event for events in deliveries.values() for event in events]
    return Counter(event["channel"] for event in events if event["name"] == name)
