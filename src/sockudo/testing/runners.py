"""The two ways in which a test server runs: in a thread of the test process, or as a process of its own."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import httpx
import structlog

from sockudo.base.clock import Clock
from sockudo.config import Settings
from sockudo.testing.clock import FakeClock
from sockudo.testing.loop_thread import LoopThread

if TYPE_CHECKING:
    from sockudo.server.server import Server

__all__ = ["InProcess", "Runner", "Subprocess", "free_port"]


class Runner(Protocol):
    """Starts and stops one server."""

    def start(self, seconds: float) -> int:
        """Start and return the port it listens on; raises RuntimeError when that fails or takes too long."""
        ...

    def stop(self) -> None:
        """Stop in an orderly way."""
        ...

    def advance(self, seconds: float) -> None:
        """Move the server's clock and let it do what is due."""
        ...

    @property
    def log(self) -> str:
        """What the server has printed, where it prints for itself."""
        ...


class InProcess:
    """The server on an event loop in a thread of the test process."""

    def __init__(self, settings: Settings, clock: Clock | None) -> None:
        self._settings = settings
        self._clock = clock
        self._thread: LoopThread | None = None
        self.server: Server | None = None

    def start(self, seconds: float) -> int:
        from sockudo.server.server import Server

        _log_like_a_library()
        server = Server(self._settings, clock=self._clock)
        thread = LoopThread("sockudo-test-server")
        collector = gc.isenabled(), gc.get_threshold()
        try:
            thread.run(asyncio.wait_for(server.start(), seconds))
        except BaseException as error:
            thread.close()
            if isinstance(error, TimeoutError):
                raise RuntimeError(f"the server did not start within {seconds:g} s") from None
            raise
        finally:
            _restore_collector(*collector)
        self.server, self._thread = server, thread
        return server.port

    def stop(self) -> None:
        if self._thread is None or self.server is None:
            return
        self._thread.run(self._stopped(self.server))
        self._thread.close()
        self._thread = None

    async def _stopped(self, server: Server) -> None:
        stopping = asyncio.ensure_future(server.stop())
        while not stopping.done():
            await asyncio.wait([stopping], timeout=0.05)
            if isinstance(self._clock, FakeClock):
                self._clock.advance(0.05)  # the deadline of the stop is on this clock too
        await stopping

    def advance(self, seconds: float) -> None:
        if self._thread is None or self.server is None or not isinstance(self._clock, FakeClock):
            raise RuntimeError("only a running server with a FakeClock can be moved in time")
        self._clock.advance(seconds)
        server = self.server
        self._thread.call(lambda: _do_what_is_due(server))

    @property
    def log(self) -> str:
        return ""


class Subprocess:
    """The server as ``sockudo serve``, with its output in a file of ``folder``."""

    def __init__(self, config: Path, folder: Path, port: int, url: str) -> None:
        self._config = config
        self._output = folder / "server.log"
        self._folder = folder
        self._port = port
        self._url = url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float) -> int:
        command = [sys.executable, "-m", "sockudo", "serve", "--dev", "--config", str(self._config)]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                cwd=self._folder,
                env=_plain_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + seconds
        while not self._is_live():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                self.stop()
                how = f"did not start within {seconds:g} s" if ended is None else f"ended with {ended}"
                raise RuntimeError(f"the server {how}; its output:\n{self.log}")
            time.sleep(0.02)
        return self._port

    def _is_live(self) -> bool:
        try:
            # It is on this machine and plain HTTP. Reading certificates each time would keep a core from its start.
            got = httpx.get(f"{self._url}/live", timeout=1.0, trust_env=False, verify=False)  # noqa: S501
            return got.status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def advance(self, seconds: float) -> None:
        raise RuntimeError(f"a server in another process cannot be moved in time (by {seconds:g} s)")

    @property
    def log(self) -> str:
        return self._output.read_text(errors="replace") if self._output.exists() else ""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _plain_environment() -> dict[str, str]:
    """The environment without the variables that configure a server: the test sets what is configured."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONUNBUFFERED": "1"}


def _do_what_is_due(server: Server) -> None:
    """One round of everything that the server does by the clock, without waiting for its next second."""
    from sockudo.sessions.sweeper import check

    now = server.clock.monotonic()
    server.edge.tell_time()
    server.edge.sweep(now)
    server.services.hub.tick(now)
    for session in list(server.services.gateway.sessions()):
        if not session.ended:
            check(session, now)


def _restore_collector(enabled: bool, thresholds: tuple[int, int, int]) -> None:
    """Undo the tuning that a server does for its process: here the process belongs to the tests."""
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    if enabled:
        gc.enable()


def _log_like_a_library() -> None:
    """Send the server's log lines to `logging`, unless the application has its own plans for structlog."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
