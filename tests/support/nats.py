"""Throw-away NATS servers on loopback, alone or as a cluster, that can be ended and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sockudo.config.sections import AdapterNats
from support.parts import cannot_run
from support.ports import free_port
from support.waiting import wait_until

__all__ = ["NatsProcess", "nats_cluster", "nats_server"]

PART = "NATS"


class NatsProcess:
    """A server; ``config`` are lines of its configuration file."""

    def __init__(self, program: str, folder: Path, config: str, port: int) -> None:
        self._program = program
        self._folder = folder
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    @property
    def address(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def settings(self) -> AdapterNats:
        return AdapterNats(servers=(self.address,))

    @property
    def log(self) -> str:
        return (self._folder / f"{self.port}.log").read_text(errors="replace")

    def start(self) -> None:
        """Starts it, and returns once it takes connections."""
        config = self._folder / f"{self.port}.conf"
        config.write_text(f"listen: 127.0.0.1:{self.port}\nwrite_deadline: 2s\n{self._config}\n")
        with (self._folder / f"{self.port}.log").open("wb") as output:
            self._process = process = subprocess.Popen([self._program, "-c", str(config)], stdout=output, stderr=output)

        def ready() -> bool:
            if process.poll() is not None:
                last = (self.log.strip().splitlines() or ["no output"])[-1]
                cannot_run(PART, f"the server ended with {process.returncode} at its start: {last}")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(ready, f"{PART} to start")

    def kill(self) -> None:
        """Ends it without a word to its clients."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server is there but does not answer."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)


def _program() -> str:
    program = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
    if program is None:
        cannot_run(PART, "the server is not installed (apt-get install nats-server)")
    return program


@contextlib.contextmanager
def nats_server(config: str = "") -> Iterator[NatsProcess]:
    """A running server."""
    program = _program()
    with tempfile.TemporaryDirectory(prefix="sockudo-nats-", ignore_cleanup_errors=True) as folder:
        server = NatsProcess(program, Path(folder), config, free_port())
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def nats_cluster() -> Iterator[tuple[NatsProcess, NatsProcess]]:
    """Two servers that pass on to each other what is published."""
    program = _program()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sockudo-nats-")))
        routes = [free_port(), free_port()]
        listed = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        made = []
        for port in routes:
            config = f'cluster {{ name: tests, listen: "127.0.0.1:{port}", routes: [{listed}] }}'
            server = NatsProcess(program, folder, config, free_port())
            stack.callback(server.kill)
            server.start()
            made.append(server)
        wait_until(lambda: "Route connection created" in made[1].log, "the servers to find each other")
        yield made[0], made[1]
