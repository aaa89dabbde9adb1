"""``sockudo`` and what tests have beside it, as forks of a process that has imported it already.

To import the server takes most of what a short test costs, and the suite starts hundreds. The fork server is that of
`multiprocessing`, one for each process of the tests, with `support.forked_sockudo`. What a fork does is what
``python -m`` does with the same arguments, variables and files (tests/process/test_forked.py). tests/process,
tests/cli/test_end_to_end.py and tests/test_package.py start one of each kind as users do.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import forkserver, reduction
from pathlib import Path
from types import ModuleType
from typing import IO, Any
from unittest import mock

__all__ = ["ForkedProcess"]

Place = int | IO[Any] | None
"""Where it reads or writes: a descriptor, a file, a word of `subprocess`, or None for where the tests do."""


@functools.cache
def _forks() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.forked", "support.forked_sockudo"])
    with mock.patch.dict(os.environ, {"PYTHONPATH": str(Path(__file__).parents[1])}):
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _without_a_program() -> Iterator[None]:
    """A process that starts meanwhile loads nothing of what was started to run the tests."""
    ours = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = ours


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
        words = [str(program), *args]
        variables = dict(os.environ if env is None else env)
        with contextlib.ExitStack() as theirs:
            given, self.stdin = _opened(stdin, 0, theirs)
            printed, self.stdout = _opened(stdout, 1, theirs)
            said, self.stderr = (printed, None) if stderr == subprocess.STDOUT else _opened(stderr, 2, theirs)
            descriptors = [_Descriptor(each) for each in (given, printed, said)]
            where = (words, variables, str(cwd or Path.cwd()), descriptors)
            self._process = _forks().Process(target=_run, args=where, daemon=True)
            with _without_a_program():
                self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def __enter__(self) -> ForkedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                # What was not sent yet may have no reader left.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.returncode
        if code is None:
            raise subprocess.TimeoutExpired("sockudo", timeout or 0)
        return code

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
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Descriptor:
    """Arrives in the process as the number that the descriptor has there."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _detached, (reduction.DupFd(self._number),)


def _detached(sent: Any) -> int:
    number: int = sent.detach()
    return number


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


def _run(words: list[str], variables: dict[str, str], folder: str, descriptors: list[int]) -> None:
    """In the process: what ``python -m`` does with the same arguments, variables and files."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in set(descriptors):
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = words
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - they last as long as the process
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    if variables.get("PYTHONUNBUFFERED"):
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
    else:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    try:
        if words[0].endswith(".py"):
            runpy.run_path(words[0], run_name="__main__")
        else:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    finally:
        # As at the end of an interpreter, of which `multiprocessing` does less.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        # What is said of coroutines that were not awaited and errors that were not taken.
        gc.collect()
