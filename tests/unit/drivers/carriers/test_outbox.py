"""What waits to be sent: order, bounds, and what is told of what went."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sockudo.drivers.carriers.outbox import MAX_BYTES, MAX_PAYLOADS, Outbox


def test_payloads_come_out_in_order_and_by_size() -> None:
    outbox = Outbox(lambda _: None)
    for number in range(5):
        outbox.add("c:app:room", b"%d" % number * 1_000)
    assert [payload[:1] for _, payload in outbox.take(2_200)] == [b"0", b"1"]
    # One comes out however long it is.
    assert [payload[:1] for _, payload in outbox.take(1)] == [b"2"]
    assert len(outbox) == 2
    outbox.clear()
    assert outbox.take(1_000) == []
    assert outbox.dropped == 0


async def test_past_the_bytes_the_oldest_go_and_their_topics_are_told_once() -> None:
    losses: list[Sequence[str] | None] = []
    outbox = Outbox(losses.append)
    for number in range(40):
        outbox.add(f"c:app:{number % 2}", b"%02d" % number + bytes(MAX_BYTES // 32))
    kept = [payload[:2] for _, payload in outbox.take(2 * MAX_BYTES)]
    assert kept == [b"%02d" % number for number in range(40 - len(kept), 40)]
    assert outbox.dropped == 40 - len(kept) > 0
    assert losses == []
    await asyncio.sleep(0)
    assert [sorted(topics or ()) for topics in losses] == [["c:app:0", "c:app:1"]]


async def test_past_the_count_the_oldest_go_and_many_topics_stand_for_all() -> None:
    losses: list[Sequence[str] | None] = []
    outbox = Outbox(losses.append)
    for number in range(MAX_PAYLOADS + 2_000):
        outbox.add(f"c:app:{number}", b"")
    await asyncio.sleep(0)
    assert len(outbox) == MAX_PAYLOADS
    assert outbox.dropped == 2_000
    assert losses == [None]
    outbox.add("c:app:last", b"")
    await asyncio.sleep(0)
    assert losses == [None, ("c:app:2000",)]


def test_one_payload_over_the_bound_is_kept() -> None:
    outbox = Outbox(lambda _: None)
    outbox.add("c:app:room", bytes(MAX_BYTES))
    assert [len(payload) for _, payload in outbox.take(1)] == [MAX_BYTES]
