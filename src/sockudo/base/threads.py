"""Threads for work that is rare, gone again when it is done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, Final, TypeVar

__all__ = ["PassingThreads"]

T = TypeVar("T")

_AT_MOST: Final = 4


class PassingThreads(ThreadPoolExecutor):
    """An event loop's default executor whose threads, a few at most, end when none of them has work.

    While a process has more than one thread, the kernel has to guard its table of descriptors at every ``send()``: a
    publish to 500 subscribers takes a twentieth more CPU for as long as a thread sleeps that once read a file.
    """

    def __init__(self) -> None:
        super().__init__(_AT_MOST)
        self._guard = Lock()
        self._unfinished = 0
        self._current: ThreadPoolExecutor | None = None

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """As any executor's."""
        with self._guard:
            if self._current is None:
                self._current = ThreadPoolExecutor(_AT_MOST, thread_name_prefix="passing")
            self._unfinished += 1
            future = self._current.submit(fn, *args, **kwargs)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Future[Any]) -> None:
        with self._guard:
            self._unfinished -= 1
            if self._unfinished or self._current is None:
                return
            ended, self._current = self._current, None
        ended.shutdown(wait=False)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Waits, if asked to, for what was handed in so far."""
        with self._guard:
            current = self._current
        if current is not None:
            current.shutdown(wait, cancel_futures=cancel_futures)
