"""One server as a process of its own: logs, signals, what is printed at the start, the exit code."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable

import structlog
import uvloop

from sockudo.config import ConfigError, Loaded, Settings, reloadable_changes
from sockudo.edge.listeners import ListenError
from sockudo.errors import SockudoError
from sockudo.logs import configure_logs
from sockudo.server import Server
from sockudo.version import __version__
from sockudo.welcome import welcome

__all__ = ["run"]

_log = structlog.get_logger("sockudo.process")


def run(load: Callable[[], Loaded]) -> int:
    """Serves until SIGTERM or SIGINT and returns the exit code: 0 after an orderly stop, 1 when it could not start.

    ``load`` reads the configuration; it is called again on SIGHUP. Raises ConfigError when the first call does.
    """
    began = time.monotonic()
    loaded = load()
    configure_logs(loaded.settings)
    for source in loaded.sources:
        _log.info("configuration", source=source)
    for warning in loaded.warnings:
        _log.warning("configuration", warning=warning)
    return uvloop.run(_Process(load, loaded.settings, began).serve())


class _Process:
    def __init__(self, load: Callable[[], Loaded], settings: Settings, began: float) -> None:
        self._load = load
        self._settings = settings
        self._began = began
        self._stopping = asyncio.Event()
        self._reloading: asyncio.Task[None] | None = None

    async def serve(self) -> int:
        server = Server(self._settings)
        try:
            await server.start()
        except (ListenError, SockudoError) as problem:
            _log.error("the server did not start", reason=str(problem))
            print(f"sockudo: {problem}", file=sys.stderr)
            return 1
        self._handle_signals(server)
        print(welcome(server, time.monotonic() - self._began), flush=True)
        _log.info("ready", version=__version__, port=server.port, metrics_port=server.metrics_port)
        await self._stopping.wait()
        await server.stop()
        return 0

    def _handle_signals(self, server: Server) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._start_reload, server)

    def _stop(self, number: int) -> None:
        """The first signal drains; a second one ends the process at once."""
        if self._stopping.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._stopping.set()

    def _start_reload(self, server: Server) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload(server))

    async def _reload(self, server: Server) -> None:
        """Applies what may change while running and names what needs a restart; a bad file changes nothing."""
        try:
            loaded = self._load()
        except ConfigError as error:
            _log.error("the configuration was not reloaded", problems=error.problems)
            return
        applied, ignored = reloadable_changes(self._settings, loaded.settings)
        try:
            await server.reload(loaded.settings)
        except SockudoError as error:
            _log.error("the configuration was not reloaded", problems=[error.text])
            return
        self._settings = loaded.settings
        configure_logs(loaded.settings)
        _log.info("configuration reloaded", applied=applied)
        if ignored:
            _log.warning("these changes need a restart", keys=ignored)


