"""Throw-away NATS servers on loopback, alone or as a cluster, that can be ended and started again."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from sockudo.config.sections.nats import AdapterNats
from support.daemons import Daemon, folder_of, program
from support.ports import free_port
from support.waiting import wait_until

__all__ = ["NatsProcess", "nats_cluster", "nats_server"]

PART = "NATS"


class NatsProcess(Daemon):
    """A server; ``config`` are lines of its configuration file."""

    def __init__(self, folder: Path, config: str) -> None:
        binary = program(PART, "nats-server", "nats-server", "/usr/sbin")
        super().__init__(PART, [binary, "-c", str(folder / "conf")], folder)
        self._config = config
        self.port = free_port()

    @property
    def address(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def settings(self) -> AdapterNats:
        return AdapterNats(servers=(self.address,))

    def start(self) -> None:
        """Starts it, and returns once it takes connections."""
        text = f"listen: 127.0.0.1:{self.port}\nwrite_deadline: 2s\n{self._config}\n"
        (self.folder / "conf").write_text(text)
        self.launch(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextlib.contextmanager
def nats_server(config: str = "") -> Iterator[NatsProcess]:
    """A running server."""
    with folder_of() as folder:
        server = NatsProcess(folder, config)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def nats_cluster() -> Iterator[tuple[NatsProcess, NatsProcess]]:
    """Two servers that pass on to each other what is published."""
    routes = [free_port(), free_port()]
    listed = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
    configs = [f'cluster {{ name: tests, listen: "127.0.0.1:{port}", routes: [{listed}] }}' for port in routes]
    with nats_server(configs[0]) as first, nats_server(configs[1]) as second:
        wait_until(lambda: "Route connection created" in second.log, "the servers to find each other")
        yield first, second
