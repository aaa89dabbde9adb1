"""What the operating system knows of this process: its memory and its file descriptors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["open_descriptors", "resident_bytes"]

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int | None:
    """Resident memory; None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return None


def open_descriptors() -> int | None:
    """How many file descriptors are open; None where the system does not say.

    Linux from 6.2 on says the number at once; before that the folder has to be read, which takes some milliseconds
    with ten thousand connections: ask for a page, not for every sample.
    """
    try:
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:
        return None
