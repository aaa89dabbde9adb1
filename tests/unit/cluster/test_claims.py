"""Keys among nodes: the owner decides, whatever becomes of nodes and messages in between."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from sockudo import errors
from sockudo.cluster import owners
from sockudo.cluster.claims import EndClaim, IsRunning, _name
from sockudo.cluster.in_process import InProcessBus, InProcessMembership, Network, join_network
from sockudo.cluster.ports import Claim, Claimed
from sockudo.cluster.router import Router
from sockudo.cluster.shared_counters import SharedCounters
from sockudo.errors import SockudoError
from support.waiting import settle

OK = b"{}"


class Member:
    """One node with its counters."""

    def __init__(self, nodes: Nodes) -> None:
        bus, membership = join_network(asyncio.get_running_loop().call_soon, nodes.network)
        assert isinstance(bus, InProcessBus)
        assert isinstance(membership, InProcessMembership)
        self.bus, self.membership, self.router = bus, membership, Router()
        self.counters = SharedCounters(
            bus, membership, self.router, lambda: nodes.time, allows=lambda: nodes.allows, mode=lambda: "local"
        )
        bus.attach(self.router)

    async def claim(self, key: tuple[str, ...], mark: bytes = b"m", ttl: float = 100) -> Claimed:
        claimed = self.counters.claim(key, mark, ttl, 0)
        return await claimed if inspect.isawaitable(claimed) else claimed

    async def claimed(self, key: tuple[str, ...]) -> Claim:
        claim = await self.claim(key)
        assert not isinstance(claim, (str, bytes))
        return claim


class Nodes:
    def __init__(self, count: int = 2) -> None:
        self.network, self.time, self.allows = Network(), 0.0, False
        self.members = [Member(self) for _ in range(count)]

    def key(self, owner: Member, number: int = 0) -> tuple[str, ...]:
        """A key that the node owns."""
        keys = (("shop", str(each)) for each in range(10_000))
        owned = (key for key in keys if owner.membership.owner(_name(key)) == owner.membership.me)
        return [next(owned) for _ in range(number + 1)][-1]


async def nothing(_: Any) -> None:
    await asyncio.Event().wait()


async def test_a_key_is_claimed_once_for_all_nodes() -> None:
    nodes = Nodes(3)
    for owner in nodes.members:
        key = nodes.key(owner)
        first = await nodes.members[0].claimed(key)
        for member in nodes.members:
            assert await member.claim(key) == "running"
            assert await member.claim(key, b"other") == "conflict"
        first.complete(OK, 0)
        await settle()
        for member in nodes.members:
            assert await member.claim(key) == OK
            assert await member.claim(key, b"other") == "conflict"


async def test_what_failed_can_be_claimed_by_another_node_at_once() -> None:
    nodes = Nodes()
    here, owner = nodes.members
    key = nodes.key(owner)
    (await here.claimed(key)).release()
    (await here.claimed(key)).release()
    await settle()
    assert await owner.claimed(key)


async def test_a_claim_of_a_node_that_went_is_free() -> None:
    nodes = Nodes(3)
    here, owner, other = nodes.members
    key = nodes.key(owner)
    await here.claimed(key)
    nodes.network.leave(here.membership.me)
    if owner.membership.owner(_name(key)) == owner.membership.me:
        assert await other.claimed(key)


async def test_a_claim_whose_end_was_lost_is_found_out_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes()
    here, owner = nodes.members
    key = nodes.key(owner)
    claim = await here.claimed(key)
    end = owner.router._requests[EndClaim]
    monkeypatch.setattr(owners, "DEADLINE", 0)
    owner.router.on_request(EndClaim, nothing)
    claim.release()
    assert await owner.claim(key) == "running"
    await settle()
    owner.router.on_request(EndClaim, end)
    monkeypatch.setattr(owners, "DEADLINE", 1)
    assert await here.claimed(key)


async def test_an_owner_that_does_not_answer_is_a_refusal_unless_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    from sockudo.cluster.claims import ClaimKey

    nodes = Nodes()
    here, owner = nodes.members
    key = nodes.key(owner)
    monkeypatch.setattr(owners, "DEADLINE", 0)
    owner.router.on_request(ClaimKey, nothing)
    with pytest.raises(SockudoError) as refused:
        await here.claim(key)
    assert refused.value.spec is errors.SERVICE_UNAVAILABLE
    assert refused.value.retry_after == 1
    nodes.allows = True
    claim = await here.claimed(key)
    claim.complete(OK, 0)
    claim.release()
    counts = here.counters._claims._counts
    assert (counts.keys_unanswered, counts.keys_allowed) == (2, 1)
    assert here.router.answer(IsRunning("x")) is False


async def test_finished_keys_go_with_their_owner_to_a_node_that_joins() -> None:
    nodes = Nodes(1)
    here = nodes.members[0]
    keys = [("shop", str(number)) for number in range(50)]
    for key in keys:
        (await here.claimed(key)).complete(OK, 0)
    nodes.time = 60
    joined = Member(nodes)
    await settle()
    owned = [key for key in keys if here.membership.owner(_name(key)) == joined.membership.me]
    assert owned
    for key in keys:
        assert await joined.claim(key) == await here.claim(key) == OK
    nodes.time = 101
    assert await here.claimed(owned[0])


async def test_a_node_that_stops_passes_its_keys_on() -> None:
    nodes = Nodes(3)
    leaving = nodes.members[0]
    keys = [nodes.key(leaving, number) for number in range(20)]
    for key in keys:
        (await leaving.claimed(key)).complete(OK, 0)
    await leaving.counters.hand_over()
    nodes.network.leave(leaving.membership.me)
    for member in nodes.members[1:]:
        assert [await member.claim(key) for key in keys] == [OK] * 20


async def test_a_claim_that_ends_after_its_key_has_moved_is_known_to_the_new_owner() -> None:
    nodes = Nodes()
    here, owner = nodes.members
    key = nodes.key(owner)
    claim = await here.claimed(key)
    nodes.network.leave(owner.membership.me)
    claim.complete(OK, 0)
    await settle()
    assert await here.claim(key) == OK


async def test_old_claims_are_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes()
    here, owner = nodes.members
    first, second = nodes.key(owner), nodes.key(owner, 1)
    await here.claimed(first)
    here.counters._claims._open.clear()
    nodes.time = 61
    await here.claimed(second)
    await settle()
    assert list(owner.counters._claims._given) == [second]
