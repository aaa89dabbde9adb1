"""A development server that is killed and started again, as its developer would: where examples and pasted code run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from support.forked import ForkedProcess
from support.ports import free_port
from support.server import FROM_NOTHING, Process
from support.signing import Credentials
from support.waiting import PATIENCE, wait_until

__all__ = ["ENVIRONMENT", "DevServer"]

ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
"""What a developer's shell has, and no settings of the server."""


class DevServer:
    """`sockudo serve --dev` in a folder of its own, where it keeps what must last."""

    app = Credentials("1001", "app-key", "app-secret")

    def __init__(self, folder: Path, *, as_typed: bool = False) -> None:
        self.port = free_port()
        self.as_typed = as_typed
        self._folder = folder
        self._metrics_port = free_port()
        self._process: Process | None = None
        self._starts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        arguments = ["serve", "--dev", "--port", str(self.port), "--metrics-port", str(self._metrics_port)]
        self._starts += 1
        with (self._folder / "server.log").open("ab") as log, open(os.devnull, "rb") as nothing:
            where: dict[str, Any] = {"cwd": self._folder, "env": ENVIRONMENT, "stdin": nothing, "stdout": log}
            if self.as_typed:
                command = [*FROM_NOTHING, *arguments]
                self._process = subprocess.Popen(command, stderr=subprocess.STDOUT, **where)
            else:
                self._process = ForkedProcess(arguments, stderr=subprocess.STDOUT, **where)
        wait_until(self._live, "the server to come up")

    def kill(self) -> None:
        """As the loss of the machine would: nothing is finished and nobody is told."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(PATIENCE) == 0
        assert "Traceback" not in (self._folder / "server.log").read_text()

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _live(self) -> bool:
        """Whether it says so itself: on the port another process might answer."""
        assert self._process is not None
        log = (self._folder / "server.log").read_text()
        assert self._process.poll() is None, log
        return log.count('"message": "ready"') == self._starts
