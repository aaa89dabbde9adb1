"""Who uses a place that one server at a time may use: a data folder, a database, a queue.

Two servers on one place lose nothing of what is stored, but neither hears what is published at the other, and clients
have holes without notice. So a server claims its places when it starts, and names who has them when it
cannot.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from msgspec import DecodeError, json

__all__ = ["LEASE_SECONDS", "Held", "Occupant", "Place"]

LEASE_SECONDS: Final = 20
"""A claim that is not renewed for so long has ended, wherever it was made."""

_LONGEST_HOST: Final = 100
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Occupant:
    """A process that claimed a place, ``since`` in seconds of the epoch.

    ``machine`` is the boot and the process namespace that ``pid`` counts in, ``started`` when the process began there,
    in ticks: a number that is given again is another process. Either is empty where the system does not say it.
    ``node`` is the id of a joined node, and ``joined_by`` what joins it with others; empty for a server that is alone.
    ``workers`` are the processes that it has under it, 0 for one that serves by itself.
    """

    host: str
    pid: int
    since: float
    machine: str = ""
    started: str = ""
    node: str = ""
    joined_by: str = ""
    workers: int = 0

    @classmethod
    def current(cls, now: float, node: str = "", joined_by: str = "", workers: int = 0) -> Occupant:
        """This process."""
        host, pid = socket.gethostname()[:_LONGEST_HOST], os.getpid()
        return cls(host, pid, now, _machine(), _started(pid), node, joined_by[:_LONGEST_NAME], workers)

    @classmethod
    def read(cls, text: str | bytes) -> Occupant | None:
        """What `text` wrote; None for anything else."""
        try:
            known: dict[str, Any] = json.decode(text, type=dict)
            return cls(
                str(known["host"]),
                int(known["pid"]),
                float(known["since"]),
                str(known.get("machine", "")),
                str(known.get("started", "")),
                str(known.get("node", "")),
                str(known.get("joined_by", "")),
                int(known.get("workers", 0)),
            )
        except (DecodeError, KeyError, TypeError, ValueError):
            return None

    @property
    def text(self) -> str:
        """To be kept with the place."""
        return json.encode(self).decode()

    @property
    def is_here(self) -> bool:
        """Whether its process could be seen from this one."""
        return bool(self.machine) and self.machine == _machine()

    @property
    def has_ended(self) -> bool:
        """True when it is certain that the process is gone."""
        return self.is_here and _started(self.pid) != self.started

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC)
        joined = f", joined with others by {self.joined_by}" if self.node else ""
        return f"pid {self.pid} on {self.host}, since {since:%Y-%m-%d %H:%M:%S} UTC{joined}"


class Held(NamedTuple):
    """A place is taken: by whom, if that is known. It is ``certain`` that they live, or ``beats`` will have to grow."""

    occupant: Occupant | None
    certain: bool
    beats: int = 0

    @property
    def who(self) -> str:
        """For people."""
        return "its process is not known" if self.occupant is None else str(self.occupant)


class Place(Protocol):
    """Something that one server at a time may use."""

    @property
    def name(self) -> str:
        """What and where it is, for people, with the setting that chose it."""
        ...

    async def claim(self) -> Held | None:
        """Takes the place or renews the claim: None when this server has it, else who does.

        Raises ``errors.SERVICE_UNAVAILABLE`` when that cannot be known.
        """
        ...

    async def release(self) -> None:
        """Gives the place back, if this server has it. A place that does not answer is left to its lease."""
        ...


@cache
def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Empty for a process that is gone, also when only its parent has not noticed it yet."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]
