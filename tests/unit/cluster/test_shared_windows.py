"""Hits among nodes: counted where they come in, added up by the owner, bounded when it is away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sockudo.base.windows import Verdict
from sockudo.cluster import shared_windows as module
from sockudo.cluster.in_process import InProcessBus, InProcessMembership, Network, join_network
from sockudo.cluster.owners import OwnerCounts
from sockudo.cluster.router import Router
from sockudo.cluster.shared_counters import SharedCounters
from sockudo.cluster.shared_windows import AddHits
from support.stores import MemoryWindowStore
from support.waiting import settle


class Member:
    def __init__(self, nodes: Nodes) -> None:
        bus, membership = join_network(asyncio.get_running_loop().call_soon, nodes.network)
        assert isinstance(bus, InProcessBus)
        assert isinstance(membership, InProcessMembership)
        self.nodes, self.bus, self.membership, self.router = nodes, bus, membership, Router()
        self.counters = SharedCounters(bus, membership, self.router, lambda: nodes.time, mode=lambda: nodes.mode)
        bus.attach(self.router)

    def hit(self, limit: int = 10, key: str = "k", **options: Any) -> Verdict:
        return self.counters.hit("reads", key, limit, 60, self.nodes.time, **options)

    def owns(self, key: str = "k") -> bool:
        return self.membership.owner(f"window/reads/{key}") == self.membership.me


class Nodes:
    def __init__(self, count: int = 3) -> None:
        self.network, self.time, self.mode = Network(), 1000.0, "local"
        self.members = [Member(self) for _ in range(count)]

    @property
    def owner(self) -> Member:
        return next(member for member in self.members if member.owns())

    @property
    def others(self) -> list[Member]:
        return [member for member in self.members if not member.owns()]

    async def exchange(self) -> None:
        """What the timer does."""
        for member in self.members:
            windows = member.counters._windows
            if windows._timer is not None:
                windows._timer.cancel()
                windows._exchange()
        await settle()


async def test_hits_of_all_nodes_count_once_they_were_exchanged() -> None:
    nodes = Nodes()
    for member in nodes.members:
        assert [member.hit(limit=6).remaining for _ in range(2)] == [5, 4]
    await nodes.exchange()
    await nodes.exchange()
    assert not nodes.owner.hit(limit=6).allowed
    for member in nodes.others:
        member.hit(limit=6)
    await nodes.exchange()
    assert [member.hit(limit=6).allowed for member in nodes.members] == [False] * 3


async def test_only_keys_that_changed_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(2)
    [member] = nodes.others
    sent: list[AddHits] = []
    add = nodes.owner.router._requests[AddHits]
    nodes.owner.router.on_request(AddHits, lambda request: (sent.append(request), add(request))[1])
    for _ in range(3):
        member.hit()
    await nodes.exchange()
    await nodes.exchange()
    [request] = sent
    [one] = request.hits
    assert (one.place.key, one.added, one.total) == ("k", 3, 3)


async def test_windows_of_all_nodes_end_together_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(3)
    first, second = nodes.others
    first.hit()
    await nodes.exchange()
    nodes.time += 30
    second.hit(key="k")
    await nodes.exchange()
    assert [member.hit().reset for member in (first, second, nodes.owner)] == [30, 30, 30]
    nodes.time += 30
    assert [member.hit().remaining for member in nodes.members] == [9, 9, 9]


async def test_what_was_counted_is_known_to_the_next_owner() -> None:
    nodes = Nodes(3)
    for member in nodes.members:
        member.hit(cost=3)
    await nodes.exchange()
    for member in nodes.others:
        member.hit()
    await nodes.exchange()
    gone = nodes.owner
    nodes.network.leave(gone.membership.me)
    nodes.members.remove(gone)
    for member in nodes.others:
        assert not member.hit().allowed
    await nodes.exchange()
    assert not nodes.owner.hit().allowed


@pytest.mark.parametrize(("mode", "allowed"), [("local", 5), ("open", 20), ("closed", 0)])
async def test_a_limit_without_its_owner_is_what_the_setting_says(
    mode: str, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = Nodes(2)
    nodes.mode = mode
    [member] = nodes.others

    async def nothing(_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "DEADLINE", 0)
    add = nodes.owner.router._requests[AddHits]
    nodes.owner.router.on_request(AddHits, nothing)
    member.hit(limit=100)
    await nodes.exchange()
    await settle()
    assert sum(member.hit(limit=12).allowed for _ in range(20)) == allowed
    nodes.owner.router.on_request(AddHits, add)
    await nodes.exchange()
    assert member.hit(limit=100).allowed


async def test_a_node_alone_exchanges_nothing() -> None:
    nodes = Nodes(1)
    nodes.members[0].hit()
    assert nodes.members[0].counters._windows._timer is None


async def test_more_keys_than_are_sent_are_counted_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_KEYS", 2)
    nodes = Nodes(2)
    [member] = nodes.others
    assert [member.hit(limit=1, key=key).allowed for key in "abcc"] == [True, True, True, False]
    assert len(member.counters._windows._added) == 2
    assert member.counters._windows._counts.hits_left_out == 2


class Stored:
    """Two nodes that are not joined, over one store."""

    def __init__(self) -> None:
        self.time, self.mode = 1000.0, "local"
        self.store, self.counts = MemoryWindowStore(lambda: self.time), OwnerCounts()
        self.nodes = [self._node() for _ in range(2)]

    def _node(self) -> SharedCounters:
        bus, membership = join_network(asyncio.get_running_loop().call_soon, Network())
        return SharedCounters(
            bus,
            membership,
            Router(),
            lambda: self.time,
            mode=lambda: self.mode,
            counts=self.counts,
            windows=self.store,
        )

    def hit(self, node: int, limit: int = 10, key: str = "k") -> Verdict:
        return self.nodes[node].hit("reads", key, limit, 60, self.time)

    async def exchange(self) -> None:
        for node in self.nodes:
            if node._windows._timer is not None:
                node._windows._timer.cancel()
                node._windows._exchange()
        await settle()


async def test_a_store_adds_up_the_hits_of_nodes_that_are_not_joined() -> None:
    stored = Stored()
    assert [stored.hit(node, limit=4).remaining for node in (0, 0, 1, 1)] == [3, 2, 3, 2]
    await stored.exchange()
    await stored.exchange()
    assert [stored.hit(node, limit=4).allowed for node in (1,)] == [False]
    stored.time += 61
    assert stored.hit(0, limit=4).allowed


async def test_a_node_that_starts_learns_what_was_counted_before() -> None:
    stored = Stored()
    for _ in range(10):
        stored.hit(0)
    await stored.exchange()
    assert stored.hit(1).allowed
    await stored.exchange()
    assert not stored.hit(1).allowed


@pytest.mark.parametrize(("mode", "allowed"), [("local", 12), ("open", 20), ("closed", 0)])
async def test_a_limit_without_its_store_is_what_the_setting_says(mode: str, allowed: int) -> None:
    stored = Stored()
    stored.mode = mode
    stored.hit(0)
    stored.store.away = True
    await stored.exchange()
    assert stored.counts.hits_unanswered == 1
    # Of keys that were never asked for as well.
    assert sum(stored.hit(0, limit=12, key="new").allowed for _ in range(20)) == allowed
    stored.store.away = False
    await stored.exchange()
    assert stored.hit(0, limit=100).allowed
    assert stored.store.calls == 2


async def test_a_store_that_failed_long_ago_is_not_held_against_new_hits() -> None:
    stored = Stored()
    stored.mode = "closed"
    stored.store.away = True
    stored.hit(0)
    await stored.exchange()
    assert not stored.hit(0, key="new").allowed
    stored.time += 100
    assert stored.hit(0, key="newer").allowed
