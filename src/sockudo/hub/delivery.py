"""The end of a turn of the loop: what is written then, and what all channels of a node have in common for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sockudo.hub.ports import BulkWriter, Schedule
from sockudo.protocol.delta import DeltaNode, DeltaTrack
from sockudo.protocol.filters import MESSAGE_UNITS

__all__ = ["GATHERING", "HELD", "SLICE", "Deliveries", "HubOptions", "Waiting"]

# Writes in one turn of the loop: 5 to 10 ms, so that pings, publishes and small channels get their turn in between.
SLICE = 1024
# Of them for a round that takes several turns anyway, at least and at most.
_LEAST, _MOST = SLICE // 4, SLICE // 2
GATHERING: Final = -1
"""A delivery to many that waits for the next turn, since this one brought more for it."""
HELD: Final = -2
"""A delivery to many that `Deliveries.deliver_later` has come back later, since more follows each time."""


@dataclass(frozen=True, slots=True)
class HubOptions:
    """``cache_ttl`` in seconds; ``cache_capacity`` in events per app.

    ``presence_grace`` in seconds, 0 for none, on V1; ``v2_presence_grace`` on V2. ``show_tags``: V2 connections see the
    tags of a message. ``filter_work``: what all expressions together may do for one message, see `SharedBudget`.
    """

    cache_ttl: float = 3600
    cache_capacity: int = 10_000
    presence_grace: float = 0
    v2_presence_grace: float = 0
    show_tags: bool = True
    filter_work: int = MESSAGE_UNITS


class Waiting(Protocol):
    """Frames that wait for the end of the turn, with those who are to get them."""

    queued: bool

    @property
    def unfinished(self) -> bool:
        """True while something waits to be written."""
        ...

    def deliver(self, budget: int) -> int:
        """Writes what waits to at most about ``budget`` subscribers and returns how many writes that took, or
        `GATHERING` or `HELD`.
        """
        ...


class Deliveries:
    """The queue of fan-outs that have something to deliver, and what they share."""

    def __init__(
        self, schedule: Schedule, now: Callable[[], float], options: HubOptions, delta_node: DeltaNode
    ) -> None:
        self.options = options
        self.now = now
        self.delta_node = delta_node
        # Every delta track of the node, for the sweep.
        self.tracks: dict[DeltaTrack, None] = {}
        # How many frames the write being made holds: what a slow connection's queue counts.
        self.frames_in_write = 1
        # For deliveries to many; without one each is a write of its own.
        self.bulk: BulkWriter | None = None
        # Runs a function after so many seconds, ``loop.call_later``; without it nothing is held.
        self.later: Callable[[float, Callable[[], None]], object] | None = None
        self._schedule = schedule
        self._scheduled = False
        # What is done first at the end of this turn.
        self._before: dict[Callable[[], None], None] = {}
        self._queue: deque[Waiting] = deque()
        # Fan-outs whose round takes several turns, each in its turn.
        self._rounds: deque[Waiting] = deque()

    def enqueue(self, fanout: Waiting) -> None:
        """Has the fan-out deliver at the end of this turn."""
        fanout.queued = True
        self._queue.append(fanout)
        self._deliver_soon()

    def deliver_later(self, fanout: Waiting, seconds: float) -> bool:
        """Has a fan-out that is in its turn deliver after some milliseconds; False where nothing can be held."""
        if self.later is None:
            return False
        self.later(seconds, lambda: self.enqueue(fanout))
        return True

    def deliver_after(self, work: Callable[[], None]) -> None:
        """Has this done at the end of this turn, before anything is delivered; once, however often it is asked for."""
        self._before[work] = None
        self._deliver_soon()

    def _deliver_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self.deliver)

    def deliver(self) -> None:
        """One turn's worth of writing: what is new first, then a slice of the long rounds that are under way."""
        self._scheduled = False
        budget = SLICE
        waiting = bool(self._rounds)
        queue = self._queue
        if self._before:
            before, self._before = self._before, {}
            for work in before:
                work()
        gathering: list[Waiting] = []
        while queue and budget > 0:
            fanout = queue.popleft()
            writes = fanout.deliver(budget)
            if writes == GATHERING:
                gathering.append(fanout)
            elif writes != HELD:
                budget -= writes
                self._requeue(fanout)
        queue.extendleft(reversed(gathering))
        if waiting:
            # However much is new, a long round goes on.
            fanout = self._rounds.popleft()
            if fanout.deliver(min(max(budget, _LEAST), _MOST)) != HELD:
                self._requeue(fanout)
        self.frames_in_write = 1
        if queue or self._rounds:
            self._deliver_soon()

    def _requeue(self, fanout: Waiting) -> None:
        if fanout.unfinished:
            self._rounds.append(fanout)
        else:
            fanout.queued = False
