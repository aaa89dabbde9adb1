"""`Counters` of a node among others, without a store (spec: platform § 10.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sockudo.base.windows import Verdict
from sockudo.cluster.claims import SharedClaims
from sockudo.cluster.counters import InProcessCounters
from sockudo.cluster.owners import OwnerCounts
from sockudo.cluster.ports import Bus, Claimed, Membership
from sockudo.cluster.router import Router
from sockudo.cluster.shared_windows import SharedWindows

__all__ = ["SharedCounters"]


class SharedCounters:
    """Claims are decided by the owner of each key, hits are added up by it. A node that is alone owns everything.

    ``now`` is the clock of the times that are passed in. ``allows`` says whether a key is given when its owner does not
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
    ) -> None:
        counts = counts or OwnerCounts()
        self.local = local = InProcessCounters()
        self._bus = bus
        self._claims = SharedClaims(bus, membership, router, local, now, allows, counts)
        self._windows = SharedWindows(bus, membership, router, local, now, mode, counts)
        self.hand_over = self._claims.hand_over

    @property
    def immediate(self) -> bool:
        """Whether every claim is answered at once: while the node is alone."""
        return self._bus.alone

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
