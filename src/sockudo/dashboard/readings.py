"""What a sample is made of: the counters of the node, read without a walk over connections or channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Final, NamedTuple

from sockudo.base.process import resident_bytes
from sockudo.hub.traffic import Traffic

if TYPE_CHECKING:
    from sockudo.base.loop_watch import LoopWatch
    from sockudo.dashboard.plots import Figures
    from sockudo.hub.view import HubView
    from sockudo.limits.ip import IpLimits
    from sockudo.sessions import Gateway

__all__ = ["Growth", "NodeReader", "Reading"]


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
