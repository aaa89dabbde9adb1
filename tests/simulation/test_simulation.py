"""Random lives of a cluster, from printed seeds: rules that hold at each step, and the truth that is left at rest."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from simulation.cluster import ROOMS, USERS, BrokenRuleError, Cluster, SimNode
from support.virtual_time import run_in_virtual_time

SEEDS = int(os.environ.get("SOCKUDO_SIMULATIONS", "400"))
FIRST = int(os.environ.get("SOCKUDO_FIRST_SEED", "0"))
_CHUNK = 20

Step = Callable[[Cluster, random.Random], Awaitable[str]]


async def connect(cluster: Cluster, rng: random.Random) -> str:
    node = rng.choice(cluster.living)
    return f"connect {cluster.connect(node, rng.choice(USERS), rng.choice(ROOMS))}"


async def close(cluster: Cluster, rng: random.Random) -> str:
    if not cluster.clients:
        return "nothing"
    client = rng.choice(cluster.clients)
    client.read()
    client.close()
    return f"close {client}"


async def publish(cluster: Cluster, rng: random.Random) -> str:
    room = rng.choice(ROOMS)
    # Mostly at one node, which asks the others whether they want it.
    node = rng.choice((cluster.living[ROOMS.index(room) % len(cluster.living)], rng.choice(cluster.living)))
    times = rng.choice((1, 9))
    for _ in range(times):
        cluster.publish(node, room)
    return f"publish {times} at {node.name} in {room}"


async def start(cluster: Cluster, _rng: random.Random) -> str:
    if len(cluster.living) >= 5:
        return "nothing"
    return f"start {(await cluster.add()).name}"


async def leave(cluster: Cluster, rng: random.Random) -> str:
    if len(cluster.living) < 2:
        return "nothing"
    node = rng.choice(cluster.living)
    cluster.read()
    await node.leave()
    return f"leave {node.name}"


async def leave_together(cluster: Cluster, rng: random.Random) -> str:
    if len(cluster.living) < 3:
        return "nothing"
    nodes = rng.sample(cluster.living, 2)
    cluster.read()
    await asyncio.gather(*(node.leave() for node in nodes))
    return f"leave {[node.name for node in nodes]}"


async def roll(cluster: Cluster, rng: random.Random) -> str:
    if len(cluster.living) < 2:
        return "nothing"
    node = rng.choice(cluster.living)
    cluster.read()
    await node.roll()
    return f"roll {node.name}"


async def kill(cluster: Cluster, rng: random.Random) -> str:
    if len(cluster.living) < 2:
        return "nothing"
    node = rng.choice(cluster.living)
    await node.kill()
    return f"kill {node.name}"


async def lose_one(cluster: Cluster, rng: random.Random) -> str:
    """All others have seen the change before."""
    await cluster.wait(15)
    return await rng.choice((leave, roll, kill))(cluster, rng)


def _victim(cluster: Cluster, rng: random.Random) -> SimNode:
    return rng.choice(cluster.living)


async def cut(cluster: Cluster, rng: random.Random) -> str:
    node, ways = _victim(cluster, rng), rng.choice(("in", "out", "both"))
    node.carrier.cut_in = node.carrier.cut_in or ways != "out"
    node.carrier.cut_out = node.carrier.cut_out or ways != "in"
    return f"cut {ways} {node.name}"


async def split(cluster: Cluster, rng: random.Random) -> str:
    half = rng.sample(cluster.living, len(cluster.living) // 2)
    cluster.broker.split = {node.carrier for node in half}
    return f"split {[node.name for node in half]}"


async def stop(cluster: Cluster, rng: random.Random) -> str:
    node = _victim(cluster, rng)
    node.carrier.stop()
    return f"stop {node.name}"


async def heal(cluster: Cluster, _rng: random.Random) -> str:
    cluster.heal()
    return "heal"


async def restart(cluster: Cluster, _rng: random.Random) -> str:
    cluster.broker.restart()
    return "restart the broker"


async def trouble(cluster: Cluster, rng: random.Random) -> str:
    cluster.broker.lost, cluster.broker.repeated = rng.choice((0, 0.02, 0.05)), rng.choice((0, 0.05))
    cluster.broker.slowest = rng.choice((0.02, 0.4))
    return f"lose {cluster.broker.lost}, repeat {cluster.broker.repeated}, delay {cluster.broker.slowest}"


CALM: tuple[tuple[Step, int], ...] = ((connect, 8), (close, 5), (publish, 6), (start, 1))
EASY = (*CALM, (leave, 1), (leave_together, 1), (roll, 1), (kill, 1))
CALM_LOSSES = (*CALM, (lose_one, 2))
WILD = (*CALM, (leave, 1), (roll, 1), (kill, 1), (cut, 1), (split, 1), (stop, 1), (heal, 2), (restart, 1), (trouble, 1))


async def live(seed: int, steps: tuple[tuple[Step, int], ...], number: int) -> Cluster:
    """A life of a cluster; what broke is raised with its story."""
    cluster = Cluster(seed, sound=steps is CALM)
    rng = cluster.rng
    try:
        for _ in range(rng.randint(2, 4)):
            await cluster.add()
        chosen, weights = zip(*steps, strict=True)
        for _ in range(number):
            [step] = rng.choices(chosen, weights)
            at = asyncio.get_running_loop().time()
            cluster.story.append(f"{at:8.3f} {await step(cluster, rng)}")
            await cluster.wait(rng.choice((0, 0.003, 0.05, 0.5, 3.0, rng.uniform(0, 12 if steps is WILD else 1))))
        cluster.heal()
        cluster.story.append("at rest")
        await cluster.wait(50)
        await cluster.check_at_rest()
        for node in cluster.living:
            await node.end()
    except BrokenRuleError as problem:
        raise AssertionError(f"seed {seed}: {problem}\n" + "\n".join(cluster.story)) from None
    return cluster


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, _CHUNK))
def test_whatever_happens_the_truth_is_left(first: int) -> None:
    for seed in range(first, min(first + _CHUNK, FIRST + SEEDS)):
        run_in_virtual_time(live(seed, WILD, 40))


def _check_each_stay(seed: int, cluster: Cluster) -> None:
    for (room, user), kinds in cluster.reports.items():
        if room in cluster.unproven:
            continue
        repeated = [kind for kind, after in pairwise(kinds) if kind == after]
        assert kinds[0] == ("member_added" if user else "occupied"), f"seed {seed}: {user} in {room}: {kinds}"
        assert not repeated, f"seed {seed}: {user} in {room}: {kinds}"


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS // 4, _CHUNK))
def test_each_stay_is_reported_once_while_nodes_come_and_go(first: int) -> None:
    for seed in range(first, min(first + _CHUNK, FIRST + SEEDS // 4)):
        _check_each_stay(seed, run_in_virtual_time(live(seed, EASY, 40)))


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS // 4, _CHUNK))
def test_no_report_is_lost_with_one_node_at_a_time(first: int) -> None:
    for seed in range(first, min(first + _CHUNK, FIRST + SEEDS // 4)):
        cluster = run_in_virtual_time(live(seed, CALM_LOSSES, 40))
        assert not cluster.unproven, f"seed {seed}"
        _check_each_stay(seed, cluster)


async def deploy(seed: int) -> Cluster:
    """Every node is replaced, one after the other, and all clients come back within the time that members are kept."""
    cluster = Cluster(seed)
    cluster.returning = 1.0
    rng = cluster.rng
    for _ in range(3):
        await cluster.add()
    for user in USERS:
        for room in ROOMS:
            cluster.connect(rng.choice(cluster.living), user, room)
    await cluster.wait(10)
    for node in tuple(cluster.nodes):
        await cluster.add()
        await cluster.wait(rng.uniform(0, 10))
        for client in cluster.clients:
            client.told.clear()
        await node.roll()
        await cluster.wait(rng.uniform(1, 10))
        told = {str(client): client.told for client in cluster.clients if client.told}
        assert not told, f"seed {seed}: {node.name} was replaced: {told}"
    await cluster.wait(40)
    await cluster.check_at_rest()
    for node in cluster.living:
        await node.end()
    return cluster


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS // 8, _CHUNK))
def test_nobody_seems_to_leave_while_nodes_are_replaced(first: int) -> None:
    for seed in range(first, min(first + _CHUNK, FIRST + SEEDS // 8)):
        cluster = run_in_virtual_time(deploy(seed))
        of_members = {tuple(kinds) for (room, _), kinds in cluster.reports.items() if room.startswith("presence-")}
        assert of_members == {("member_added",), ("occupied",)}, f"seed {seed}"
