"""A process of a fleet stands still for longer than its lease: it is held dead, and comes back without its past."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from chaos.fleet import BROKERS, BUFFERED, DURABLE, PLAIN, Nodes, Workers, fleet_of, seeded, show
from chaos.traffic import Traffic
from support.waiting import until

PAUSE = float(os.environ.get("SOCKUDO_PAUSE", "4"))
"""Seconds for which the process stands still, more than the lease."""

SLACK = 2.0
"""For the machine, and for what watches."""


@pytest.mark.timeout(120 + PAUSE)
@pytest.mark.parametrize("kind", BROKERS)
async def test_a_paused_node_is_held_dead_and_rejoins_without_those_who_left(kind: str) -> None:
    async with fleet_of(kind, seeded()) as fleet, Traffic(fleet) as traffic:
        assert isinstance(fleet, Nodes)
        paused, other = fleet.rng.sample(fleet.servers, 2)
        watcher = traffic.add_member(other.url, "watcher")
        staying, leaving = (traffic.add_member(paused.url, name) for name in ("staying", "leaving"))
        sleepers = {member.name for member in (staying, leaving)}
        await until(lambda: watcher.here and sleepers <= watcher.users, "the sleepers to be seen")
        came = watcher.added.copy()
        await traffic.goes_on(10)
        now = asyncio.get_running_loop().time
        began = now()
        paused.send_signal(signal.SIGSTOP)
        # What waits in its sockets is taken when it wakes.
        for app in (DURABLE, BUFFERED, PLAIN):
            traffic.add_publisher(paused, app, f"asleep-{app.id}")
        leaving.break_off()
        await until(lambda: not sleepers & watcher.users, "the sleepers to leave", seconds=fleet.lease.timeout + SLACK)
        left = now() - began
        await asyncio.sleep(max(0.0, PAUSE - left))
        paused.send_signal(signal.SIGCONT)
        woken = now()
        await fleet.is_whole()
        ready = now() - woken
        await traffic.is_true()
        show(f"left after {left:.2f} s, ready again after {ready:.2f} s, true after {now() - woken:.2f} s")
        assert [watcher.removed[name] for name in ("staying", "leaving")] == [1, 1]
        came_back = watcher.added - came
        assert (came_back["staying"], came_back["leaving"]) == (1, 0)
        await traffic.goes_on(10)
        await traffic.end()
        await traffic.check_durable()
        traffic.check_buffered(whole=False)
        traffic.check_members(ordered=False)


async def test_a_paused_worker_is_replaced() -> None:
    async with fleet_of("workers", seeded()) as fleet, Traffic(fleet) as traffic:
        assert isinstance(fleet, Workers)
        await traffic.goes_on(10)
        fleet.send_one(signal.SIGSTOP)
        await fleet.restore()
        await traffic.is_true()
        await traffic.goes_on(10)
        await traffic.end()
        await traffic.check_durable()
        traffic.check_buffered(whole=False)
        traffic.check_members(ordered=False)
