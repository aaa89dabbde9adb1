"""Which capability tokens are no longer worth anything, though their time has not come (spec: http-api § 8.2).

A revocation is of one ``jti`` or of one client id and holds until it ends, for every token that has it: one made after
the revocation is refused as well. Answers come from memory, which is filled from the store at the start, so that
asking costs nothing and a restart forgets nothing; what another process records in the store is in force here within a
second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from sockudo import errors
from sockudo.auth.ports import Kind, Revocation, RevocationStore
from sockudo.auth.tokens import Token

__all__ = ["Kind", "Revocation", "Revocations"]

_log = structlog.get_logger("sockudo.auth")

_MAX_PER_APP: Final = 1_000_000
# Seconds between two looks for those that have ended: a look goes through all of them.
_LOOK_EVERY: Final = 60


class Revocations:
    """Every revocation in force. Times are Unix seconds.

    Bounded by what the apps' backends ask for, and by a million per app. Until `start` has returned no token can be
    vouched for. Without a store revocations last as long as the process.
    """

    def __init__(self, store: RevocationStore | None = None) -> None:
        self._store = store
        # When each one ends, by app.
        self._ends: dict[str, dict[tuple[Kind, str], float]] = {}
        self._complete = False
        self._revision: int | None = None
        self._look_at = 0.0

    async def start(self, now: float) -> None:
        """Reads what is in force. Raises errors.SERVICE_UNAVAILABLE when the store cannot be read; `watch` goes on
        trying then.
        """
        if self._store is not None:
            await self._store.start()
        await self._look(now)
        self._complete = True

    async def stop(self) -> None:
        """Closes the store. What is in force stays so."""
        if self._store is not None:
            await self._store.stop()

    async def watch(
        self, interval: float, now: Callable[[], float], on_news: Callable[[Sequence[Revocation]], None]
    ) -> None:
        """Looks into the store every ``interval`` seconds until cancelled, and passes on what it has put in force.

        That may be what this process has recorded itself. A store that does not answer is logged once, and when it is
        back.
        """
        failing = False
        while self._store is not None:
            await asyncio.sleep(interval)
            try:
                if not self._complete:
                    await self.start(now())
                news = await self._look(now())
            except errors.SockudoError as error:
                if not failing:
                    _log.error("revocations of other processes are not known", reason=error.text)
                failing = True
                continue
            if failing:
                _log.info("the revocation store answers again")
            failing = False
            if news:
                on_news(news)

    async def _look(self, now: float) -> Sequence[Revocation]:
        if self._store is None:
            return ()
        self._revision, news = await self._store.changes(self._revision, now)
        self.add(news)
        return news

    async def revoke(self, revocations: Sequence[Revocation], now: float) -> None:
        """Puts revocations of one app in force, now and after a restart. None can be taken back or made shorter.

        Raises errors.SERVICE_UNAVAILABLE when they could not be kept and errors.LIMIT_EXCEEDED when the app has a
        million already; then nothing has changed.
        """
        self._forget_ended(now)
        for revocation in revocations:
            if len(self._ends.get(revocation.app_id, ())) + len(revocations) > _MAX_PER_APP:
                raise errors.LIMIT_EXCEEDED(
                    f"The app has {_MAX_PER_APP} revocations in force: wait until some of them end"
                )
        if self._store is not None:
            await self._store.record(revocations, now)
        self.add(revocations)

    def check(self, app_id: str, token: Token, now: float) -> None:
        """Raises errors.TOKEN_REFUSED for a token that was revoked, errors.TOKEN_UNVERIFIED when that is not known."""
        if not self._complete:
            raise errors.TOKEN_UNVERIFIED()
        if self.is_revoked(app_id, token, now):
            raise errors.TOKEN_REFUSED("Authentication error: capability token has been revoked")

    def is_revoked(self, app_id: str, token: Token, now: float) -> bool:
        """Whether a revocation that is known here covers the token of this app."""
        ends = self._ends.get(app_id)
        if ends is None:
            return False
        return now < max(ends.get(("jti", token.jti), 0.0), ends.get(("client_id", token.client_id), 0.0))

    def add(self, revocations: Sequence[Revocation]) -> None:
        """Puts in force what is kept already, here or by another node. The same one twice does nothing."""
        for revocation in revocations:
            ends = self._ends.setdefault(revocation.app_id, {})
            key = revocation.kind, revocation.value
            ends[key] = max(revocation.until, ends.get(key, 0.0))

    def _forget_ended(self, now: float) -> None:
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY
        for app_id, ends in list(self._ends.items()):
            left = {key: until for key, until in ends.items() if now < until}
            if left:
                self._ends[app_id] = left
            else:
                del self._ends[app_id]
