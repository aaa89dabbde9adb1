"""Notices from outside that the event loop stands still."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["STILL_SECONDS", "Watchdog"]

STILL_SECONDS: Final = 10.0

_LOOKS: Final = 10


class Watchdog:
    """Calls ``still``, in a thread of its own, once the loop has stood still for ``seconds``; again after a next time.

    For what others wait for while this process does nothing.
    """

    def __init__(self, still: Callable[[], None], seconds: float = STILL_SECONDS) -> None:
        self._still = still
        self._seconds = seconds
        self._turned = time.monotonic()
        self._closed = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._watch, name="loop-watchdog", daemon=True)

    def start(self) -> None:
        """Begins, on the loop that is watched."""
        self._turn()
        self._thread.start()

    def close(self) -> None:
        """Ends it; ``still`` is not called any more."""
        self._closed.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread.is_alive():
            self._thread.join()

    def _turn(self) -> None:
        self._turned = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(self._seconds / _LOOKS, self._turn)

    def _watch(self) -> None:
        reported = 0.0
        while not self._closed.wait(self._seconds / _LOOKS):
            turned = self._turned
            if turned != reported and time.monotonic() - turned > self._seconds:
                reported = turned
                self._still()
