"""Lets a server start before its database answers, with the apps that its configuration names
(spec: platform § 1.7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from sockudo import errors
from sockudo.apps.origins import configure
from sockudo.apps.ports import AppStore, Edit, Origin
from sockudo.config.apps import App
from sockudo.drivers.memory_apps import MemoryAppStore

__all__ = ["RETRY_SECONDS", "StandInAppStore"]

RETRY_SECONDS: Final = 5.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class StandInAppStore:
    """An app store that may come later: until it answers for the first time, apps are kept in memory.

    They are put into the store when it is there, just as at a start (`sockudo.apps.origins`). It is tried again every
    `RETRY_SECONDS` at most, whenever the revision is asked for.
    """

    def __init__(self, store: AppStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._memory = MemoryAppStore()
        self._current: AppStore = store
        self._clock = clock
        self._next_try = 0.0
        self._told = ""
        self._passed = 0

    async def start(self) -> None:
        self._current = self._store
        try:
            await self._store.start()
        except errors.SockudoError as error:
            self._current = self._memory
            self._missed(error)

    async def stop(self) -> None:
        await self._store.stop()

    async def all(self) -> Sequence[App]:
        return await self._current.all()

    async def origins(self) -> Mapping[str, Origin | None]:
        return await self._current.origins()

    async def save(self, app: App, origin: Origin | None = None) -> None:
        await self._current.save(app, origin)

    async def change(self, app_id: str, edit: Edit) -> App:
        return await self._current.change(app_id, edit)

    async def remove(self, app_id: str) -> bool:
        return await self._current.remove(app_id)

    async def revision(self) -> int:
        if self._current is self._memory and self._clock() >= self._next_try:
            await self._try_again()
        return self._passed + await self._current.revision()

    async def _try_again(self) -> None:
        try:
            await self._store.start()
            origins = await self._memory.origins()
            apps = await self._memory.all()
            await configure(self._store, [app for app in apps if origins[app.id] is Origin.CONFIGURATION])
            for app in apps:
                await self._store.save(app, origins[app.id])
        except errors.SockudoError as error:
            self._missed(error)
        else:
            self._passed = 1 + await self._memory.revision()
            self._current = self._store
            _log.info("app store answers; its apps are served as well")

    def _missed(self, error: errors.SockudoError) -> None:
        self._next_try = self._clock() + RETRY_SECONDS
        if error.text != self._told:
            self._told = error.text
            _log.error("only the apps of the configuration are served, from memory", reason=error.text)
