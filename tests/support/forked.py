"""``sockudo`` and what tests have beside it, as processes that import nothing, since they are copies of one that has.

To import the server takes most of what a short test costs, and the suite starts hundreds. What such a process does from
there on is what ``python -m sockudo`` does with the same arguments, variables and files (tests/process/test_forked.py).
tests/process, tests/cli/test_end_to_end.py and tests/test_package.py start one of each kind as users do.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from support.waiting import wait_until

__all__ = ["ForkedProcess"]

Place = int | IO[Any] | None
"""Where it reads or writes: a descriptor, a file, a word of `subprocess`, or None for where the tests do."""

_TEMPLATE = Path(__file__).parent / "template.py"


class _Template:
    """The process that is copied."""

    def __init__(self) -> None:
        name = f"sockudo-template-{os.getpid()}"
        # It ends when nobody holds the other end of this any more.
        command = [sys.executable, "-P", str(_TEMPLATE), name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        wait_until(lambda: self._socket.connect_ex(f"\0{name}") == 0, "the template of forked processes")

    def ask(self, asked: Mapping[str, object], descriptors: Sequence[int] = ()) -> int:
        message = json.dumps(asked).encode()
        with self._lock:
            socket.send_fds(self._socket, [message], descriptors)
            answer = self._socket.recv(64)
        assert answer, "the template of forked processes has ended"
        return int(answer)


_template = functools.cache(_Template)


class ForkedProcess:
    """One of them, as `subprocess.Popen` shows one in text mode, except that the end of its ``with`` kills it.

    ``args`` are those after ``sockudo``, or after another ``program``: a module as behind ``python -m``, or a file.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        program: str | Path = "sockudo",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: Place = None,
        stdout: Place = None,
        stderr: Place = None,
    ) -> None:
        self.returncode: int | None = None
        where = {"env": dict(os.environ if env is None else env), "cwd": str(cwd or Path.cwd())}
        with contextlib.ExitStack() as theirs:
            given, self.stdin = _opened(stdin, 0, theirs)
            printed, self.stdout = _opened(stdout, 1, theirs)
            said, self.stderr = (printed, None) if stderr == subprocess.STDOUT else _opened(stderr, 2, theirs)
            self.pid = _template().ask({"program": str(program), "args": list(args), **where}, [given, printed, said])
        self._ended = os.pidfd_open(self.pid)

    def __enter__(self) -> ForkedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                # Nobody may be left to read what was not sent yet.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def poll(self) -> int | None:
        return self._end(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._end(None if timeout is None else timeout * 1000)
        if code is None:
            raise subprocess.TimeoutExpired("sockudo", timeout or 0)
        return code

    def _end(self, milliseconds: float | None) -> int | None:
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._ended, select.POLLIN)
            if waiting.poll(milliseconds):
                self.returncode = _template().ask({"reap": self.pid})
                os.close(self._ended)
        return self.returncode

    def rest(self, timeout: float | None = None) -> str:
        """What it still prints before it ends."""
        assert self.stdout is not None
        text = self.stdout.read()
        self.wait(timeout)
        return text

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            # It may have ended since.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._ended, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _opened(place: Place, number: int, theirs: contextlib.ExitStack) -> tuple[int, IO[str] | None]:
    """What the process gets as this descriptor, and our end of it if that is a pipe."""
    if place is None:
        return number, None
    if not isinstance(place, int):
        return place.fileno(), None
    if place == subprocess.PIPE:
        reading, writing = os.pipe()
        given, kept, mode = (reading, writing, "w") if number == 0 else (writing, reading, "r")
        theirs.callback(os.close, given)
        return given, open(kept, mode, encoding="utf-8")
    if place == subprocess.DEVNULL:
        place = os.open(os.devnull, os.O_RDWR)
        theirs.callback(os.close, place)
    return place, None
