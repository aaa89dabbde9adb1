"""`Counters` of a node among others, or over stores outside of the nodes (spec: platform § 10.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sockudo.base.windows import Verdict
from sockudo.cluster.claims import SharedClaims
from sockudo.cluster.counters import InProcessCounters
from sockudo.cluster.owners import OwnerCounts
from sockudo.cluster.ports import Bus, Claimed, Membership
from sockudo.cluster.router import Router
from sockudo.cluster.shared_windows import SharedWindows
from sockudo.cluster.stored_claims import StoredClaims
from sockudo.cluster.stores import CacheStore, WindowStore

__all__ = ["SharedCounters"]


class SharedCounters:
    """Claims are decided by the owner of each key, hits are added up by it. A node that is alone owns everything.

    A store of ``claims`` decides in place of the owners, one of ``windows`` adds up; also for a node that is alone.
    ``now`` is the clock of the times that are passed in. ``allows`` says whether a key is given when there is no
    answer, ``mode`` what holds for hits then.
    """

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        now: Callable[[], float],
        *,
        allows: Callable[[], bool] = lambda: False,
        mode: Callable[[], str] = lambda: "local",
        counts: OwnerCounts | None = None,
        claims: CacheStore | None = None,
        windows: WindowStore | None = None,
    ) -> None:
        counts = counts or OwnerCounts()
        self.local = local = InProcessCounters()
        self._bus = bus
        self._stored = claims is not None
        self._claims: SharedClaims | StoredClaims = (
            SharedClaims(bus, membership, router, local, now, allows, counts)
            if claims is None
            else StoredClaims(claims, membership.me.id, allows, counts)
        )
        self._windows = SharedWindows(bus, membership, router, local, now, mode, counts, windows)
        self.hand_over = self._claims.hand_over

    @property
    def immediate(self) -> bool:
        """Whether every claim is answered at once: while the node is alone and has no store for them."""
        return self._bus.alone and not self._stored

    async def close(self) -> None:
        """Ends what is under way."""
        await self._claims.close()
        await self._windows.close()

    def claim(self, key: tuple[str, ...], mark: bytes, ttl: float, now: float) -> Claimed | Awaitable[Claimed]:
        return self._claims.claim(key, mark, ttl, now)

    def hit(
        self, name: str, key: str, limit: int, seconds: int, now: float, *, cost: int = 1, count_refused: bool = True
    ) -> Verdict:
        return self._windows.hit(name, key, limit, seconds, now, cost=cost, count_refused=count_refused)

    def forget(self, name: str) -> None:
        self.local.forget(name)
