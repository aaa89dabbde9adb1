"""The supervisor of several workers: starts them, looks after them, replaces them, and ends them.

It is one thread without an event loop, so that a worker can be forked off it at any time. A worker is then there within
a moment, has the configuration that the others have, and shares the memory of everything that was imported. No message
passes through the supervisor: what the workers have to say to each other goes over their mesh.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import selectors
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from sockudo.base.version import __version__
from sockudo.cli.restart import RESTART_SIGNAL
from sockudo.config import ConfigError, Loaded, Settings, reloadable_changes, reloaded
from sockudo.edge.listeners import ListenError
from sockudo.errors import SockudoError
from sockudo.server.forked import SIGNALS, ForkedWorker
from sockudo.server.listening import Listening
from sockudo.server.logs import configure_logs
from sockudo.server.worker import LEAVE, LONGEST_MESSAGE, PING, PONG, READY, RELOAD, STOP, WorkerPlace
from sockudo.storage.claims import Claims
from sockudo.storage.folder_place import FolderPlace
from sockudo.storage.occupants import Occupant

__all__ = ["Supervisor"]

_PING_EVERY: Final = 1.0
_SILENCE: Final = 10.0
"""Seconds after which a worker whose loop does not answer is killed."""
_LIVED: Final = 10.0
"""Seconds after which an end is not counted as the end of a start."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0
_MAY_WAIT: Final = 1.0
"""Seconds that connections may wait for the next worker in a place; where it takes longer the others have them."""
_BEYOND_GRACE: Final = 15.0
"""Seconds that closing stores may take once all connections have ended."""
_log = structlog.get_logger("sockudo.process")

Work = Callable[[Settings, WorkerPlace, socket.socket], int]
"""What a worker does, in a process of its own, until its exit code."""


@dataclass(slots=True)
class _Generation:
    """Workers of one configuration. ``listening`` is what they accept connections on."""

    settings: Settings
    listening: Listening
    ready: set[int] = field(default_factory=set)
    welcome: str = ""


_Worker = ForkedWorker[_Generation]


class Supervisor:
    """Runs ``count`` workers with ``settings`` until a signal stops it. ``load`` reads the configuration anew."""

    def __init__(self, load: Callable[[], Loaded], settings: Settings, count: int, work: Work) -> None:
        self._load = load
        self._settings = settings
        self._count = count
        self._work = work
        self._workers: dict[int, _Worker] = {}
        self._current: _Generation | None = None
        self._coming: _Generation | None = None
        self._due: dict[int, float] = {}
        self._failures = [0] * count
        self._stopping: int | None = None
        self._code = 0
        self._selector = selectors.DefaultSelector()
        self._heard, self._wakeup = socket.socketpair()
        self._looked = time.monotonic()
        self._pinged = 0.0

    def run(self) -> int:
        """Returns the exit code: 0 after an orderly stop, 1 when the server could not start."""
        folder = FolderPlace(self._settings.data_dir, Occupant.current(time.time(), workers=self._count))
        try:
            asyncio.run(Claims([folder], shared=self._settings.instance.shared_stores).start())
            listening = Listening.open(self._settings, self._count)
        except ListenError as problem:
            from sockudo.doctor.machine import who_has  # takes a while, and is only needed here

            _log.error(f"the server did not start: {problem}", **who_has(problem.taken, "--port or PORT"))
            return 1
        except SockudoError as problem:
            _log.error(f"the server did not start: {problem}")
            return 1
        self._run_dir = Path(tempfile.mkdtemp(prefix="sockudo-"))
        try:
            self._watch_signals()
            self._prepare()
            self._replace(self._settings, listening)
            while self._workers or self._due:
                self._turn()
        finally:
            self._close(folder)
        if self._code == 0:
            _log.info("stopped")
        return self._code

    def _prepare(self) -> None:
        """What every worker will need is there before they are made, and is not looked through by their collectors."""
        if self._settings.dashboard.enabled:
            pass
        gc.freeze()

    def _close(self, folder: FolderPlace) -> None:
        for generation in (self._current, self._coming):
            if generation is not None:
                generation.listening.close()
        shutil.rmtree(self._run_dir, ignore_errors=True)
        asyncio.run(folder.release())

    # ---- signals ----

    def _watch_signals(self) -> None:
        self._heard.setblocking(False)
        self._wakeup.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._heard, selectors.EVENT_READ)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)

    def _signalled(self, number: int) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self._stop(number)
            case signal.SIGHUP:
                self._reload()
            case _ if number == RESTART_SIGNAL:
                self._restart()
            case _:
                # A child ended, which every turn looks for.
                pass

    def _stop(self, number: int) -> None:
        """The first signal has all drain; a second one ends the processes at once."""
        if self._stopping is not None:
            self._kill_all()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        _log.info("stopping", signal=signal.Signals(number).name)
        self._end_all()

    def _end_all(self) -> None:
        self._stopping = 0
        self._due.clear()
        for worker in self._workers.values():
            worker.say(STOP)
            worker.ends_by = time.monotonic() + worker.generation.settings.shutdown_grace_period + _BEYOND_GRACE

    def _kill_all(self) -> None:
        for worker in self._workers.values():
            worker.kill()
        for pid in self._workers:
            os.waitpid(pid, 0)
        shutil.rmtree(self._run_dir, ignore_errors=True)

    # ---- one turn ----

    def _turn(self) -> None:
        now = time.monotonic()
        until = min([self._pinged + _PING_EVERY, *self._due.values()])
        for key, _ in self._selector.select(max(0.0, until - now)):
            if key.fileobj is self._heard:
                for number in self._heard.recv(LONGEST_MESSAGE):
                    self._signalled(number)
            elif key.data.pid in self._workers:
                self._read(key.data)
        self._reap()
        self._look()

    def _read(self, worker: _Worker) -> None:
        message = worker.next_message()
        if message is None:
            return
        if not message:
            self._selector.unregister(worker.channel)
        elif message == PONG:
            worker.answered = time.monotonic()
        elif message.startswith(READY):
            self._became_ready(worker, message.removeprefix(READY).decode(errors="replace"))

    def _reap(self) -> None:
        for worker in list(self._workers.values()):
            code = worker.exit_code()
            if code is not None:
                del self._workers[worker.pid]
                with contextlib.suppress(KeyError):
                    self._selector.unregister(worker.channel)
                worker.channel.close()
                self._ended(worker, code)

    def _look(self) -> None:
        """Pings, kills what does not answer or does not end, and starts what is due."""
        now = time.monotonic()
        stood_still = now - self._looked - _PING_EVERY
        self._looked = now
        if stood_still > _PING_EVERY:
            # It was this process, or the whole machine, that did nothing.
            for worker in self._workers.values():
                worker.answered += stood_still
        for worker in self._workers.values():
            silent = now - worker.answered > _SILENCE
            if silent or (worker.ends_by is not None and now > worker.ends_by):
                why = "its loop does not answer" if silent else "it does not end"
                _log.error("a worker is killed", of=worker.slot, process=worker.pid, reason=why)
                worker.kill()
                worker.answered, worker.ends_by = now, None
        if now - self._pinged >= _PING_EVERY:
            self._pinged = now
            for worker in self._workers.values():
                worker.say(PING)
        for slot in [slot for slot, at in self._due.items() if at <= now]:
            del self._due[slot]
            if self._current is not None:
                self._fork(slot, self._current)

    # ---- workers come ----

    def _replace(self, settings: Settings, listening: Listening) -> None:
        """Starts a worker for each place; the first alone, since it makes what is not there yet."""
        self._coming = _Generation(settings, listening)
        self._fork(0, self._coming)

    def _became_ready(self, worker: _Worker, welcome: str) -> None:
        generation = worker.generation
        first = not generation.ready
        generation.ready.add(worker.slot)
        if generation is not self._coming:
            return
        if first:
            generation.welcome = welcome
            for slot in range(1, self._count):
                self._fork(slot, generation)
        if len(generation.ready) == self._count:
            self._take_over(generation)

    def _take_over(self, generation: _Generation) -> None:
        """All of the new workers are ready: those that there were leave."""
        before, self._current, self._coming = self._current, generation, None
        self._settings = generation.settings
        if before is None:
            print(generation.welcome, flush=True)
            _log.info("all workers are ready", version=__version__, workers=self._count)
            return
        _log.info("all workers were replaced", workers=self._count)
        self._due.clear()
        grace = before.settings.drain_window + before.settings.shutdown_grace_period + _BEYOND_GRACE
        for worker in self._workers.values():
            if worker.generation is before:
                worker.leaving = True
                worker.ends_by = time.monotonic() + grace
                worker.say(LEAVE)
        before.listening.close(kept=generation.listening)

    def _fork(self, slot: int, generation: _Generation) -> None:
        try:
            generation.listening.wake(slot)
        except OSError as problem:
            # It ends for that reason, and the next one tries it again.
            _log.error("a port could not be opened again", of=slot, reason=problem.strerror)
        worker = ForkedWorker.start(slot, generation, partial(self._in_worker, slot, generation))
        self._workers[worker.pid] = worker
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)

    def _in_worker(self, slot: int, generation: _Generation, channel: socket.socket) -> int:
        """What the copy of this process does, without what belongs to the supervisor and to other workers."""
        self._selector.close()
        for each in (self._heard, self._wakeup, *(worker.channel for worker in self._workers.values())):
            each.close()
        others = [each.listening for each in (self._current, self._coming) if each not in (None, generation)]
        sockets = generation.listening.of(slot, others=others)
        place = WorkerPlace(generation.settings.instance.process_id, slot, self._count, self._run_dir, sockets)
        return self._work(generation.settings, place, channel)

    # ---- workers go ----

    def _ended(self, worker: _Worker, code: int) -> None:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if self._stopping is not None:
            if code:
                _log.warning("a worker did not end in order", of=worker.slot, process=worker.pid, how=how)
            return
        if worker.leaving:
            _log.info("a worker has left", of=worker.slot, process=worker.pid)
        elif worker.generation is self._coming:
            self._give_up(worker, code, how)
        elif worker.generation is self._current:
            self._start_again(worker, how)

    def _give_up(self, worker: _Worker, code: int, how: str) -> None:
        """A new worker did not become ready: at the start that is the end, later the old ones go on."""
        coming, self._coming = self._coming, None
        if self._current is None:
            self._current = coming
            self._code = 1
            if code != 1:
                _log.error("the server did not start", of=worker.slot, how=how)
            self._end_all()
            return
        _log.error("the workers were not replaced, the old ones go on", of=worker.slot, how=how)
        for each in self._workers.values():
            if each.generation is coming:
                each.leaving = True
                each.say(STOP)
        if coming is not None:
            coming.listening.close(kept=self._current.listening)
        there = {each.slot for each in self._workers.values() if each.generation is self._current}
        self._due.update((slot, time.monotonic()) for slot in range(self._count) if slot not in there)

    def _start_again(self, worker: _Worker, how: str) -> None:
        worker.generation.ready.discard(worker.slot)
        if self._coming is not None:
            # Another one is about to take its place.
            return
        now = time.monotonic()
        lasted = now - worker.began > _LIVED
        failures = self._failures[worker.slot] = 0 if lasted else self._failures[worker.slot] + 1
        pause = 0.0 if failures <= 1 else min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (failures - 2))
        _log.error("a worker ended and is started again", of=worker.slot, process=worker.pid, how=how, after=pause)
        self._due[worker.slot] = now + pause
        if pause > _MAY_WAIT:
            worker.generation.listening.rest(worker.slot)

    # ---- new settings ----

    def _reload(self) -> None:
        """Passes on what may change while running; what needs a restart has the workers replaced."""
        settings = self._read_settings()
        if settings is None or self._current is None:
            return
        _, ignored = reloadable_changes(self._settings, settings)
        if ignored:
            self._replace_with(settings, ignored)
            return
        self._settings = self._current.settings = reloaded(self._settings, settings)
        configure_logs(self._settings)
        for worker in self._workers.values():
            if worker.generation is self._current:
                worker.say(RELOAD)

    def _restart(self) -> None:
        """Replaces every worker, also where the configuration did not change."""
        settings = self._read_settings()
        if settings is not None and self._current is not None:
            self._replace_with(settings, ())

    def _read_settings(self) -> Settings | None:
        """What the configuration says now; None for one that cannot be used, or while nothing may change."""
        if self._stopping is not None or self._coming is not None:
            _log.warning("nothing was reloaded: the server is starting, restarting or stopping")
            return None
        try:
            loaded = self._load()
        except ConfigError as error:
            _log.error("the configuration was not reloaded; nothing changed", problems=error.problems)
            return None
        for warning in loaded.warnings:
            _log.warning("configuration", warning=warning)
        return loaded.settings

    def _replace_with(self, settings: Settings, changed: Sequence[str]) -> None:
        fixed = [key for key in ("data_dir", "workers") if _differ(self._settings, settings, key)]
        if fixed:
            problem = f"{' and '.join(fixed)} can only change when the server is stopped and started"
            _log.error("the configuration was not reloaded; nothing changed", problems=[problem])
            return
        current = self._current
        if current is None:
            return
        try:
            listening = current.listening.changed(settings, self._count)
        except ListenError as problem:
            _log.error("the configuration was not reloaded; nothing changed", problems=[str(problem)])
            return
        configure_logs(settings)
        _log.info("the workers are replaced", changed=list(changed))
        self._replace(settings, listening)


def _differ(old: Settings, new: Settings, name: str) -> bool:
    return bool(getattr(old, name) != getattr(new, name))
