"""Keys in a store: claimed for as long as their node lives, and refused or given while the store is away."""

from __future__ import annotations

import asyncio

import pytest

from sockudo import errors
from sockudo.cluster.owners import OwnerCounts
from sockudo.cluster.ports import Claim, Claimed
from sockudo.cluster.stored_claims import StoredClaims
from sockudo.errors import SockudoError
from support.durable import HandTime
from support.stores import MemoryCacheStore
from support.waiting import settle

KEY = ("shop", "event", "k")


class Two:
    """Two nodes over one store."""

    def __init__(self) -> None:
        self.time = HandTime()
        self.store = MemoryCacheStore(self.time.monotonic)
        self.allows, self.counts = False, OwnerCounts()
        self.nodes = [
            StoredClaims(self.store, name, lambda: self.allows, self.counts, self.time.sleep, patience)
            for name, patience in (("a", ()), ("b", ()), ("patient", (0.1, 0.2)))
        ]

    async def claim(self, node: int, mark: bytes = b"m") -> Claimed:
        return await self.nodes[node].claim(KEY, mark, 100, 0)

    async def claimed(self, node: int) -> Claim:
        claim = await self.claim(node)
        assert not isinstance(claim, (str, bytes))
        return claim


@pytest.fixture
def two() -> Two:
    return Two()


async def test_a_key_is_one_node_s(two: Two) -> None:
    claim = await two.claimed(0)
    assert await two.claim(1) == "running"
    assert await two.claim(1, b"other") == "conflict"
    claim.complete(b"reply", 0)
    await settle()
    assert await two.claim(1) == b"reply"


async def test_a_repeat_elsewhere_is_patient(two: Two) -> None:
    claim = await two.claimed(0)
    asked = asyncio.create_task(two.claim(2))
    await two.time.elapse(0.1)
    claim.complete(b"reply", 0)
    await two.time.elapse(0.2)
    assert await asked == b"reply"

    never_done = await two.nodes[0].claim(("other",), b"m", 100, 0)
    assert not isinstance(never_done, (str, bytes))
    asked = asyncio.ensure_future(two.nodes[2].claim(("other",), b"m", 100, 0))
    for pause in (0.1, 0.2):
        assert not asked.done()
        await two.time.elapse(pause)
    assert asked.result() == "running"


async def test_a_repeat_at_the_same_node_waits_for_the_end_before_it(two: Two) -> None:
    claim = await two.claimed(0)
    claim.complete(b"reply", 0)
    assert await two.claim(0) == b"reply"


async def test_the_lease_is_renewed_for_as_long_as_it_takes(two: Two) -> None:
    claim = await two.claimed(0)
    for _ in range(20):
        await two.time.elapse(5)
        assert await two.claim(1) == "running"
    claim.release()
    await two.time.elapse(5)
    (await two.claimed(1)).release()
    await two.time.elapse(5)
    assert not two.nodes[1]._renewing[0].cancelled()
    assert two.nodes[0]._renewing[0].done()


async def test_a_node_that_is_gone_gives_its_keys_back(two: Two) -> None:
    await two.claimed(0)
    two.time.advance(16)
    await two.claimed(1)


async def test_without_the_store_a_key_is_refused(two: Two) -> None:
    two.store.away = True
    with pytest.raises(SockudoError, match=r"the cache does not answer \(idempotency.on_failure\)") as raised:
        await two.claim(0)
    assert raised.value.spec is errors.SERVICE_UNAVAILABLE
    assert (raised.value.retry_after, raised.value.likely_cause) == (1, "it is away")
    assert (two.counts.keys_unanswered, two.counts.keys_allowed) == (1, 0)


async def test_or_given_where_the_setting_says_so(two: Two) -> None:
    two.store.away = two.allows = True
    claims = [await two.claimed(node) for node in (0, 1)]
    for claim in claims:
        claim.complete(b"reply", 0)
    assert (two.counts.keys_unanswered, two.counts.keys_allowed) == (2, 2)
    two.store.away = False
    await two.claimed(0)


async def test_the_end_of_a_claim_is_tried_again(two: Two) -> None:
    claim = await two.claimed(0)
    two.store.away = True
    claim.complete(b"reply", 0)
    claim.release()
    await settle()
    two.store.away = False
    await two.time.elapse(1)
    assert await two.claim(1) == b"reply"


async def test_closing_waits_for_what_has_ended(two: Two) -> None:
    claim = await two.claimed(0)
    closing = asyncio.create_task(two.nodes[0].close())
    await settle()
    assert closing.done()
    claim.complete(b"reply", 0)
    await two.nodes[0].close()
    assert await two.claim(1) == b"reply"
