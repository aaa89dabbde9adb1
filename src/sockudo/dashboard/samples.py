"""The last hour of the server: one sample every two seconds, kept from the start, and sent to the pages that watch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import isnan, nan
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from sockudo.base.clock import Clock
from sockudo.base.process import resident_bytes
from sockudo.dashboard.ring import Ring
from sockudo.hub.traffic import Traffic

if TYPE_CHECKING:
    from sockudo.base.loop_watch import LoopWatch
    from sockudo.dashboard.plots import Figures
    from sockudo.hub.view import HubView
    from sockudo.limits.ip import IpLimits
    from sockudo.sessions import Gateway

__all__ = ["CAPACITY", "INTERVAL", "SERIES", "Growth", "News", "NodeReader", "Reading", "Samples"]


class Growth(NamedTuple):
    """How much the counters of all apps have grown between two readings."""

    published: int = 0
    delivered: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    requests: int = 0


class Reading(NamedTuple):
    """One look at the node. ``errors`` by slug and ``rate_limited`` are since the reading before, as is ``grown``.

    Milliseconds of the loop: ``lag_p99`` of the last ten seconds, ``lag_max`` since the reading before. NaN stands for
    what is not known. ``more`` is of wings.
    """

    connections: int
    channels: int
    grown: Growth
    lag_p99: float
    lag_max: float
    memory: float
    errors: Mapping[str, int]
    rate_limited: int
    more: tuple[float, ...] = ()


_NOTHING: Final = (0,) * len(Growth._fields)


class NodeReader:
    """Reads the node, and remembers where its counters stood. The cost grows with the apps, with nothing else."""

    def __init__(
        self, gateway: Gateway, view: HubView, limits: IpLimits, figures: Sequence[Figures], loop: LoopWatch
    ) -> None:
        self._gateway = gateway
        self._view = view
        self._limits = limits
        self._figures = figures
        self._loop = loop
        self._measured = loop.measured
        # By app, as long as it is there; one that is removed and comes back counts from 0 again.
        self._counters: dict[Traffic, tuple[int, ...]] = {}
        self._errors: dict[object, Counter[str]] = {}
        self._limited: dict[object, int] = {}
        self.read()

    def read(self) -> Reading:
        """The node now."""
        connections, channels = self._view.totals()
        p99, longest = self._lag()
        memory = resident_bytes()
        return Reading(
            connections=connections,
            channels=channels,
            grown=self._grown(),
            lag_p99=p99,
            lag_max=longest,
            memory=nan if memory is None else memory,
            errors=self._new_errors(),
            rate_limited=self._new_refusals(),
            more=tuple(value for figures in self._figures for value in figures.read()),
        )

    def _grown(self) -> Growth:
        before, self._counters = self._counters, {}
        sums = list(_NOTHING)
        for _, traffic in self._view.traffic():
            now = (
                traffic.published,
                traffic.messages_sent,
                traffic.bytes_sent,
                traffic.bytes_received,
                traffic.http_calls,
            )
            self._counters[traffic] = now
            was = before.get(traffic, _NOTHING)
            if now != was:
                for place, (new, old) in enumerate(zip(now, was, strict=True)):
                    sums[place] += new - old
        return Growth(*sums)

    def _new_errors(self) -> Counter[str]:
        """Refused requests, connections and messages, and closes by the server, by slug."""
        gateway = self._gateway
        refused = gateway.refused_requests.copy()
        for (_, slug), count in gateway.refused.items():
            refused[slug] += count
        now: dict[object, Counter[str]] = {"refused": refused}
        for _, traffic in self._view.traffic():
            if traffic.errors:
                now[traffic] = traffic.errors
        new: Counter[str] = Counter()
        for whose, counts in now.items():
            was = self._errors.get(whose)
            if counts == was:
                # Nearly always: what is remembered already need not be copied again.
                now[whose] = was
                continue
            now[whose] = counts.copy()
            new += counts if was is None else counts - was
        self._errors = now
        return new

    def _new_refusals(self) -> int:
        limits = self._limits
        now: dict[object, int] = {limits: limits.triggered.total()}
        for _, traffic in self._view.traffic():
            if traffic.rate_refusals:
                now[traffic] = traffic.rate_refusals.total()
        new = sum(count - self._limited.get(whose, 0) for whose, count in now.items())
        self._limited = now
        return new

    def _lag(self) -> tuple[float, float]:
        loop = self._loop
        recent, p99 = list(loop.recent), loop.p99_ms()
        fresh = recent[max(0, len(recent) - (loop.measured - self._measured)) :] if recent else []
        self._measured = loop.measured
        if not fresh or p99 is None:
            return nan, nan
        return p99, max(fresh)


# ---- the last hour ----


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
            events = self._news() if missed == 1 else self._missed(place)
            place = self.ring.count
            return events

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
