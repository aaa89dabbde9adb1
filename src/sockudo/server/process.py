"""One server as a process of its own: logs, signals, what is printed at the start, the exit code."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import structlog
import uvloop
from msgspec import structs

from sockudo.base.threads import PassingThreads
from sockudo.base.version import __version__
from sockudo.config import ConfigError, Loaded, Settings, reloadable_changes, reloaded
from sockudo.edge.listeners import ListenError
from sockudo.errors import SockudoError
from sockudo.server.logs import configure_logs
from sockudo.server.server import Server
from sockudo.server.welcome import welcome
from sockudo.server.worker import LEAVE, RELOAD, STOP, SupervisorLink, WorkerPlace, worker_count
from sockudo.storage.turns import share_files

__all__ = ["duration_of_start", "run"]

_log = structlog.get_logger("sockudo.process")

# A full collection over many connections stalls the loop; nearly everything is freed by reference counts.
_GC_THRESHOLDS = (100_000, 50, 100)
# Seconds that an interpreter may need before our first line.
_LONGEST_BEFORE = 1.0


def run(load: Callable[[], Loaded], began: float) -> int:
    """Serves until SIGTERM or SIGINT and returns the exit code: 0 after an orderly stop, 1 when it could not start.

    ``load`` reads the configuration; it is called again on SIGHUP. Raises ConfigError when the first call does.
    ``began`` is when the command began, in seconds of the monotonic clock.
    """
    loaded = load()
    configure_logs(loaded.settings)
    _log.info("starting", version=__version__, pid=os.getpid(), process_id=loaded.settings.instance.process_id)
    for source in loaded.sources:
        _log.info("configuration", source=source)
    for warning in loaded.warnings:
        _log.warning("configuration", warning=warning)
    raise_descriptor_limit()
    count = worker_count(loaded.settings.workers)
    if count == 1:
        return uvloop.run(_Process(load, loaded.settings, began).serve())
    from sockudo.server.supervisor import Supervisor  # a server alone does not need it

    def work(settings: Settings, place: WorkerPlace, channel: socket.socket) -> int:
        def load_labelled() -> Loaded:
            found = load()
            return structs.replace(found, settings=_labelled(found.settings, place))

        configure_logs(settings, place.index)
        share_files()
        labelled = _labelled(settings, place)
        return uvloop.run(_Process(load_labelled, labelled, began, place, channel).serve())

    return Supervisor(load, loaded.settings, count, work).run()


def _labelled(settings: Settings, place: WorkerPlace) -> Settings:
    """Those of a worker: with a label of its own, and with how many there are."""
    instance = structs.replace(settings.instance, process_id=place.label)
    return structs.replace(settings, instance=instance, workers=place.count)


def raise_descriptor_limit() -> None:
    """Every connection needs a descriptor: takes all that the system grants, and says how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as problem:
        _log.warning("the descriptor limit stays", descriptors=soft, reason=str(problem))
    else:
        _log.info("descriptor limit", descriptors=hard, before=soft)


class _Process:
    """``settings`` are the ones in effect: after a reload, the old ones where a change needs a restart.

    A worker, which has a ``place``, is led by what its supervisor says on the ``channel``.
    """

    def __init__(
        self,
        load: Callable[[], Loaded],
        settings: Settings,
        began: float,
        place: WorkerPlace | None = None,
        channel: socket.socket | None = None,
    ) -> None:
        self._load = load
        self._began = began
        self._settings = settings
        self._place = place
        self._server = Server(settings, worker=place)
        self._stopping = asyncio.Event()
        self._leaving = False
        self._reload_asked = asyncio.Event()
        orders = {STOP: self._stopping.set, LEAVE: self._leave, RELOAD: self._reload_asked.set}
        self._supervisor = None if channel is None else SupervisorLink(channel, orders)

    async def serve(self) -> int:
        if self._supervisor is None:
            self._handle_signals()
        else:
            self._supervisor.open()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stopping.set)
        asyncio.get_running_loop().set_default_executor(PassingThreads())
        try:
            await self._server.start()
        except ListenError as problem:
            from sockudo.doctor.machine import who_has  # takes a while, and is only needed here

            known = who_has(problem.taken, "--port or PORT")
            _log.error(f"the server did not start: {problem}", **known)
            return 1
        except SockudoError as problem:
            _log.error(f"the server did not start: {problem}")
            return 1
        _tune_collector()
        seconds = duration_of_start(self._began)
        text = welcome(self._server, seconds)
        if self._supervisor is None:
            print(text, flush=True)
        else:
            self._supervisor.ready(text)
        _log.info("ready", version=__version__, seconds=round(seconds, 2))
        reloading = asyncio.create_task(self._reload_when_asked())
        await self._stopping.wait()
        reloading.cancel()
        await (self._server.leave() if self._leaving else self._server.stop())
        return 0

    def _leave(self) -> None:
        self._leaving = True
        self._stopping.set()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload_asked.set)

    def _stop(self, number: int) -> None:
        """The first signal drains; a second one ends the process at once."""
        if self._stopping.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        _log.info("stopping", signal=signal.Signals(number).name)
        self._stopping.set()

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            try:
                await self._reload()
            except ConfigError as error:
                _log.error("the configuration was not reloaded; nothing changed", problems=error.problems)
            except (ListenError, SockudoError) as error:
                _log.error("the configuration was not reloaded; nothing changed", problems=[str(error)])
            except Exception:  # noqa: BLE001 - a defect, logged whole; the next signal must find a handler
                _log.exception("the reload failed")

    async def _reload(self) -> None:
        """Applies what may change while running and names what needs a restart."""
        loaded = self._load()
        applied, ignored = reloadable_changes(self._settings, loaded.settings)
        settings = reloaded(self._settings, loaded.settings)
        await self._server.reload(settings)
        self._settings = settings
        configure_logs(settings, None if self._place is None else self._place.index)
        for warning in loaded.warnings:
            _log.warning("configuration", warning=warning)
        _log.info("configuration reloaded", changed=applied)
        if ignored:
            _log.warning("these changes need a restart", keys=ignored)


def _tune_collector() -> None:
    """What is there now stays until the end: it need not be looked at again and again.

    Nor once before: of all the objects of a start, some hundred are garbage, and finding them costs an eighth of it.
    """
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    gc.enable()


def duration_of_start(began: float) -> float:
    """Seconds since the process was started, the interpreter's own start included.

    Since ``began`` alone where the process was something else first: a script that made the environment, say.
    """
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
    since = time.monotonic() - began
    return age if age - since < _LONGEST_BEFORE else since
