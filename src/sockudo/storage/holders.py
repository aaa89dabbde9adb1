"""Whose a lease is, where processes of one machine share a file: what a process had that is gone is free at once.

Only what is certain is reported: a process of another machine, of another container or of before the last boot may
be any, so that its leases have to end.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["is_gone", "this_process"]

_PROC: Final = Path("/proc")
_ENDED: Final = frozenset({"Z", "X"})


def this_process() -> str:
    """A name that no other process ever has; has no colon."""
    place = _place()
    found = _state(os.getpid()) if place is not None else None
    return "unknown" if found is None else f"{place}/{os.getpid()}/{found[1]}"


def is_gone(name: str) -> bool:
    """Whether the process of this name has certainly ended."""
    place, _, rest = name.rpartition("/")[0].rpartition("/")
    if not place or place != _place():
        return False
    found = _state(int(rest))
    # A number may have been given to another process since.
    return found is None or found[0] in _ENDED or found[1] != name.rpartition("/")[2]


def _place() -> str | None:
    """Within what numbers of processes mean something; None where there is no telling."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return None
    return f"{boot}/{namespace.strip('pid:[]')}"


def _state(pid: int) -> tuple[str, str] | None:
    """Its state and when it began; None when there is no such process."""
    try:
        status = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name of its program, which may hold anything, stands in parentheses.
    fields = status.rpartition(")")[2].split()
    return fields[0], fields[19]
