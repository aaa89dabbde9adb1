"""Hits that are counted where they come in, and added up by the owner of each key soon after
(spec: platform § 10.4)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.base.windows import Verdict
from sockudo.cluster.counters import InProcessCounters
from sockudo.cluster.items import Request
from sockudo.cluster.owners import OwnerCounts
from sockudo.cluster.ports import DEADLINE, Bus, Membership
from sockudo.cluster.router import Router

__all__ = ["SharedWindows"]

_INTERVAL: Final = 0.1
# Keys in one request, and how many of this node are sent at all: those beyond are counted here alone.
_KEYS_AT_ONCE: Final = 1000
_MOST_KEYS: Final = 20_000
# Windows whose ends differ by no more seconds are the same.
_SKEW: Final = 0.5


class _Place(NamedTuple):
    name: str
    key: str
    seconds: int


class _Added(NamedTuple):
    """What a node counted since the last exchange, what it knows to be counted in all, and the seconds left."""

    place: _Place
    added: int
    total: int
    left: float


class AddHits(Request, frozen=True, tag="hits"):
    """Adds hits at the owner of these keys, which answers with the count and the seconds left of each, in order."""

    reply: ClassVar = list[tuple[int, float]]

    hits: tuple[_Added, ...]


class SharedWindows:
    """The windows of one node among others, over those in ``local``.

    ``mode`` says what holds while the owner of a key does not answer: ``local``, a share of the limit on each node;
    ``open``, no limit; ``closed``, nothing passes.
    """

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        local: InProcessCounters,
        now: Callable[[], float],
        mode: Callable[[], str],
        counts: OwnerCounts,
    ) -> None:
        self._counts = counts
        self._bus = bus
        self._membership = membership
        self._local = local
        self._now = now
        self._mode = mode
        self._added: dict[_Place, int] = {}
        # Keys whose owner did not answer the last time, with its node id.
        self._away: dict[_Place, str] = {}
        self._exchanging: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        router.on_request(AddHits, self._add)

    async def close(self) -> None:
        """Ends the exchange."""
        if self._timer is not None:
            self._timer.cancel()
        await end_tasks(self._tasks)

    def hit(
        self, name: str, key: str, limit: int, seconds: int, now: float, *, cost: int, count_refused: bool
    ) -> Verdict:
        """See `Counters.hit`."""
        if self._bus.alone:
            return self._local.hit(name, key, limit, seconds, now, cost=cost, count_refused=count_refused)
        place = _Place(name, key, seconds)
        away = place in self._away
        mode = self._mode() if away else "local"
        share = max(limit // len(self._membership.live()), 1) if away and mode == "local" else limit
        verdict = self._local.hit(name, key, share, seconds, now, cost=cost, count_refused=count_refused)
        if verdict.allowed or count_refused:
            self._note(place, cost)
        return verdict._replace(allowed=mode == "open") if away and mode != "local" else verdict

    def _note(self, place: _Place, cost: int) -> None:
        if place not in self._added and len(self._added) >= _MOST_KEYS:
            self._counts.hits_left_out += cost
            return
        self._added[place] = self._added.get(place, 0) + cost
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._exchange)

    # ---- with the owners ----

    def _exchange(self) -> None:
        self._timer = None
        added, self._added = self._added, {}
        by_owner: defaultdict[str, list[_Added]] = defaultdict(list)
        me, now = self._membership.me.id, self._now()
        for place, count in added.items():
            owner = self._membership.owner(f"window/{place.name}/{place.key}").id
            if owner == me or self._bus.alone:
                self._away.pop(place, None)
                continue
            if owner in self._exchanging:
                # It has not answered yet.
                self._note(place, count)
                continue
            window = self._local.window(*place, now)
            by_owner[owner].append(_Added(place, count, window.count, window.ends - now))
        for owner, hits in by_owner.items():
            self._exchanging.add(owner)
            [task] = start_tasks(self._exchange_with(owner, hits))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _exchange_with(self, owner: str, hits: list[_Added]) -> None:
        try:
            for start in range(0, len(hits), _KEYS_AT_ONCE):
                batch = hits[start : start + _KEYS_AT_ONCE]
                answers = await self._bus.ask(AddHits(tuple(batch)), deadline=DEADLINE, nodes=[owner])
                totals: list[tuple[int, float]] = answers.values.get(owner) or []
                for one, (count, left) in zip(batch, totals, strict=False):
                    self._learn(one.place, count, left)
                for one in batch[len(totals) :]:
                    self._miss(one, owner)
        finally:
            self._exchanging.discard(owner)

    def _learn(self, place: _Place, count: int, left: float) -> None:
        now = self._now()
        self._away.pop(place, None)
        window = self._local.window(*place, now)
        window.count = count + self._added.get(place, 0)
        window.ends = now + left

    def _miss(self, one: _Added, owner: str) -> None:
        """The owner did not answer: the hits wait for the next time, while their window is open."""
        self._counts.hits_unanswered += one.added
        now = self._now()
        if self._membership.is_alive(owner) and len(self._away) < _MOST_KEYS:
            self._away[one.place] = owner
        if one.left > DEADLINE:
            self._note(one.place, one.added)
        else:
            self._away.pop(one.place, None)
        for place, away in tuple(self._away.items()):
            if not self._membership.is_alive(away) or self._local.window(*place, now).count == 0:
                del self._away[place]

    def _add(self, request: AddHits) -> list[tuple[int, float]]:
        now = self._now()
        totals = []
        for place, added, total, left in request.hits[:_KEYS_AT_ONCE]:
            window = self._local.window(*place, now)
            if not window.count:
                # It begins with the first hit, wherever that was.
                window.ends = now + left
            same = abs(window.ends - now - left) <= _SKEW
            # The sender may know of hits that were counted by an owner before this one.
            window.count = max(window.count + added, total if same else 0)
            totals.append((window.count, window.ends - now))
        return totals
