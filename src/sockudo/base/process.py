"""What the system reports of this process: memory, descriptors, and how many of these are not for WebSockets."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["CpuShare", "descriptor_limit", "open_descriptors", "reserved_descriptors", "resident_bytes"]

_CPU_WINDOW: Final = 5.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int | None:
    """Resident memory; None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return None


class CpuShare:
    """What share of a core this process uses: over the last seconds, however often that is asked."""

    def __init__(
        self, now: Callable[[], float] = time.monotonic, used: Callable[[], float] = time.process_time
    ) -> None:
        self._now = now
        self._used = used
        self._before = self._latest = (now(), used())

    def read(self) -> float:
        """Since 5 to 10 seconds ago, or since the start; 1.0 is one core."""
        now, used = self._now(), self._used()
        if now - self._latest[0] >= _CPU_WINDOW:
            # After a long pause the last mark is too old to be of use, and the only one.
            self._before, self._latest = self._latest, (now, used)
        elapsed = now - self._before[0]
        return (used - self._before[1]) / elapsed if elapsed > 0 else 0.0


def open_descriptors() -> int | None:
    """How many file descriptors are open; None where the system does not say.

    Linux from 6.2 on has the number at hand; before that the folder has to be read, which takes some milliseconds
    with ten thousand connections: ask for a page, not for every sample.
    """
    try:
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:
        return None


_RESERVED: Final = 64


def descriptor_limit() -> int | None:
    """How many this process may have; None where there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def reserved_descriptors(limit: int) -> int:
    """How many of them are never a WebSocket's: 64, or a quarter of a limit below 256."""
    return min(_RESERVED, limit // 4)
