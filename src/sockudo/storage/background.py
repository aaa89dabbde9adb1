"""Threads whose work nobody waits for, in the loop's process and often on its core."""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

__all__ = ["background_threads"]


def background_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Threads that never interrupt the loop by waking up; ``name`` is what they are called, with a number.

    A thread that works on a database sleeps and wakes at each of its statements. By default the system lets a thread
    that wakes interrupt the one that runs: the loop would be stopped thousands of times a second, each time for a
    thread that has to wait for the interpreter's lock, which the loop holds. Their share of the core stays what it was,
    but a loop that has much to do makes them wait: nothing for a store whose commits are waited for.
    """
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_never_interrupt)


def _never_interrupt() -> None:
    # Linux has it, and everybody may. Where it is missing or forbidden the threads work as they always did.
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_BATCH, os.sched_param(0))
