"""Programs beside the load generator, on its core: clients, receivers and watchers, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

from benchmarks.processes import pinned
from benchmarks.settings import CLIENT_CORE, PYTHON, ROOT

__all__ = ["Companion", "companion"]

_PATIENCE = 120


class Companion:
    """A started companion: it says one line of JSON when it is ready, and another one when it is asked to end."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self._name, self._process = name, process
        self.ready: Any = self._line()
        self._told: Any = None

    def _line(self) -> Any:
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            raise RuntimeError(f"{self._name} ended: {self._process.stderr.read()[-300:].strip() if self._process.stderr else ''}")
        return json.loads(text)

    def end(self) -> Any:
        """What it has counted. Raises RuntimeError when it had ended by itself."""
        if self._told is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._told = self._line()
        return self._told


@contextlib.contextmanager
def companion(name: str, *arguments: object) -> Iterator[Companion]:
    """Runs ``benchmarks.operators.<name>``. Raises RuntimeError when it does not become ready."""
    command = [str(PYTHON), "-m", f"benchmarks.operators.{name}", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=pinned(CLIENT_CORE),
    )
    try:
        yield Companion(name, process)
    finally:
        process.kill()
        process.wait()
