"""Hits that are counted where they come in, and added up soon after: by the owner of each key, or in a store
(spec: platform § 10.4)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Protocol

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.base.windows import Verdict
from sockudo.cluster.counters import InProcessCounters
from sockudo.cluster.items import Request
from sockudo.cluster.owners import OwnerCounts
from sockudo.cluster.ports import DEADLINE, Bus, Membership
from sockudo.cluster.router import Router
from sockudo.cluster.stores import Added, WindowPlace, WindowStore
from sockudo.errors import SockudoError

__all__ = ["SharedWindows"]

_INTERVAL: Final = 0.1
# Keys in one request, and how many of this node are sent at all: those beyond are counted here alone.
_KEYS_AT_ONCE: Final = 1000
_MOST_KEYS: Final = 20_000
# For how many seconds a store that failed counts as away without being asked again: longer than a call takes.
_REMEMBERED: Final = 10.0
# Windows whose ends differ by no more seconds are the same.
_SKEW: Final = 0.5


class AddHits(Request, frozen=True, tag="hits"):
    """Adds hits at the owner of these keys, which answers with the count and the seconds left of each, in order."""

    reply: ClassVar = list[tuple[int, float]]

    hits: tuple[Added, ...]


class _Adders(Protocol):
    """Who adds up the hits of this node; whether they are still there when it closes."""

    outlive: bool

    @property
    def needed(self) -> bool:
        """Whether other nodes count too."""
        ...

    def of(self, place: WindowPlace) -> str:
        """The one that adds up those of a window; ``""`` for this node itself."""
        ...

    def is_there(self, adder: str) -> bool:
        """Whether it may answer the next time."""
        ...

    def is_down(self, now: float) -> bool:
        """Whether it is known, of every key at once, that nothing is added up."""
        ...

    async def add(self, adder: str, hits: Sequence[Added]) -> Sequence[tuple[int, float]]:
        """The totals and what is left of the windows; fewer than ``hits`` when it does not answer."""
        ...


class _Owners:
    """The nodes: each adds up those of its keys."""

    outlive = False

    def __init__(self, bus: Bus, membership: Membership) -> None:
        self._bus = bus
        self._membership = membership
        self.is_there = membership.is_alive

    @property
    def needed(self) -> bool:
        return not self._bus.alone

    def is_down(self, now: float) -> bool:
        return False

    def of(self, place: WindowPlace) -> str:
        owner = self._membership.owner(f"window/{place.name}/{place.key}").id
        return "" if owner == self._membership.me.id or self._bus.alone else owner

    async def add(self, adder: str, hits: Sequence[Added]) -> Sequence[tuple[int, float]]:
        answers = await self._bus.ask(AddHits(tuple(hits)), deadline=DEADLINE, nodes=[adder])
        return answers.values.get(adder) or ()


class _InStore:
    """A store that adds up all of them."""

    outlive = True
    needed = True

    def __init__(self, store: WindowStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._failed_at: float | None = None

    def is_down(self, now: float) -> bool:
        # Where nothing was counted for long, nothing is known.
        return self._failed_at is not None and now - self._failed_at < _REMEMBERED

    def of(self, place: WindowPlace) -> str:
        return "store"

    def is_there(self, adder: str) -> bool:
        return True

    async def add(self, adder: str, hits: Sequence[Added]) -> Sequence[tuple[int, float]]:
        try:
            totals = await self._store.add(hits)
        except SockudoError:
            # The check of the store says why.
            self._failed_at = self._now()
            return ()
        self._failed_at = None
        return totals


class SharedWindows:
    """The windows of one node among others, over those in ``local``; with a ``store`` it adds up, else their owners.

    ``mode`` says what holds while the hits of a key are not added up: ``local``, a share of the limit on each node;
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
        store: WindowStore | None = None,
    ) -> None:
        self._counts = counts
        self._adders: _Adders = _Owners(bus, membership) if store is None else _InStore(store, now)
        self._membership = membership
        self._local = local
        self._now = now
        self._mode = mode
        self._added: dict[WindowPlace, int] = {}
        # Keys whose adder did not answer the last time.
        self._away: dict[WindowPlace, str] = {}
        self._exchanging: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        router.on_request(AddHits, self._add)

    async def close(self) -> None:
        """Ends the exchange. A store still gets what was counted, if it takes that within a second."""
        if self._timer is not None:
            self._timer.cancel()
        if self._adders.outlive:
            self._exchange()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=DEADLINE)
        await end_tasks(self._tasks)

    def hit(
        self, name: str, key: str, limit: int, seconds: int, now: float, *, cost: int, count_refused: bool
    ) -> Verdict:
        """See `Counters.hit`."""
        if not self._adders.needed:
            return self._local.hit(name, key, limit, seconds, now, cost=cost, count_refused=count_refused)
        place = WindowPlace(name, key, seconds)
        away = place in self._away or self._adders.is_down(now)
        mode = self._mode() if away else "local"
        share = max(limit // len(self._membership.live()), 1) if away and mode == "local" else limit
        verdict = self._local.hit(name, key, share, seconds, now, cost=cost, count_refused=count_refused)
        if verdict.allowed or count_refused:
            self._note(place, cost)
        return verdict._replace(allowed=mode == "open") if away and mode != "local" else verdict

    def _note(self, place: WindowPlace, cost: int) -> None:
        if place not in self._added and len(self._added) >= _MOST_KEYS:
            self._counts.hits_left_out += cost
            return
        self._added[place] = self._added.get(place, 0) + cost
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._exchange)

    # ---- with those who add up ----

    def _exchange(self) -> None:
        self._timer = None
        added, self._added = self._added, {}
        by_adder: defaultdict[str, list[Added]] = defaultdict(list)
        now = self._now()
        for place, count in added.items():
            adder = self._adders.of(place)
            if not adder:
                self._away.pop(place, None)
                continue
            if adder in self._exchanging:
                # It has not answered yet.
                self._note(place, count)
                continue
            window = self._local.window(*place, now)
            by_adder[adder].append(Added(place, count, window.count, window.ends - now))
        for adder, hits in by_adder.items():
            self._exchanging.add(adder)
            [task] = start_tasks(self._exchange_with(adder, hits))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _exchange_with(self, adder: str, hits: list[Added]) -> None:
        try:
            for start in range(0, len(hits), _KEYS_AT_ONCE):
                batch = hits[start : start + _KEYS_AT_ONCE]
                totals = await self._adders.add(adder, batch)
                for one, (count, left) in zip(batch, totals, strict=False):
                    self._learn(one.place, count, left)
                for one in batch[len(totals) :]:
                    self._miss(one, adder)
        finally:
            self._exchanging.discard(adder)

    def _learn(self, place: WindowPlace, count: int, left: float) -> None:
        now = self._now()
        self._away.pop(place, None)
        window = self._local.window(*place, now)
        window.count = count + self._added.get(place, 0)
        window.ends = now + left

    def _miss(self, one: Added, adder: str) -> None:
        """There was no answer: the hits wait for the next time, while their window is open."""
        self._counts.hits_unanswered += one.added
        now = self._now()
        if self._adders.is_there(adder) and len(self._away) < _MOST_KEYS:
            self._away[one.place] = adder
        if one.left > DEADLINE:
            self._note(one.place, one.added)
        else:
            self._away.pop(one.place, None)
        for place, away in tuple(self._away.items()):
            if not self._adders.is_there(away) or self._local.window(*place, now).count == 0:
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
