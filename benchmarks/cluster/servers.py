"""Servers of several processes: workers, nodes over a broker, and Centrifugo; and the brokers, each a throw-away one."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.databases import postgres
from benchmarks.peers import PEERS, Command, Peer, sockudo_config
from benchmarks.processes import Running, pinned, running
from benchmarks.settings import BUILD, CLIENT_CORE
from benchmarks.tools import Missing, output_of, run

__all__ = ["BROKERS", "centrifugo", "fleet", "node"]

_OURS = PEERS["sockudo"]
_CENTRIFUGO = "github.com/centrifugal/centrifugo/v6@v6.9.1"
_START_SECONDS = 10


def node(name: str, *, broker: str | None = None, workers: int = 1) -> Peer:
    """This server: so many workers, or a node over the broker at that address."""

    def start(port: int, folder: Path) -> Command:
        program = _OURS.start(port, folder)[0][0]
        config = {
            **sockudo_config(port),
            "data_dir": str(folder / "data"),
            "shutdown_grace_period": 1,
            **({} if broker is None else {"adapter": {"url": broker}}),
        }
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        more = ["--workers", str(workers)] if workers > 1 else []
        return [program, "serve", "--config", str(path), *more], {}

    return Peer(name, "pusher", start, _OURS.build, _OURS.version, ready_path="/up")


def centrifugo(broker: str) -> Peer:
    """A node of Centrifugo over that Redis, with nothing to check: everyone may subscribe and publish."""
    program = BUILD / "centrifugo"

    def build() -> None:
        if not program.exists():
            hint = "install Go, at least the version that Centrifugo's go.mod names"
            run("env", f"GOBIN={BUILD}", "go", "install", _CENTRIFUGO, hint=hint)

    def start(port: int, folder: Path) -> Command:
        anyone = {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}
        config = {
            "engine": {"type": "redis", "redis": {"address": broker}},
            "http_server": {"address": "127.0.0.1", "port": port},
            "log": {"level": "error"},
            "client": {"insecure": True, "allowed_origins": ["*"]},
            "http_api": {"insecure": True},
            "channel": {"without_namespace": anyone},
        }
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        return [str(program), "-c", str(path)], {"GOMAXPROCS": "1"}

    def version() -> str:
        return f"Centrifugo {_CENTRIFUGO.rsplit('@', 1)[1]}, {' '.join(output_of('go', 'version').split()[2:3])}"

    return Peer("centrifugo", "centrifugo", start, build, version)


@contextlib.contextmanager
def fleet(peer: Peer, count: int) -> Iterator[Running]:
    """So many nodes as one server."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(running(peer)) for _ in range(count)]
        first, *others = nodes
        time.sleep(1)  # all of them know all
        yield Running(peer, [pid for one in nodes for pid in one.pids], first.port, tuple(one.port for one in others))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _broker(scheme: str, package: str, *command: str) -> Iterator[str]:
    if shutil.which(command[0]) is None:
        raise Missing(f"{command[0]} is missing: install it (Debian: apt install {package})")
    port = _free_port()
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{scheme}-"))
    process = subprocess.Popen(
        [*command, str(port)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=pinned(CLIENT_CORE),
    )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise Missing(f"{command[0]} did not start")
            time.sleep(0.05)
        yield f"{scheme}://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(_START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    with postgres() as server:
        found = server.section
        yield f"postgres://{found['username']}:{found['password']}@{found['host']}:{found['port']}/{found['database']}"


BROKERS = {
    "redis": lambda: _broker("redis", "redis-server", "redis-server", "--bind", "127.0.0.1", "--save", "", "--port"),
    "nats": lambda: _broker("nats", "nats-server", "nats-server", "-a", "127.0.0.1", "-p"),
    "postgres": _postgres,
}
"""Each gives the address that `node` takes; raises Missing where it cannot be started."""
