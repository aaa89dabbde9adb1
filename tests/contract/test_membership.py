"""What every membership promises: sentence by sentence of `sockudo.cluster.ports.Membership`."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from sockudo.cluster.ports import NodeChange
from support.clusters import BUSES, Ground, ground_of
from support.waiting import until


@pytest.fixture(params=BUSES)
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    ground = ground_of(request.param)
    yield ground
    await ground.close()


async def test_every_node_sees_the_same_nodes_in_the_same_order(ground: Ground) -> None:
    joined = [await ground.join(name) for name in "abc"]
    await ground.settle()
    expected = sorted((node.membership.me for node in joined), key=lambda node: node.id)
    assert [list(node.membership.live()) for node in joined] == [expected] * 3


async def test_ids_are_new_for_each_start_and_names_are_for_people(ground: Ground) -> None:
    first, second = [await ground.join("a") for _ in range(2)]
    assert first.membership.me.id != second.membership.me.id
    assert first.membership.me.name == second.membership.me.name == "a"
    assert first.membership.me.incarnation == 1


async def test_a_node_that_left_is_not_alive(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]
    assert a.membership.is_alive(b.membership.me.id)
    b.leave()
    await ground.settle()
    assert not a.membership.is_alive(b.membership.me.id)
    assert list(a.membership.live()) == [a.membership.me]
    assert not a.membership.is_alive("0" * 32)


async def test_observers_learn_who_comes_and_goes(ground: Ground) -> None:
    a = await ground.join("a")
    changes: list[NodeChange] = []
    a.membership.watch(changes.append)
    b = await ground.join("b")
    await ground.settle()
    b.leave()
    await ground.settle()
    assert changes == [NodeChange(b.membership.me, "up"), NodeChange(b.membership.me, "down")]


async def test_nodes_know_what_connections_the_others_have(ground: Ground) -> None:
    a, b, c = [await ground.join(name) for name in "abc"]
    await ground.settle()
    counts = {"shop": 3, "news": 1}
    b.membership.connections = lambda: counts
    c.membership.connections = lambda: {"shop": 4}
    for node in (b, c):
        node.membership.hurry()
    # A node that has just sent a beat waits for a moment.
    await until(lambda: a.membership.elsewhere("shop") == 7, "the counts")
    assert [a.membership.elsewhere(app) for app in ("shop", "news", "other")] == [7, 1, 0]
    await until(lambda: b.membership.elsewhere("shop") == 4, "the count of the third")
    c.leave()
    await ground.settle()
    assert a.membership.elsewhere("shop") == 3


async def test_a_node_alone_owns_every_key(ground: Ground) -> None:
    a = await ground.join("a")
    assert {a.membership.owner(str(key)) for key in range(100)} == {a.membership.me}


async def test_all_nodes_name_the_same_owner_and_share_the_keys(ground: Ground) -> None:
    joined = [await ground.join(name) for name in "abc"]
    await ground.settle()
    keys = [f"key-{number}" for number in range(600)]
    owners = [[node.membership.owner(key) for key in keys] for node in joined]
    assert owners[0] == owners[1] == owners[2]
    shares = Counter(owners[0])
    assert set(shares) == {node.membership.me for node in joined}
    assert min(shares.values()) > 100


async def test_only_the_keys_of_a_node_that_leaves_move(ground: Ground) -> None:
    a, b, c = [await ground.join(name) for name in "abc"]
    await ground.settle()
    keys = [f"key-{number}" for number in range(600)]
    before = {key: a.membership.owner(key) for key in keys}
    c.leave()
    await ground.settle()
    after = {key: a.membership.owner(key) for key in keys}
    moved = {key for key in keys if before[key] != after[key]}
    assert moved == {key for key in keys if before[key] == c.membership.me}
    assert set(after.values()) == {a.membership.me, b.membership.me}


async def test_a_node_that_others_hold_dead_is_fenced(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]
    assert not a.membership.fenced()
    b.leave()
    await ground.settle()
    assert b.membership.fenced()
    assert not a.membership.fenced()


async def test_a_node_that_drains_owns_nothing_while_another_one_lives(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]
    await ground.settle()
    b.membership.drain()
    await ground.settle()
    keys = [f"key-{number}" for number in range(50)]
    for node in (a, b):
        assert {node.membership.owner(key) for key in keys} == {a.membership.me}
    assert b.membership.draining
    assert not a.membership.draining
    a.leave()
    await ground.settle()
    assert {b.membership.owner(key) for key in keys} == {b.membership.me}


async def test_a_node_that_is_well_is_not_unheard(ground: Ground) -> None:
    a = await ground.join("a")
    assert a.membership.unheard() == 0.0
