"""Servers of other projects as throw-away processes on loopback: found, started, stopped for a while, and ended."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from support.parts import cannot_run
from support.waiting import wait_until

__all__ = ["Daemon", "folder_of", "frozen", "prepare", "program", "system_user"]

START_WITHIN = 60.0


def program(part: str, name: str, package: str, *places: str) -> str:
    """Where a program is: on the path, or the newest in these folders, which may be patterns."""
    found = shutil.which(name)
    if found is not None:
        return found
    versions = [path for place in places for path in Path("/").glob(f"{place[1:]}/{name}")]
    if not versions:
        cannot_run(part, f"{name} is not installed (apt-get install {package})")
    return str(max(versions, key=_version))


def _version(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", str(path))]


def system_user(part: str, name: str) -> str | None:
    """Who a server that refuses to be root runs as; None where the tests are not root either."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        cannot_run(part, f"there is no system user {name} for it to run as")


@contextlib.contextmanager
def folder_of(user: str | None = None) -> Iterator[Path]:
    """A folder of that user's own."""
    with tempfile.TemporaryDirectory(prefix="sockudo-daemon-", ignore_cleanup_errors=True) as name:
        if user is not None:
            shutil.chown(name, user)
        yield Path(name)


def _environment(folder: Path) -> dict[str, str]:
    """With temporary files of its own: MariaDB names them by process id and number, and removes any it finds."""
    return {**os.environ, "TMPDIR": str(folder)}


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]


def prepare(part: str, command: Sequence[str], folder: Path, user: str | None) -> None:
    """Runs to its end what a server needs before its first start."""
    # Not from the folder of the checkout, which that user may not enter.
    where = {"user": user, "cwd": folder, "env": _environment(folder)}
    done = subprocess.run(command, **where, capture_output=True, text=True, timeout=START_WITHIN, check=False)
    if done.returncode != 0:
        cannot_run(part, f"{Path(command[0]).name} ended with {done.returncode}: {_last_line(done.stderr)}")


class Daemon:
    """A server that can be started again after its end, with what it wrote to its ``folder``."""

    def __init__(self, part: str, command: Sequence[str], folder: Path, user: str | None = None) -> None:
        self.part = part
        self.command = command
        self.folder = folder
        self._user = user
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has printed since its last start."""
        return self._log.read_text(errors="replace")

    def launch(self, answers: Callable[[], object]) -> None:
        """Starts it, and returns once it answers."""
        where = {"user": self._user, "cwd": self.folder, "env": _environment(self.folder)}
        with self._log.open("wb") as output:
            self._process = process = subprocess.Popen(self.command, **where, stdout=output, stderr=output)

        def ready() -> object:
            if process.poll() is not None:
                cannot_run(self.part, f"it ended with {process.returncode} at its start: {_last_line(self.log)}")
            return answers()

        wait_until(ready, f"{self.part} to start", timeout=START_WITHIN)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends it; unless there is another signal, without a chance to write anything more."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server is there but does not answer."""
        with frozen(self.pid):
            yield


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Every process of a server is stopped meanwhile."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pids = [pid, *map(int, children)]
    for each in pids:
        os.kill(each, signal.SIGSTOP)
    wait_until(lambda: all(map(_is_stopped, pids)), "the server to stop")
    try:
        yield
    finally:
        for each in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    """With each of its threads, and those go on for a moment after the signal; or ended."""
    states = set()
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            states.add((thread / "stat").read_text().rpartition(") ")[2][0])
    return states <= {"T", "Z"}
