"""Server processes: started on their core, ready, counted with their children, and gone at the end."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import Peer
from benchmarks.settings import SERVER_CORE

__all__ = ["DidNotStart", "Running", "cpu_seconds", "machine_busy_seconds", "pinned", "resident_kb", "running", "tree"]

_TICKS = os.sysconf("SC_CLK_TCK")
_NICE = -10
_START_SECONDS = 40
_PORTS = range(17000, 19000, 10)


class DidNotStart(Exception):
    """A server ended or stayed deaf; the text is the end of its log."""


@dataclass(frozen=True)
class Running:
    """A started server: what it is, its process with all its children, and where it listens.

    ``others`` are the ports of its further nodes.
    """

    peer: Peer
    pids: list[int]
    port: int
    others: tuple[int, ...] = ()

    @property
    def ports(self) -> tuple[int, ...]:
        return (self.port, *self.others)

    @property
    def publish_ports(self) -> tuple[int, ...]:
        return tuple(port + self.peer.publish_offset for port in self.ports)

    @property
    def metrics_port(self) -> int:
        return self.port + 1


def pinned(core: int) -> Callable[[], None]:
    """For ``preexec_fn``: the program runs on this core alone and, where that is allowed, ahead of other work."""

    def apply() -> None:
        os.sched_setaffinity(0, {core})
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)
            # Where a session is scheduled as one, its processes go ahead of each other only.
            Path("/proc/self/autogroup").write_text(str(_NICE))

    return apply


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry)] = int(_stat(int(entry))[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of these processes so far."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = _stat(pid)
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def resident_kb(pids: list[int]) -> int:
    """Resident memory of these processes together."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
    return total


def machine_busy_seconds() -> float:
    """What all cores together have worked so far."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + irq + softirq) / _TICKS


def _free_ports(count: int) -> int:
    """The first of so many free neighbouring ports."""
    for first in _PORTS:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise SystemExit("bench: no free ports from 17000 to 19000")


def _is_ready(port: int, path: str | None) -> bool:
    if path is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return True
        return False
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    pids = tree(process.pid)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def running(peer: Peer) -> Iterator[Running]:
    """Starts a server on the servers' core and stops it again. Raises DidNotStart."""
    port = _free_ports(4)
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{peer.name}-"))
    command, environment = peer.start(port, folder)
    log = folder / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, **environment, "PORT": str(port)},
            preexec_fn=pinned(SERVER_CORE),
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(port, peer.ready_path):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DidNotStart(f"{peer.name} did not start: {log.read_text(errors='replace')[-600:].strip()}")
            time.sleep(0.1)
        time.sleep(1)
        yield Running(peer, tree(process.pid), port)
    finally:
        _stop(process)
        shutil.rmtree(folder, ignore_errors=True)
