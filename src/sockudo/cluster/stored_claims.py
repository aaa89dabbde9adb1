"""Keys that are claimed once in a store outside of the nodes (spec: platform § 10.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Final

import structlog

from sockudo import errors
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.owners import OwnerCounts, Sleep
from sockudo.cluster.ports import Claimed
from sockudo.cluster.stores import CacheStore
from sockudo.errors import SockudoError

__all__ = ["StoredClaims"]

_Key = tuple[str, ...]

# Seconds that a key stays claimed without its node, and those after which a node that lives renews that.
_LEASE: Final = 15.0
_RENEWED: Final = 5.0
# Seconds after which a key that is under way is looked at again: perhaps it is done, and the store does not know yet.
_PATIENCE: Final = (0.02, 0.08)
# How often the end of a claim is sent, and the seconds in between.
_ENDS: Final = 3
_PAUSE: Final = 1.0

_log = structlog.get_logger("sockudo.cluster")


class _Stored:
    """A claim in the store, or one that nothing keeps (``name`` is None)."""

    __slots__ = ("_claims", "ended", "key", "mark", "name", "ttl")

    def __init__(self, claims: StoredClaims, key: _Key, mark: bytes, ttl: float, name: str | None) -> None:
        self._claims = claims
        self.key = key
        self.mark = mark
        self.ttl = ttl
        self.name = name
        self.ended = name is None

    def complete(self, reply: bytes, now: float) -> None:
        self._claims.end(self, reply)

    def release(self) -> None:
        self._claims.end(self, None)


class StoredClaims:
    """The claims of one node. ``node`` makes their names differ from those of the others.

    ``allows`` is asked when the store does not answer: whether the key is given all the same, at the risk that
    something is done twice.
    """

    def __init__(
        self,
        store: CacheStore,
        node: str,
        allows: Callable[[], bool],
        counts: OwnerCounts,
        sleep: Sleep = asyncio.sleep,
        patience: Sequence[float] = _PATIENCE,
    ) -> None:
        self._store = store
        self._node = node
        self._allows = allows
        self._counts = counts
        self._sleep = sleep
        self._patience = patience
        self._count = 0
        # Claims under way, by name, and ends that the store does not know yet, by key.
        self._open: dict[str, _Stored] = {}
        self._ending: dict[_Key, asyncio.Task[None]] = {}
        self._renewing: list[asyncio.Task[None]] = []

    async def close(self) -> None:
        """Returns when the store knows what has ended, or does not answer."""
        while self._ending:
            await asyncio.wait(self._ending.values())
        await end_tasks(self._renewing)

    async def hand_over(self) -> None:
        """Nothing is kept here."""

    def claim(self, key: _Key, mark: bytes, ttl: float, _now: float) -> Awaitable[Claimed]:
        """See `Counters.claim`."""
        return self._claim(key, mark, ttl)

    async def _claim(self, key: _Key, mark: bytes, ttl: float) -> Claimed:
        while (ending := self._ending.get(key)) is not None:
            await asyncio.wait({ending})
        self._count += 1
        name = f"{self._node}:{self._count}"
        try:
            outcome, reply = await self._store.claim(_hash(key), mark, name, _LEASE)
            for pause in self._patience if outcome == "running" else ():
                await self._sleep(pause)
                outcome, reply = await self._store.claim(_hash(key), mark, name, _LEASE)
                if outcome != "running":
                    break
        except SockudoError as problem:
            self._counts.keys_unanswered += 1
            if not self._allows():
                raise _unavailable(problem) from problem
            self._counts.keys_allowed += 1
            return _Stored(self, key, mark, ttl, None)
        if outcome != "claimed":
            return reply if outcome == "done" else outcome
        claim = self._open[name] = _Stored(self, key, mark, ttl, name)
        if not self._renewing or self._renewing[0].done():
            self._renewing = start_tasks(self._renew())
        return claim

    async def _renew(self) -> None:
        """Has the store know, while anything is under way, that this node lives."""
        while self._open:
            await self._sleep(_RENEWED)
            renewed = (self._store.claim(_hash(each.key), each.mark, name, _LEASE) for name, each in self._open.items())
            # What is not answered is renewed the next time, or the lease ends.
            await asyncio.gather(*renewed, return_exceptions=True)

    def end(self, claim: _Stored, reply: bytes | None) -> None:
        """Ends a claim; a second end does nothing."""
        if claim.ended or claim.name is None:
            return
        claim.ended = True
        del self._open[claim.name]
        [self._ending[claim.key]] = start_tasks(self._end(claim, claim.name, reply))

    async def _end(self, claim: _Stored, name: str, reply: bytes | None) -> None:
        try:
            for attempt in range(_ENDS):
                if attempt:
                    await self._sleep(_PAUSE)
                try:
                    await self._store.end(_hash(claim.key), claim.mark, name, reply, claim.ttl)
                    return
                except SockudoError as problem:
                    reason = problem.text
            _log.error("the cache does not know that an idempotency key was used", reason=reason)
        finally:
            self._ending.pop(claim.key, None)


def _hash(key: _Key) -> bytes:
    return blake2b("\0".join(("key", *key)).encode(), digest_size=16).digest()


def _unavailable(problem: SockudoError) -> SockudoError:
    return errors.SERVICE_UNAVAILABLE(
        "Service unavailable: idempotency keys cannot be looked up: the cache does not answer (idempotency.on_failure)",
        retry_after=1,
        likely_cause=problem.text,
    )
