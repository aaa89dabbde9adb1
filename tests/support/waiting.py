"""Waiting for something another process or thread does: bounded, and told what was missing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PATIENCE", "Mailbox", "settle", "until", "wait_until"]

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which a test gives up: far above what a healthy run needs, so that a busy machine fails nothing."""

_LONGEST_PAUSE = 0.1


def wait_until(condition: Callable[[], T | None], what: str, *, timeout: float = PATIENCE) -> T:
    """The first truthy value of ``condition``; for state that nobody announces (a count behind an HTTP route)."""
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        if waited > timeout:
            raise AssertionError(f"waited {timeout:g} s for {what}; last seen: {value!r}")
        # The longer it takes, the less a little more of it matters, and to look may cost another process a lot.
        time.sleep(min(max(0.01, waited / 10), _LONGEST_PAUSE))


async def until(
    condition: Callable[[], object],
    what: str = "what other tasks bring about",
    *,
    seconds: float = PATIENCE,
    pause: float = 0.005,
) -> None:
    """The same for other tasks of this loop, in the loop's time; with a ``pause`` of 0 it looks at each turn."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(pause)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s for {what}") from None


async def settle(most: int = 50) -> None:
    """Lets every task run until none has a turn to take, and for ``most`` turns of the loop where that never comes."""
    # Idle turns cost as much as others, and there is no public way to ask whether the next one will be one.
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    for _ in range(most):
        await asyncio.sleep(0)
        if not ready:
            return


class Mailbox(Generic[T]):
    """Everything a client has reported, in order, for a test that waits on another thread.

    `next` hands out each entry once, whatever order a test asks in: what happens on two channels, or on a channel and
    the connection, has no order that a test could rely on.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._entries: list[T] = []
        self._unread: list[T] = []
        self._news = threading.Condition()

    def put(self, entry: T) -> None:
        with self._news:
            self._entries.append(entry)
            self._unread.append(entry)
            self._news.notify_all()

    @property
    def seen(self) -> list[T]:
        """A copy of all entries so far, read or not."""
        with self._news:
            return list(self._entries)

    def next(self, matches: Callable[[T], bool], what: str, *, timeout: float = PATIENCE) -> T:
        """The oldest matching entry that was not handed out before; waits for one."""
        deadline = time.monotonic() + timeout
        with self._news:
            position = 0
            while True:
                while position < len(self._unread):
                    if matches(self._unread[position]):
                        return self._unread.pop(position)
                    position += 1
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    tail = "\n  ".join(repr(entry) for entry in self._entries[-20:])
                    raise AssertionError(f"{self.name}: waited {timeout:g} s for {what}; the last entries:\n  {tail}")
                self._news.wait(remaining)
