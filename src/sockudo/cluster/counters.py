"""`Counters` inside one process: keys that are claimed once, and hits counted in windows (spec: platform § 10.4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

from sockudo.base.windows import KeyedWindows, Verdict, Window
from sockudo.cluster.ports import Claimed

__all__ = ["InProcessCounters", "Record"]

_Key = tuple[str, ...]

# Ended records thrown away for each new one, of each time to live: more than one, so that they cannot pile up.
_SWEPT_PER_RECORD = 2
# Stands for the time to live of records that were finished elsewhere.
_PASSED_ON = -1.0


class Record(NamedTuple):
    """A finished key, as it is passed on; ``left`` is in seconds."""

    key: _Key
    mark: bytes
    reply: bytes
    left: float


class _Record(NamedTuple):
    key: _Key
    mark: bytes
    reply: bytes
    expires_at: float


class _Claim:
    """The right to do what belongs to a key."""

    __slots__ = ("counters", "key", "mark", "ttl")

    def __init__(self, counters: InProcessCounters, key: _Key, mark: bytes, ttl: float) -> None:
        self.counters = counters
        self.key = key
        self.mark = mark
        self.ttl = ttl

    def complete(self, reply: bytes, now: float) -> None:
        self.counters.complete(self, reply, now)

    def release(self) -> None:
        self.counters.release(self)


class InProcessCounters:
    """The counters of all apps in this process's memory.

    Running claims are as many as requests are under way. Finished records are bounded twice, by ``max_entries`` and by
    the bytes of their replies; past either bound the one nearest to its end is forgotten early, counted in ``evicted``.
    """

    __slots__ = (
        "_by_ttl",
        "_finished",
        "_max_bytes",
        "_max_entries",
        "_reply_bytes",
        "_running",
        "_windows",
        "evicted",
        "immediate",
    )

    def __init__(self, max_entries: int = 200_000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self.immediate = True
        self.evicted = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._running: dict[_Key, _Claim] = {}
        self._finished: dict[_Key, _Record] = {}
        self._reply_bytes = 0
        # In the order of their ends, apart for each time to live. A record whose key was used anew stays until swept.
        self._by_ttl: dict[float, deque[_Record]] = {}
        self._windows: dict[str, tuple[int, KeyedWindows]] = {}

    def __len__(self) -> int:
        """Finished records kept, ended ones that are not swept yet included."""
        return len(self._finished)

    # ---- claims ----

    def claim(self, key: _Key, mark: bytes, ttl: float, now: float) -> Claimed:
        record = self._finished.get(key)
        if record is not None:
            if now < record.expires_at:
                return record.reply if record.mark == mark else "conflict"
            self._forget(record)
        running = self._running.get(key)
        if running is not None:
            return "running" if running.mark == mark else "conflict"
        claim = self._running[key] = _Claim(self, key, mark, ttl)
        return claim

    def complete(self, claim: _Claim, reply: bytes, now: float) -> None:
        """Keeps the claim's reply; nothing if the claim has ended."""
        if not self.release(claim):
            return
        self._add(_Record(claim.key, claim.mark, reply, now + claim.ttl), claim.ttl, now)

    def _add(self, record: _Record, ttl: float, now: float) -> None:
        self._sweep(now)
        if (known := self._finished.get(record.key)) is not None:
            self._forget(known)
        self._finished[record.key] = record
        self._reply_bytes += len(record.reply)
        self._by_ttl.setdefault(ttl, deque()).append(record)
        while len(self._finished) > self._max_entries or self._reply_bytes > self._max_bytes:
            self._evict()

    def records(self, now: float) -> Iterator[Record]:
        """The finished keys; they must not change while they are walked."""
        for record in self._finished.values():
            if now < record.expires_at:
                yield Record(record.key, record.mark, record.reply, record.expires_at - now)

    def keep(self, record: Record, now: float) -> None:
        """Takes over a key that was finished elsewhere; one that is known here stays as it is."""
        known = self._finished.get(record.key)
        if known is None or now >= known.expires_at:
            # Their ends come in any order.
            self._add(_Record(record.key, record.mark, record.reply, now + record.left), _PASSED_ON, now)

    def release(self, claim: _Claim) -> bool:
        """Frees the claim's key; False if the claim has ended."""
        if self._running.get(claim.key) is not claim:
            return False
        del self._running[claim.key]
        return True

    def _sweep(self, now: float) -> None:
        emptied = False
        for queue in self._by_ttl.values():
            for _ in range(_SWEPT_PER_RECORD):
                if queue and now >= queue[0].expires_at:
                    self._forget(queue.popleft())
            emptied = emptied or not queue
        if emptied:
            self._by_ttl = {ttl: queue for ttl, queue in self._by_ttl.items() if queue}

    def _evict(self) -> None:
        queue = min((queue for queue in self._by_ttl.values() if queue), key=lambda queue: queue[0].expires_at)
        if self._forget(queue.popleft()):
            self.evicted += 1

    def _forget(self, record: _Record) -> bool:
        """False for a record that was left behind when its key was used anew."""
        if self._finished.get(record.key) is not record:
            return False
        del self._finished[record.key]
        self._reply_bytes -= len(record.reply)
        return True

    # ---- windows ----

    def window(self, name: str, key: str, seconds: int, now: float) -> Window:
        """The open window of a key, opened if there is none."""
        length, windows = self._windows.get(name, (0, None))
        if windows is None or length != seconds:
            windows = KeyedWindows(seconds)
            self._windows[name] = (seconds, windows)
        return windows.window(key, now)

    def hit(
        self, name: str, key: str, limit: int, seconds: int, now: float, *, cost: int = 1, count_refused: bool = True
    ) -> Verdict:
        window = self.window(name, key, seconds, now)
        allowed = window.count + cost <= limit
        if allowed or count_refused:
            window.count += cost
        # The sum of two floats may come out a little long, which rounding up would turn into a second.
        reset = min(ceil(window.ends - now), seconds)
        return Verdict(allowed, limit, max(limit - window.count, 0), reset, seconds)

    def forget(self, name: str) -> None:
        self._windows.pop(name, None)
