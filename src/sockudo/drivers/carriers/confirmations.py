"""Names that a carrier subscribes to in one turn of the loop, and who waits until the broker has confirmed them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

__all__ = ["Confirmations"]


class Confirmations:
    """What a broker has confirmed on the present connection, what waits for it, and what is still to be asked for."""

    def __init__(self) -> None:
        self._confirmed: set[str] = set()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._unasked: dict[str, None] = {}

    def ask(self, name: str, *, connected: bool) -> Awaitable[None]:
        """Is done once the broker has confirmed ``name``: at once where it has and ``connected`` holds."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if connected and name in self._confirmed:
            done.set_result(None)
            return done
        if name not in self._waiting:
            self._unasked[name] = None
        self._waiting.setdefault(name, []).append(done)
        return done

    def forget(self, name: str) -> bool:
        """Waits for ``name`` no more: who waited goes on. True if the broker was asked for it."""
        self._confirmed.discard(name)
        asked = name not in self._unasked
        self._unasked.pop(name, None)
        self._end_waits(name)
        return asked

    def take_unasked(self) -> list[str]:
        """The names that the broker was not asked for yet, in the order in which they came."""
        names, self._unasked = list(self._unasked), {}
        return names

    def begin(self, names: Iterable[str] = ()) -> None:
        """Starts over on a new connection, where nothing is confirmed and ``names`` are to be asked for."""
        self._confirmed.clear()
        self._unasked = dict.fromkeys(names)

    def confirm(self, names: Iterable[str]) -> None:
        """Takes the broker's confirmation of ``names``."""
        for name in names:
            self._confirmed.add(name)
            self._end_waits(name)

    def _end_waits(self, name: str) -> None:
        for waiting in self._waiting.pop(name, ()):
            if not waiting.done():
                waiting.set_result(None)
