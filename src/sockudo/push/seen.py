"""Recipients that a publish has been planned for: each gets it once, however many of its targets lead there."""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections import Counter
from hashlib import sha256
from typing import Final

from sockudo.push.recipients import Provider

__all__ = ["MOST", "Seen", "seen_id"]

_PARTS: Final = 256
_FIRST_ROOM: Final = 16
MOST: Final = 4_194_304
"""Recipients of one publish that are remembered; a later one is compared with the others of its step alone."""


def seen_id(step: int) -> str:
    """Under which a publish keeps whom the steps before this one have seen; steps count from 1 here, without a gap."""
    return f"seen-{step}"


class Seen:
    """A set of recipients in about 20 bytes each: 64 bits of a digest, in many small tables, so that none takes long
    to grow.

    Two of a million recipients are mixed up with a chance of one to thirty million.
    """

    __slots__ = ("_counts", "_tables", "count", "fresh")

    def __init__(self) -> None:
        # Made as they are needed: most publishes have few recipients, and there may be many publishes.
        self._tables: dict[int, array[int]] = {}
        self._counts: Counter[int] = Counter()
        self.count = 0
        # What came since it was last taken.
        self.fresh = array("Q")

    def add(self, provider: Provider, token: str) -> bool:
        """True for a recipient that was not there."""
        digest = sha256(f"{provider}\0{token}".encode("utf-8", "surrogatepass")).digest()
        value = int.from_bytes(digest[:8], "little") or 1
        if not self._put(value):
            return False
        self.fresh.append(value)
        return True

    def take_fresh(self) -> str:
        """The new ones as text, for `restore`."""
        text = b64encode(self.fresh.tobytes()).decode("ascii")
        self.fresh = array("Q")
        return text

    def restore(self, text: str) -> None:
        """Restores the state of another set."""
        values = array("Q")
        values.frombytes(b64decode(text))
        for value in values:
            self._put(value)

    def _put(self, value: int) -> bool:
        part = value & (_PARTS - 1)
        table = self._tables.get(part)
        if table is None:
            table = self._tables[part] = array("Q", bytes(8 * _FIRST_ROOM))
        mask = len(table) - 1
        place = (value >> 8) & mask
        while table[place]:
            if table[place] == value:
                return False
            place = (place + 1) & mask
        if self.count >= MOST:
            # Bounded: what is not kept cannot be found again.
            return True
        table[place] = value
        self.count += 1
        self._counts[part] += 1
        if self._counts[part] * 2 > len(table):
            self._grow(part)
        return True

    def _grow(self, part: int) -> None:
        old = self._tables[part]
        table = array("Q", bytes(16 * len(old)))
        mask = len(table) - 1
        for value in old:
            if value:
                place = (value >> 8) & mask
                while table[place]:
                    place = (place + 1) & mask
                table[place] = value
        self._tables[part] = table
