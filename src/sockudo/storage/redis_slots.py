"""Which server of a Redis Cluster a name belongs to."""

from __future__ import annotations

from binascii import crc_hqx
from typing import Any, Final, NamedTuple

__all__ = ["SLOTS", "SlotRange", "read_slots", "slot_of"]

SLOTS: Final = 16_384


class SlotRange(NamedTuple):
    """The slots from ``first`` to ``last``, both included, and the master that has them."""

    first: int
    last: int
    host: str
    port: int


def slot_of(name: bytes) -> int:
    """The slot of a key or channel; of one with a tag in braces, that of the tag."""
    start = name.find(b"{")
    if start >= 0:
        end = name.find(b"}", start + 1)
        if end > start + 1:
            name = name[start + 1 : end]
    return crc_hqx(name, 0) % SLOTS


def read_slots(reply: Any, asked: str) -> list[SlotRange]:
    """The ranges in an answer to CLUSTER SLOTS. A server without a name of its own is at the host that was asked."""
    ranges = []
    for first, last, master, *_ in reply:
        host = (master[0] or b"").decode()
        ranges.append(SlotRange(first, last, asked if host in ("", "?") else host, master[1]))
    return ranges
