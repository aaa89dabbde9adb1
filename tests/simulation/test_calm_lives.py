"""Lives without faults, in which nothing may be seen of there being several nodes."""

from __future__ import annotations

import pytest

from simulation.chunks import assert_no_rule_is_broken, chunks
from simulation.cluster import ROOMS, USERS, Cluster
from support.virtual_time import run_in_virtual_time


@pytest.mark.parametrize("seeds", chunks(0.2), ids=lambda seeds: str(seeds[0]))
def test_without_faults_each_stay_is_reported_once(seeds: range) -> None:
    assert_no_rule_is_broken("calm", seeds)


@pytest.mark.parametrize("seeds", chunks(0.05), ids=lambda seeds: str(seeds[0]))
def test_each_stay_is_reported_once_while_nodes_come_and_go(seeds: range) -> None:
    assert_no_rule_is_broken("easy", seeds)


@pytest.mark.parametrize("seeds", chunks(0.05), ids=lambda seeds: str(seeds[0]))
def test_no_report_is_lost_with_one_node_at_a_time(seeds: range) -> None:
    assert_no_rule_is_broken("losses", seeds)


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


@pytest.mark.parametrize("seeds", chunks(0.03), ids=lambda seeds: str(seeds[0]))
def test_nobody_seems_to_leave_while_nodes_are_replaced(seeds: range) -> None:
    for seed in seeds:
        cluster = run_in_virtual_time(deploy(seed))
        of_members = {tuple(kinds) for (room, _), kinds in cluster.reports.items() if room.startswith("presence-")}
        assert of_members == {("member_added",), ("occupied",)}, f"seed {seed}"
