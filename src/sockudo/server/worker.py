"""A worker's side of the supervisor: what it gets to work with, and what the two tell each other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from sockudo.cluster.carrier import Carrier

__all__ = [
    "LEAVE",
    "LONGEST_MESSAGE",
    "PING",
    "PONG",
    "READY",
    "RELOAD",
    "STOP",
    "SupervisorLink",
    "WorkerPlace",
    "worker_count",
]

PING: Final = b"ping"
STOP: Final = b"stop"
"""To all: the server ends."""
LEAVE: Final = b"leave"
"""To one whose place another worker has taken."""
RELOAD: Final = b"reload"

PONG: Final = b"pong"
READY: Final = b"ready\n"
"""Behind it is what is printed for people once all workers are ready."""

LONGEST_MESSAGE: Final = 65_536
_MOST: Final = 64
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")

_log = structlog.get_logger("sockudo.process")


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """One worker among ``count``. ``sockets`` are what it listens on, by listener; without any it has none.

    ``run_dir`` is the directory of the workers' mesh, and ``server`` the label that all of them have.
    """

    server: str
    index: int
    count: int
    run_dir: Path
    sockets: Mapping[str, Sequence[socket.socket]]

    @property
    def label(self) -> str:
        """What this worker is called among nodes."""
        return f"{self.server}/{self.index}"

    def carrier(self) -> Carrier:
        """What joins it with the other workers."""
        from sockudo.drivers.carriers.mesh import mesh_carrier  # a server alone does not need it

        return mesh_carrier(self.run_dir)


class SupervisorLink:
    """Takes what the supervisor says, on the event loop; answers its pings. ``on`` has a handler for each message.

    When the supervisor is gone, that is a `STOP`: no one would start the worker again, or end it.
    """

    def __init__(self, channel: socket.socket, on: Mapping[bytes, Callable[[], None]]) -> None:
        self._channel = channel
        self._on = on

    def open(self) -> None:
        self._channel.setblocking(False)
        asyncio.get_running_loop().add_reader(self._channel, self._read)

    def ready(self, text: str) -> None:
        """This worker serves."""
        self._say(READY + text.encode()[: LONGEST_MESSAGE - len(READY)])

    def _read(self) -> None:
        try:
            message = self._channel.recv(LONGEST_MESSAGE)
        except BlockingIOError:
            return
        except ConnectionError:
            message = b""
        if message == PING:
            self._say(PONG)
            return
        if not message:
            asyncio.get_running_loop().remove_reader(self._channel)
            _log.error("the supervisor is gone")
            message = STOP
        self._on[message]()

    def _say(self, message: bytes) -> None:
        # What is not read in time is asked for again.
        with contextlib.suppress(OSError):
            self._channel.send(message)


def worker_count(asked: int) -> int:
    """How many workers a setting asks for: 0 is one for each core that this process may use."""
    if asked:
        return asked
    return max(1, min(_MOST, len(os.sched_getaffinity(0)), _quota()))


def _quota() -> int:
    """The cores that a container may use at a time, rounded up."""
    try:
        limit, period = _QUOTA.read_text().split()
        return -(-int(limit) // int(period))
    except (OSError, ValueError):
        return _MOST
