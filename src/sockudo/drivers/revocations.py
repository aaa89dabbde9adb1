"""Revocations in a file of the data directory, which is made by the first one.

A server that has none needs neither the file nor what works on databases, so both wait until something is revoked,
here or by another process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sockudo.auth.ports import Revocation

if TYPE_CHECKING:
    from sockudo.drivers.sql.revocations import SqlRevocations

__all__ = ["RevocationFile"]


class RevocationFile:
    """A `RevocationStore` in this file, which is opened once it is there, or once there is something to keep."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._store: SqlRevocations | None = None
        # Two callers at once must not open it twice.
        self._opening = asyncio.Lock()

    async def start(self) -> None:
        if self._there():
            await self._open()

    async def stop(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            await store.stop()

    async def changes(self, seen: int | None, now: float) -> tuple[int, Sequence[Revocation]]:
        if not self._there():
            return 0, ()
        return await (await self._open()).changes(seen, now)

    async def record(self, revocations: Sequence[Revocation], now: float) -> None:
        await (await self._open()).record(revocations, now)

    async def _open(self) -> SqlRevocations:
        async with self._opening:
            if self._store is not None and not self._there():
                await self.stop()
            if self._store is None:
                # Takes a while to import.
                from sockudo.drivers.sql.revocations import sqlite_revocations

                store = sqlite_revocations(self.path)
                await store.start()
                self._store = store
            return self._store

    def _there(self) -> bool:
        try:
            self.path.stat()
        except FileNotFoundError:
            return False
        except OSError:
            # A hidden file must not pass for no revocations; opening it says what that is.
            pass
        return True
