"""How much one evaluation of an expression may do (spec: filters-deltas § 1.11)."""

from __future__ import annotations

from typing import Any, Final

from sockudo.protocol.filters.limits import WORK_UNITS

__all__ = ["Budget", "BudgetExceededError"]

# Characters, and bits of an integer, that are worth one unit: about what can be copied or written out in its time.
_CHARACTERS: Final = 6
_BITS: Final = 8


class BudgetExceededError(Exception):
    """An expression wanted to do more than it may."""


class Budget:
    """Counts down from `WORK_UNITS` or less; ``left`` is public for the one place that spends a unit per node."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = WORK_UNITS

    def refill(self, units: int = WORK_UNITS) -> None:
        self.left = units

    def spend(self, units: int) -> None:
        self.left -= units
        if self.left < 0:
            raise BudgetExceededError

    def charge(self, value: Any) -> None:
        """Spends what a value costs when it is written out: shared parts count each time they occur.

        Walks the value, and no further than the budget reaches, so the walk is paid by what it counts.
        """
        left = self.left - 1
        pending = [value]
        while pending and left >= 0:
            part = pending.pop()
            kind = part.__class__
            if kind is str:
                left -= len(part) >> _CHARACTERS
            elif kind is list:
                left -= len(part)
                pending.extend(part)
            elif kind is dict:
                left -= len(part) + (sum(map(len, part)) >> _CHARACTERS)
                pending.extend(part.values())
            elif kind is int:
                left -= part.bit_length() >> _BITS
        self.left = left
        if left < 0:
            raise BudgetExceededError
