"""An event loop whose time jumps: what takes minutes of waiting happens at once, in the same order every time."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar

__all__ = ["START", "LoopClock", "in_virtual_time", "run_in_virtual_time"]

START: Final = 1_767_225_600.0
"""Unix seconds at which virtual time begins."""

P = ParamSpec("P")
T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """Instead of waiting, moves the loop's clock to where the wait would have ended."""

    loop: _VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # One is the loop's own, for other threads.
        ready = super().select(0) if len(self.get_map()) > 1 else []
        if not ready and timeout is None:
            raise RuntimeError("everything waits for something that nobody will do")
        if not ready and timeout:
            self.loop.now += timeout
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = _Jumping()
        selector.loop = self
        self.now = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self.now


class LoopClock:
    """A `sockudo.base.clock.Clock` that shows the running loop's time; it begins at 0 and at `START`.

    The time of day is ``behind`` by so many seconds once somebody puts it back.
    """

    behind = 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def time(self) -> float:
        return START + self.monotonic() - self.behind

    def ms(self) -> int:
        """Unix milliseconds."""
        return int(self.time() * 1000)


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine on a loop that never waits."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(work)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs a test on a loop that never waits. It must not use threads, and sockets only to itself."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_in_virtual_time(test(*args, **kwargs))

    return run
