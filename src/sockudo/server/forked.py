"""A worker as its supervisor has it: a copy of the supervisor's process, and the channel between the two."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Final, Generic, NoReturn, TypeVar

from sockudo.cli.restart import RESTART_SIGNAL
from sockudo.server.worker import LONGEST_MESSAGE

__all__ = ["SIGNALS", "ForkedWorker"]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, RESTART_SIGNAL, signal.SIGCHLD)
"""What a supervisor handles."""
# They come to a whole group of processes, a terminal's for example, and mean the supervisor.
_NOT_FOR_WORKERS: Final = (signal.SIGINT, signal.SIGHUP, RESTART_SIGNAL)

GenerationT = TypeVar("GenerationT")


class ForkedWorker(Generic[GenerationT]):
    """The worker of one ``slot``. ``answered`` is when its loop last showed that it runs.

    ``leaving`` says that another one has its slot, and ``ends_by`` when it is killed if it has not ended. Times are
    seconds of the monotonic clock.
    """

    def __init__(self, slot: int, generation: GenerationT, pid: int, channel: socket.socket) -> None:
        self.slot = slot
        self.generation = generation
        self.pid = pid
        self.channel = channel
        self.began = self.answered = time.monotonic()
        self.leaving = False
        self.ends_by: float | None = None

    @classmethod
    def start(
        cls, slot: int, generation: GenerationT, work: Callable[[socket.socket], int]
    ) -> ForkedWorker[GenerationT]:
        """Forks. The copy does the ``work``, which gets its end of the channel, and leaves with its exit code.

        The copy has every descriptor of this process, and closes itself what it has no use for.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            ours.close()
            _become(work, theirs)
        theirs.close()
        ours.setblocking(False)
        return cls(slot, generation, pid, ours)

    def say(self, message: bytes) -> None:
        # One that has ended, or reads nothing, is noticed elsewhere.
        with contextlib.suppress(OSError):
            self.channel.send(message)

    def next_message(self) -> bytes | None:
        """A message of the worker; None when there is none, and nothing when there will be no more."""
        try:
            return self.channel.recv(LONGEST_MESSAGE)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""

    def exit_code(self) -> int | None:
        """None while it runs, less than 0 for a signal. To be asked until it is known, and no longer."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _become(work: Callable[[socket.socket], int], channel: socket.socket) -> NoReturn:
    """What the copy does until it ends: nothing of what follows the fork is its own."""
    code = 1
    try:
        gc.disable()
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in _NOT_FOR_WORKERS else signal.SIG_DFL)
        code = work(channel)
    except BaseException:  # noqa: BLE001 - the frames below belong to the supervisor
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
