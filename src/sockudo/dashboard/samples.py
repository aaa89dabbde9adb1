"""The last hour of the server: one sample every two seconds, kept from the start, and sent to the pages that watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import isnan
from typing import Any, Final, NamedTuple

import msgspec

from sockudo.base.clock import Clock
from sockudo.dashboard.readings import Reading
from sockudo.dashboard.ring import Ring

__all__ = ["CAPACITY", "INTERVAL", "SERIES", "News", "Samples"]

INTERVAL: Final = 2.0
"""Seconds between two samples."""

CAPACITY: Final = 1800
"""Samples that are kept: an hour."""

SERIES: Final = (
    "connections",
    "channels",
    "messages_per_second",
    "deliveries_per_second",
    "bytes_sent_per_second",
    "bytes_received_per_second",
    "requests_per_second",
    "errors_per_second",
    "rate_limited_per_second",
    "loop_lag_p99_ms",
    "loop_lag_max_ms",
    "memory_bytes",
)
"""The columns of a sample, in their order; behind them stand those of wings."""


class News(NamedTuple):
    """One event of the stream: ``series`` for what a watcher has missed, ``sample`` for the newest; encoded JSON.

    ``at`` is the time of the last sample in it: what to ask for to go on behind it.
    """

    event: str
    at: int
    data: bytes


class Samples:
    """Takes samples with ``read`` and keeps an hour of them; `run` is a round of the server. ``more`` names the series
    of what a reading has of wings.

    Bounded: some 200 KB, and 7 KB for each error of the catalogue that has come up. A watcher holds its place and
    nothing else; one that is slow gets in one piece what it has missed.
    """

    def __init__(self, read: Callable[[], Reading], clock: Clock, more: Sequence[str] = ()) -> None:
        self.ring = Ring((*SERIES, *more), CAPACITY)
        self._read = read
        self._clock = clock
        self._taken = clock.monotonic()
        self._newest: News | None = None

    async def run(self) -> None:
        """Takes samples until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            self.take()

    def take(self) -> None:
        """Takes a sample now; rates are of the time since the one before, however long that was."""
        now = self._clock.monotonic()
        elapsed = now - self._taken
        if elapsed <= 0:
            return
        self._taken = now
        reading = self._read()
        at, last = int(self._clock.time() * 1000), self.ring.last_at
        if last is not None and at <= last:
            # The clock of the machine was set back: what is kept goes with it, so that its order stays.
            self.ring.shift(at - max(1, int(elapsed * 1000)) - last)
        self.ring.append(at, _row(reading, elapsed), reading.errors)
        self._newest = None

    def newest(self) -> dict[str, Any] | None:
        """The newest sample; None before the first."""
        if not self.ring.count:
            return None
        rows = self.ring.rows(self.ring.count - 1)
        return {
            "at": rows.at[0],
            **{name: None if isnan(column[0]) else column[0] for name, column in rows.series.items()},
            "error_counts": {slug: column[0] for slug, column in rows.counts.items()},
        }

    def body(self, after_ms: int | None = None) -> dict[str, Any]:
        """What is kept, or what is later than ``after_ms``: the reply of the API."""
        return self._body(0 if after_ms is None else self.ring.number_after(after_ms))

    def _body(self, first: int) -> dict[str, Any]:
        rows = self.ring.rows(first)
        return {
            "interval_ms": int(INTERVAL * 1000),
            "capacity": CAPACITY,
            "at": rows.at,
            "series": rows.series,
            "error_counts": rows.counts,
        }

    def follow(self, after_ms: int | None = None) -> Callable[[], News | None]:
        """Answers, whenever it is called, what is later than ``after_ms``, or than now, and was not sent yet.

        What many watchers get is encoded once.
        """
        place = self.ring.count if after_ms is None else self.ring.number_after(after_ms)

        def news() -> News | None:
            nonlocal place
            missed = self.ring.count - place
            if not missed:
                return None
            told = self._news() if missed == 1 else self._missed(place)
            place = self.ring.count
            return told

        return news

    def _news(self) -> News:
        if self._newest is None:
            sample = self.newest()
            self._newest = News("sample", self.ring.last_at or 0, msgspec.json.encode(sample))
        return self._newest

    def _missed(self, first: int) -> News:
        return News("series", self.ring.last_at or 0, msgspec.json.encode(self._body(first)))


def _row(reading: Reading, elapsed: float) -> tuple[float, ...]:
    def rate(count: float) -> float:
        return round(count / elapsed, 3)

    grown = reading.grown
    return (
        reading.connections,
        reading.channels,
        rate(grown.published),
        rate(grown.delivered),
        rate(grown.bytes_sent),
        rate(grown.bytes_received),
        rate(grown.requests),
        rate(sum(reading.errors.values())),
        rate(reading.rate_limited),
        round(reading.lag_p99, 2),
        round(reading.lag_max, 2),
        reading.memory,
        *reading.more,
    )
