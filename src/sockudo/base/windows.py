"""Fixed windows: so many hits from the first one until the window ends, then afresh (spec: platform § 4.3).

A refused hit counts like any other (spec: websocket § 5), but never makes a window longer. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import NamedTuple

__all__ = ["FixedWindows", "KeyedWindows", "SocketWindow", "Verdict", "Window"]

_MAX_KEYS = 100_000
# Ended windows thrown away for each one that opens: more than one, so that they cannot pile up.
_SWEPT_PER_OPENING = 2


class Verdict(NamedTuple):
    """The answer of a limit to one hit. ``reset`` is in whole seconds until the window ends, rounded up."""

    allowed: bool
    limit: int
    remaining: int
    reset: int
    window: int


class SocketWindow:
    """The window of one connection, which knows where to find it: two numbers."""

    __slots__ = ("_count", "_ends")

    def __init__(self) -> None:
        self._count = 0
        self._ends = 0.0

    def allow(self, now: float, limit: int, window_seconds: int) -> bool:
        """Counts one hit; False when it is over ``limit``, which may differ from call to call."""
        if now >= self._ends:
            self._ends = now + window_seconds
            self._count = 1
            return limit >= 1
        self._count += 1
        return self._count <= limit


class Window:
    """One open window: how much was counted, and when it ends."""

    __slots__ = ("count", "ends")

    def __init__(self, ends: float) -> None:
        self.count = 0
        self.ends = ends


class KeyedWindows:
    """Windows of one length, by key.

    At most ``max_keys`` are open; past that the oldest gives way, counted in ``evicted``, because refusing new keys
    would let an attacker with many addresses lock out all others. Each opening also throws a few ended windows
    away, so nothing has to be swept by a timer and no call takes long. ``now`` must not go back.
    """

    __slots__ = ("_max_keys", "_seconds", "_windows", "evicted")

    def __init__(self, seconds: int, max_keys: int = _MAX_KEYS) -> None:
        self._seconds = seconds
        self._max_keys = max_keys
        # In the order of their ends: all are equally long, and one that opens goes to the back.
        self._windows: OrderedDict[str, Window] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        """Windows kept, ended ones that are not swept yet included."""
        return len(self._windows)

    def window(self, key: str, now: float) -> Window:
        """The key's window; opened if there is none, or if the last one has ended."""
        found = self._windows.get(key)
        if found is not None and now < found.ends:
            return found
        return self._opened(key, now)

    def _opened(self, key: str, now: float) -> Window:
        windows = self._windows
        windows.pop(key, None)
        for _ in range(_SWEPT_PER_OPENING):
            oldest = next(iter(windows.values()), None)
            if oldest is None or now < oldest.ends:
                break
            windows.popitem(last=False)
        if len(windows) >= self._max_keys:
            windows.popitem(last=False)
            self.evicted += 1
        opened = windows[key] = Window(now + self._seconds)
        return opened


class FixedWindows:
    """One limit for many keys: ``max_requests`` in ``window_seconds`` each."""

    __slots__ = ("max_requests", "window_seconds", "windows")

    def __init__(self, max_requests: int, window_seconds: int, max_keys: int = _MAX_KEYS) -> None:
        self.max_requests = max_requests
        self.window_seconds = window_seconds
        self.windows = KeyedWindows(window_seconds, max_keys)

    def hit(self, key: str, now: float, cost: int = 1) -> Verdict:
        """Counts ``cost`` for ``key``: allowed or refused as a whole, counted either way."""
        window = self.windows.window(key, now)
        count = window.count = window.count + cost
        limit = self.max_requests
        seconds = self.window_seconds
        # The sum of two floats may come out a little long, which rounding up would turn into a second.
        reset = min(ceil(window.ends - now), seconds)
        return Verdict(count <= limit, limit, limit - count if count < limit else 0, reset, seconds)
