"""What a piece of code keeps, in this process."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

__all__ = ["Kept"]

# Free lists of the interpreter and caches with a bound, of which the largest are the 512 names that msgspec remembers:
# less than one object for each of a thousand examples.
_MAY_KEEP_BLOCKS = 900
# What an allocator does not give back.
_MAY_GROW = 4 * 1024 * 1024


def _resident() -> int:
    # What the C library only keeps at hand is given back, so that what is left is in use.
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Kept:
    """Objects and resident memory since it was made. Make one after a warm-up, so that what is kept once is there."""

    def __init__(self) -> None:
        gc.collect()
        self._resident = _resident()
        self._blocks = sys.getallocatedblocks()

    def check(self, also: int = 0) -> None:
        """Fails when more is kept than what an allocator holds; ``also`` are bytes that may be."""
        gc.collect()
        blocks, grown = sys.getallocatedblocks() - self._blocks, _resident() - self._resident
        print(f"kept {blocks} objects; resident memory grew by {grown // 1024} KB")
        assert blocks <= _MAY_KEEP_BLOCKS + also // 100, f"{blocks} objects are kept"
        assert grown <= _MAY_GROW + also, f"resident memory grew by {grown} bytes"
