"""``sockudo`` as processes that need not import anything, since they are copies of one that has.

To import the server takes most of what a short test costs, and the suite starts hundreds. What such a process does from
there on is what ``python -m sockudo`` does with the same arguments, variables and files; tests/process, tests/cli and
tests/test_package.py start it in the way that users do.
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
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

__all__ = ["ForkedProcess", "run_forked"]

_TEMPLATE = Path(__file__).parent / "template.py"


class _Template:
    """The process that is copied: one for each process that runs tests."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-P", str(_TEMPLATE), str(number)]
            self._process = subprocess.Popen(command, pass_fds=[number])
        self._socket = ours
        self._lock = threading.Lock()

    def ask(self, asked: Mapping[str, object], descriptors: Sequence[int] = ()) -> int:
        message = json.dumps(asked).encode()
        with self._lock:
            socket.send_fds(self._socket, [message], descriptors)
            answer = self._socket.recv(64)
        assert answer, f"the template of forked processes ended with {self._process.wait()}"
        return int(answer)


_template = functools.cache(_Template)


class ForkedProcess:
    """One of them, as `subprocess.Popen` would show it; ``args`` are those after ``sockudo``."""

    def __init__(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdin: int,
        stdout: int,
        stderr: int,
    ) -> None:
        self.returncode: int | None = None
        asked = {"args": list(args), "env": dict(env), "cwd": str(cwd)}
        self.pid = _template().ask(asked, [stdin, stdout, stderr])
        self._ended = os.pidfd_open(self.pid)

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

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            # It may have ended since.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._ended, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_forked(
    args: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdin: str = "", timeout: float
) -> subprocess.CompletedProcess[str]:
    """What ``sockudo`` with these arguments says and how it ends. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        files = {"stdin": given.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
        process = ForkedProcess(args, env=env, cwd=cwd, **files)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        return subprocess.CompletedProcess(list(args), code, _text(out), _text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
