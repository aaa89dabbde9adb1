"""When to leave an endpoint alone: one that fails again and again is asked now and then, not for everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["Breaker"]

_FAILURES: Final = 5
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


class Breaker:
    """Opens after five failures in a row; then one attempt at a time is let through after a pause that doubles.

    One success closes it. Times are monotonic seconds.
    """

    __slots__ = ("_failures", "_now", "_pause", "_probing", "_until")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures = 0
        self._pause = _FIRST_PAUSE
        self._until = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether attempts are held back now."""
        return self._failures >= _FAILURES and (self._probing or self._now() < self._until)

    @property
    def tripped(self) -> bool:
        """Whether the endpoint counts as failing, be it held back or being probed."""
        return self._failures >= _FAILURES

    @property
    def until(self) -> float:
        """When the next attempt is let through, if it is open."""
        return self._until

    def begin(self) -> None:
        """An attempt is being made."""
        if self.tripped:
            self._probing = True

    def abandoned(self) -> None:
        """The attempt was given up before it came to anything."""
        self._probing = False

    def succeeded(self) -> None:
        """The endpoint took something."""
        self._failures = 0
        self._pause = _FIRST_PAUSE
        self._probing = False

    def failed(self) -> None:
        """The endpoint could not be reached, or answered that it is not able to now."""
        self._failures += 1
        self._probing = False
        if self.tripped:
            self._until = self._now() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
