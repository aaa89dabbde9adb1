from __future__ import annotations

import pytest

from sockudo.storage.redis_slots import SLOTS, SlotRange, read_slots, slot_of


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        # Of the specification of Redis Cluster, and of its CLUSTER KEYSLOT.
        (b"123456789", 0x31C3),
        (b"foo", 12182),
        (b"foo{}{bar}", 8363),
        (b"foo{{bar}}zap", 4015),
        (b"foo{bar}{zap}", 5061),
        (b"", 0),
    ],
)
def test_slots(name: bytes, slot: int) -> None:
    assert slot_of(name) == slot < SLOTS


def test_only_the_first_tag_counts() -> None:
    assert slot_of(b"{user}:a") == slot_of(b"x{user}y{z}") == slot_of(b"user")
    assert slot_of(b"{}user") != slot_of(b"user")


def test_a_server_without_a_name_is_where_it_was_asked() -> None:
    reply = [
        [0, 99, [b"10.0.0.1", 7000, b"id", []], [b"10.0.0.9", 7009, b"replica"]],
        [100, 199, [None, 7001, b"id"]],
        [200, 16_383, [b"?", 7002, b"id"]],
    ]
    assert read_slots(reply, "asked") == [
        SlotRange(0, 99, "10.0.0.1", 7000),
        SlotRange(100, 199, "asked", 7001),
        SlotRange(200, 16_383, "asked", 7002),
    ]
