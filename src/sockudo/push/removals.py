"""Apps that were removed: nothing more is sent for them, and what they have here is deleted in the background.

The removal of an app is noted here; an app that is only not there, since a configuration names it no more or a store
cannot be read, loses nothing. Every process that has the store open does the work, from where another one has left it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.errors import SockudoError
from sockudo.jobs.ports import JobQueue
from sockudo.push.delivery import PushProvider, Readiness, Sent
from sockudo.push.ports import PushStore, Removal
from sockudo.push.recipients import Recipient

__all__ = ["GRACE_MS", "SETTLED_MS", "ForLivingApps", "Removals"]

GRACE_MS: Final = 20_000
"""From the removal of an app until deleting begins: longer than any process takes to notice that it is there again."""

SETTLED_MS: Final = 90_000
"""From the removal until nothing of the app can be on its way any more: its sends, and their reports."""

_TICK: Final = 5.0
_STEP: Final = 500
# Others get their turn at the store.
_PAUSE: Final = 0.02

_log = structlog.get_logger("sockudo.push")


class Removals:
    """``lives`` answers whether an app is served. While the queue is not open its messages stay, and so does the note
    of the removal.

    Its owner loads it before anything is sent, and runs `run` as a task.
    """

    def __init__(
        self, store: PushStore, queue: Component[JobQueue], clock: Clock, lives: Callable[[str], bool]
    ) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        self._lives = lives
        self._gone: set[str] = set()
        # Not noted yet.
        self._unsaved: set[str] = set()

    def is_gone(self, app_id: str) -> bool:
        """Whether nothing may be sent for the app any more. An app that is served here is not gone."""
        return app_id in self._gone and not self._lives(app_id)

    async def begin(self, app_id: str) -> None:
        """The app is about to be removed; one that stays keeps what it has, and its note ends in a while.

        When the store does not answer, this process goes on trying to tell it.
        """
        self._gone.add(app_id)
        try:
            await self._store.note_removal(app_id, self._now_ms())
        except SockudoError as problem:
            self._unsaved.add(app_id)
            _log.error("the removal of an app is not noted yet", app_id=app_id, reason=problem.text)

    async def load(self) -> list[Removal]:
        """Looks which apps are noted. Raises errors.SERVICE_UNAVAILABLE."""
        found = await self._store.removals()
        self._gone = {removal.app_id for removal in found} | self._unsaved
        return found

    async def run(self) -> None:
        """For ever."""
        failing = False
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self.round()
                failing = False
            except SockudoError as problem:
                if not failing:
                    _log.error("data of removed apps cannot be deleted for now", reason=problem.text)
                failing = True

    async def round(self) -> None:
        """Goes on with every app that is noted. Raises errors.SERVICE_UNAVAILABLE; nothing is lost by that."""
        for app_id in sorted(self._unsaved):
            await self._store.note_removal(app_id, self._now_ms())
            self._unsaved.discard(app_id)
        for removal in await self.load():
            if self._now_ms() - removal.removed_at_ms >= GRACE_MS:
                await self._go_on(removal)

    async def _go_on(self, removal: Removal) -> None:
        app_id, deleted = removal.app_id, 0
        while not self._lives(app_id):
            count = await self._step(app_id)
            deleted += count
            if not count:
                break
            await asyncio.sleep(_PAUSE)
            # Another process may have learnt meanwhile that it is there again.
            if removal not in await self.load():
                return
        if deleted:
            _log.info("push data of a removed app is deleted", app_id=app_id, rows=deleted)
        lives = self._lives(app_id)
        if lives:
            _log.info("an app that was to be removed is there and keeps what it has", app_id=app_id)
        if lives or (self._queue.is_open and self._now_ms() - removal.removed_at_ms >= SETTLED_MS):
            await self._store.end_removal(app_id)
            self._gone.discard(app_id)

    async def _step(self, app_id: str) -> int:
        """What is still to be sent goes first."""
        queue = self._queue.if_open
        count = 0 if queue is None else await queue.forget(app_id, _STEP)
        return count or await self._store.delete_app(app_id, _STEP)

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)


class ForLivingApps:
    """A `PushProvider` that is asked nothing more for an app that was removed."""

    def __init__(self, provider: PushProvider, removals: Removals) -> None:
        self._provider = provider
        self._removals = removals

    async def send(
        self, app_id: str, payload: Mapping[str, Any], recipient: Recipient, *, expires_at_ms: int | None
    ) -> Sent:
        if self._removals.is_gone(app_id):
            return Sent("cancelled")
        return await self._provider.send(app_id, payload, recipient, expires_at_ms=expires_at_ms)

    async def readiness(self, app_id: str) -> Readiness:
        return await self._provider.readiness(app_id)

    async def close(self) -> None:
        await self._provider.close()
