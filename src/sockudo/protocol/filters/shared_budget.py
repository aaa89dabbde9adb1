"""How much all expressions may do for one message, of all subscriptions together.

An expression has a budget of its own, and a message may meet any number of expressions, so the two bounds are
separate. The work on one message is divided into a part that every evaluation begins with, a small allowance each, and
one for what takes more. So a few large expressions use up the second part only, and ordinary ones go on. An evaluation
that gets no more work has no verdict, which is no match: the message is not delivered to that subscription.
"""

from __future__ import annotations

from typing import Final, Protocol

from sockudo.protocol.filters.limits import MESSAGE_UNITS, WORK_UNITS

__all__ = ["LARGE_UNITS", "SharedBudget"]

SMALL_UNITS: Final = 100
"""The allowance: ordinary expressions need less than half of it."""

LARGE_UNITS: Final = 5_000
"""An evaluation that took more has to answer for a message whose budget ran out."""


class Worker(Protocol):
    """What spends the work: an expression."""

    def overran(self) -> bool:
        """Counts one exhausted budget; whether it tripped by that."""
        ...


class SharedBudget:
    """The work that is left for the message which is being delivered; one object serves all messages of an app."""

    __slots__ = ("_for_large", "_for_small", "_large", "_message")

    def __init__(self, units: int = MESSAGE_UNITS) -> None:
        self._message: object = None
        self._large: dict[Worker, str] = {}
        self._refill(units)

    def begin(self, message: object, units: int) -> None:
        """From now on the work is for this message; a message that is begun again goes on with what is left."""
        if self._message is not message:
            self._message = message
            self._large.clear()
            self._refill(units)

    def _refill(self, units: int) -> None:
        self._for_large = units // 2
        self._for_small = units - self._for_large

    def limit(self) -> int:
        """What the next evaluation may cost; 0 when there is nothing left."""
        small = min(SMALL_UNITS, self._for_small)
        return small + min(WORK_UNITS - small, self._for_large)

    def spend(self, units: int) -> None:
        """An evaluation cost so much, at most its `limit`."""
        small = min(units, SMALL_UNITS, self._for_small)
        self._for_small -= small
        self._for_large -= units - small

    def note_large(self, expression: Worker, predicate_id: str) -> None:
        """An evaluation took more than `LARGE_UNITS`, without using up a whole budget of its own."""
        self._large[expression] = predicate_id

    def take_large(self) -> dict[Worker, str]:
        """Those that have left others without work, with their predicates' ids; each is named once per message."""
        large, self._large = self._large, {}
        return large
