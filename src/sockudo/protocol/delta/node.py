"""What all channels of a node share: encoded deltas, the memory that bases take, and numbers that only rise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from sockudo.protocol.delta.settings import Algorithm, DeltaOptions, encode

__all__ = ["MAX_BASE_BYTES", "DeltaNode", "HoldsBase"]

MAX_BASE_BYTES: Final = 256 * 1024 * 1024
"""Bytes of all bases of a node together (spec: filters-deltas § 4)."""

_LOWEST: Final = 2**16
_HIGHEST: Final = 2**30
_PER_SECOND: Final = 128
_REMEMBERED: Final = 10_000


class HoldsBase(Protocol):
    """A holder of a base that can do without it."""

    base: bytes | None


class DeltaNode:
    """One per server process; ``unix_time`` returns the time that all nodes agree on.

    Numbers of keyed groups follow the clock
    ----------------------------------------

    Clients keep their bases when they connect again, here or to another node, and look them up by number. One that was
    used before finds a wrong base; the .NET client takes the base with the highest number, not the named one. So
    the first number of a channel is made from the time: higher than all that were given out before, as long as no key
    gets more than 128 messages a second. For a channel that was faster and is left by all, the node remembers how far
    it came. The clock's numbers start again every 97 days (a random first number would be unlikely to collide,
    but half of the time lower than the old ones; spec: filters-deltas § 2.9, S7).
    """

    __slots__ = ("_ahead", "_base_bytes", "_bases", "_encoded", "_max_base_bytes", "_unix_time", "options")

    def __init__(
        self, options: DeltaOptions, unix_time: Callable[[], float], max_base_bytes: int = MAX_BASE_BYTES
    ) -> None:
        self.options = options
        self._unix_time = unix_time
        self._max_base_bytes = max_base_bytes
        # Least recently used first, with the size that was accounted.
        self._bases: dict[HoldsBase, int] = {}
        self._base_bytes = 0
        # Deltas to the frame at hand, by base and format; the base is kept so that its id stays its own. Of
        # two targets, newest first: a frame has a text for JSON and one for the binary formats.
        self._encoded: list[tuple[bytes, dict[tuple[int, Algorithm], tuple[bytes, bytes]]]] = []
        self._ahead: dict[tuple[str, str], int] = {}

    @property
    def base_bytes(self) -> int:
        """What the bases take; bytes that several groups share count for each."""
        return self._base_bytes

    def encode(self, algorithm: Algorithm, base: bytes, target: bytes) -> bytes:
        """The delta; made once for all that have the very same base when the very same frame is published."""
        known = next((deltas for known, deltas in self._encoded if known is target), None)
        if known is None:
            known = {}
            self._encoded = [(target, known), *self._encoded[:1]]
        made = known.get((id(base), algorithm))
        if made is None:
            made = known[id(base), algorithm] = (base, encode(algorithm, base, target))
        return made[1]

    def hold(self, holder: HoldsBase, size: int) -> None:
        """Accounts for a base of ``size`` bytes that was used just now; the oldest others make room for it."""
        bases = self._bases
        self._base_bytes += size - bases.pop(holder, 0)
        bases[holder] = size
        while self._base_bytes > self._max_base_bytes:
            oldest = next(iter(bases))
            oldest.base = None
            self.release(oldest)

    def release(self, holder: HoldsBase) -> None:
        """Accounts for a base that is gone."""
        self._base_bytes -= self._bases.pop(holder, 0)

    def first_number(self) -> int:
        """Where numbers that start now begin, between 2^16 and 2^30."""
        return _LOWEST + int(self._unix_time() * _PER_SECOND) % (_HIGHEST - _LOWEST)

    def remember(self, app_id: str, channel: str, number: int) -> None:
        """Keeps the number that a channel which everybody left would use next, until the clock has passed it."""
        if number <= self.first_number():
            return
        self._ahead.pop((app_id, channel), None)
        self._ahead[app_id, channel] = number
        if len(self._ahead) > _REMEMBERED:
            del self._ahead[next(iter(self._ahead))]

    def recall(self, app_id: str, channel: str) -> int:
        """What was remembered of a channel, else 0."""
        return self._ahead.pop((app_id, channel), 0)

    def sweep(self) -> None:
        """Forgets the numbers that the clock has passed."""
        reached = self.first_number()
        self._ahead = {channel: number for channel, number in self._ahead.items() if number > reached}
