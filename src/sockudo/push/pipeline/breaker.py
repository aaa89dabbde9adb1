"""When a provider is left alone, and how much of it is asked at a time: for each app by itself (spec: push § 7.3)."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

from sockudo.config.sections.push import PushCircuitBreaker

__all__ = ["Breaker", "Lane"]

_SOON_MS: Final = 1000
# What a provider asks for beyond this concerns single recipients, not all of an app's.
_LONGEST_MS: Final = 3_600_000

_FIRST_WIDTH: Final = 100
_WIDEST: Final = 10_000
_HALVED_EVERY_MS: Final = 30_000
_CLEAN_MS: Final = 60_000


class Breaker:
    """Opens until the time that a provider asks for, or for the cool-down after so many failing batches, of which only
    a clean one in between wipes the slate. Then one batch tries: it closes again, or opens again at once.
    """

    __slots__ = ("_failures", "_latest_ms", "_open_until_ms", "_options", "_probing", "_tripped")

    def __init__(self, options: PushCircuitBreaker) -> None:
        self._options = options
        self._failures = 0
        self._latest_ms = 0
        self._open_until_ms = 0
        self._tripped = False
        self._probing = False

    @property
    def probing(self) -> bool:
        """Whether a batch is trying it."""
        return self._probing

    def _is_open(self, now_ms: int) -> bool:
        """A clock that is put back takes the end along: what is left of the time stays as long as it was."""
        if now_ms < self._latest_ms:
            self._open_until_ms -= self._latest_ms - now_ms
        self._latest_ms = now_ms
        return now_ms < self._open_until_ms

    def state(self, now_ms: int) -> Literal[0, 1, 2]:
        """Closed, trying or open, as a metric."""
        if self._is_open(now_ms):
            return 2
        return 1 if self._tripped else 0

    def held_until(self, now_ms: int) -> int | None:
        """When to ask again before a batch is begun; None when it may be."""
        if self._is_open(now_ms):
            return max(self._open_until_ms, now_ms + _SOON_MS)
        return now_ms + _SOON_MS if self._probing else None

    def begin(self) -> bool:
        """A batch begins; True for the one that tries."""
        if self._tripped:
            self._probing = True
        return self._tripped

    def asked_to_wait(self, until_ms: int, now_ms: int) -> bool:
        """The provider has named a time; True when that opens it."""
        opened = not self._is_open(now_ms)
        self._open_until_ms = max(self._open_until_ms, min(until_ms, now_ms + _LONGEST_MS))
        self._tripped = True
        self._probing = False
        return opened

    def failed(self, now_ms: int) -> bool:
        """A batch fails; True when that opens it."""
        self._failures += 1
        self._probing = False
        if not self._tripped and self._failures < self._options.failure_threshold:
            return False
        opened = not self._is_open(now_ms)
        self._open_until_ms = max(self._open_until_ms, now_ms + self._options.cooldown_secs * 1000)
        self._tripped = True
        return opened

    def clean(self, now_ms: int) -> None:
        """Everything was answered as it should be; while it is open, that was begun before."""
        if self._is_open(now_ms):
            return
        self._failures = 0
        self._tripped = False
        self._probing = False

    def abandoned(self) -> None:
        """The batch that tried was given up before it came to anything."""
        self._probing = False


class Lane:
    """How many requests for an app may be under way: half as many when the provider throttles, one more for every
    minute in which it does not.
    """

    def __init__(self) -> None:
        self.width = _FIRST_WIDTH
        self.busy = 0
        self._halved_at_ms = -_HALVED_EVERY_MS
        self._since_ms: int | None = None
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        return max(0, self.width - self.busy)

    def enter(self, count: int) -> None:
        self.busy += count

    def leave(self, count: int) -> None:
        self.busy -= count
        self._freed.set()

    async def room(self, wanted: int) -> None:
        """Returns once there is room for so many, or for as many as there can be."""
        while self.free < min(wanted, self.width):
            self._freed.clear()
            await self._freed.wait()

    def throttled(self, now_ms: int) -> bool:
        """The provider wants less; True when that has an effect."""
        self._since_ms = now_ms
        if now_ms - self._halved_at_ms < _HALVED_EVERY_MS:
            return False
        self._halved_at_ms = now_ms
        self.width = max(1, self.width // 2)
        return True

    def clean(self, now_ms: int) -> None:
        """The provider has taken something."""
        if self._since_ms is None:
            self._since_ms = now_ms
        elif now_ms - self._since_ms >= _CLEAN_MS:
            self._since_ms = now_ms
            self.width = min(_WIDEST, self.width + 1)
