"""The machine that this runs on, as Linux shows it in ``/proc``: who listens where, and what a process may do."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Machine", "Process", "who_has"]

_LISTENS: Final = "0A"
_SOCKET: Final = re.compile(r"socket:\[([0-9]+)\]")
_OPEN_FILES: Final = re.compile(r"^Max open files\s+(\d+|unlimited)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Process:
    """A process. ``descriptors`` is how many it may have, ``open`` how many it has; None where that is hidden from us.

    ``started_at`` are Unix seconds, ``folder`` its working directory, ``user`` the id of the user it runs as.
    """

    pid: int
    command: tuple[str, ...] = ()
    user: int | None = None
    descriptors: int | None = None
    open: int | None = None
    folder: Path | None = None
    started_at: float | None = None


class Machine:
    """Reads ``/proc``; every answer is of the moment in which it is asked."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def addresses(self, port: int) -> list[str]:
        """The addresses on which a process of this machine listens with this TCP port."""
        return list(dict.fromkeys(address for address, _ in self._listening(port)))

    def server_at(self, place: int | Path) -> Process | None:
        """The Sockudo process that listens on the port or Unix socket, None if there is none that may be looked at."""
        inodes = self._unix(place) if isinstance(place, Path) else [inode for _, inode in self._listening(place)]
        found = (self._process(pid) for pid in self._owners(set(inodes)))
        return next((process for process in found if any("sockudo" in word for word in process.command)), None)

    def owner_of(self, port: int) -> Process | None:
        """The process that listens on the port, None if there is none that may be looked at."""
        return next(map(self._process, self._owners({inode for _, inode in self._listening(port)})), None)

    # ---- sockets ----

    def _listening(self, port: int) -> Iterator[tuple[str, str]]:
        for name in ("tcp", "tcp6"):
            for fields in self._rows(f"net/{name}"):
                if len(fields) < 10 or fields[3] != _LISTENS:
                    continue
                address, _, number = fields[1].rpartition(":")
                if int(number, 16) == port:
                    yield _address(address), fields[9]

    def _unix(self, path: Path) -> list[str]:
        return [fields[6] for fields in self._rows("net/unix") if len(fields) > 7 and fields[7] == str(path)]

    def _rows(self, name: str) -> Iterator[list[str]]:
        text = self._text(name)
        yield from (line.split() for line in text.splitlines()[1:])

    def _owners(self, inodes: Collection[str]) -> Iterator[int]:
        if not inodes:
            return
        for folder in self._proc.glob("[0-9]*"):
            if any(inode in inodes for inode in _sockets(folder / "fd")):
                yield int(folder.name)

    # ---- processes ----

    def _process(self, pid: int) -> Process:
        found = _OPEN_FILES.search(self._text(f"{pid}/limits"))
        limit = found[1] if found is not None else None
        return Process(
            pid=pid,
            command=tuple(self._text(f"{pid}/cmdline").rstrip("\0").split("\0")),
            user=_owner_of(self._proc / str(pid)),
            descriptors=int(limit) if limit is not None and limit.isdecimal() else None,
            open=_count(self._proc / str(pid) / "fd"),
            folder=_link(self._proc / str(pid) / "cwd"),
            started_at=self._started_at(pid),
        )

    def _started_at(self, pid: int) -> float | None:
        stat, boot = self._text(f"{pid}/stat"), re.search(r"^btime (\d+)", self._text("stat"), re.MULTILINE)
        fields = stat.rpartition(")")[2].split()
        if boot is None or len(fields) < 20:
            return None
        return int(boot[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")

    def _text(self, name: str) -> str:
        """What stands in the file; nothing where it is hidden or gone, as processes end at any time."""
        try:
            return (self._proc / name).read_text(errors="replace")
        except OSError:
            return ""


def who_has(port: int | None, otherwise: str) -> dict[str, str]:
    """Which process has a port that is taken, where that may be seen, and what to do: fields of a log line.

    ``otherwise`` are the option and the variable that choose another port. Without a port there is no advice.
    """
    if port is None:
        return {}
    owner = Machine().owner_of(port)
    remedy = f"end the process that has the port (ss -ltnp 'sport = :{port}'), or choose another with {otherwise}"
    if owner is None:
        return {"remedy": remedy}
    return {"taken_by": f"process {owner.pid} ({Path(owner.command[0]).name})", "remedy": remedy}


def _address(text: str) -> str:
    """The kernel writes addresses as 32-bit numbers in its own byte order."""
    words = bytes.fromhex(text)
    turned = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return str(ipaddress.ip_address(turned))


def _sockets(folder: Path) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        target = _link(folder / name)
        found = _SOCKET.fullmatch(str(target)) if target is not None else None
        if found is not None:
            yield found[1]


def _count(folder: Path) -> int | None:
    try:
        return len(os.listdir(folder))
    except OSError:
        return None


def _link(path: Path) -> Path | None:
    try:
        return path.readlink()
    except OSError:
        return None


def _owner_of(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None
