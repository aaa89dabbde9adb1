"""The sockets that all workers of a server accept connections on, opened once by their supervisor.

Each worker has a listening socket of its own on the main port, so that the system spreads connections evenly, and the
supervisor keeps all of them open. So nothing that waits to be accepted is lost when a worker ends: the next one in its
place finds it there. Where the next one is long in coming, as its forerunners ended one after the other, the socket is
closed meanwhile, and connections go to the other workers.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from sockudo.config import Settings
from sockudo.edge.listeners import ListenError, bind_unix, listening_sockets, shared_copy

__all__ = ["Listening", "warn_of_no_metrics"]

Place = tuple[str | int, ...]

_OPERATORS: Final = "metrics"

_log = structlog.get_logger("sockudo.server")


class Listening:
    """Sockets by listener, and of each listener by worker; together with what it was opened for."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._sockets: dict[str, list[list[socket.socket]]] = {}

    @classmethod
    def open(cls, settings: Settings, count: int, before: Listening | None = None) -> Listening:
        """What the settings ask for; from ``before`` what is there already. Raises `ListenError`, and closes again."""
        made = cls()
        try:
            for name, place, opener in _wanted(settings, count):
                kept = None if before is None or before._places.get(name) != place else before._sockets.get(name)
                try:
                    made._sockets[name] = opener() if kept is None else kept
                except ListenError as problem:
                    if name != _OPERATORS:
                        raise
                    warn_of_no_metrics(settings, problem)
                else:
                    made._places[name] = place
        except ListenError:
            made.close(kept=before)
            raise
        return made

    def changed(self, settings: Settings, count: int) -> Listening:
        """What other settings ask for; sockets that stay are shared with this one."""
        return Listening.open(settings, count, self)

    def of(self, slot: int, others: Sequence[Listening]) -> Mapping[str, Sequence[socket.socket]]:
        """The sockets of one worker, in its own process, where all others are closed."""
        own = {name: sockets[slot] for name, sockets in self._sockets.items() if slot < len(sockets)}
        kept = {each for sockets in own.values() for each in sockets}
        for listening in (self, *others):
            for each in listening._every():
                if each not in kept:
                    each.close()
        return own

    def rest(self, slot: int) -> None:
        """Nothing accepts for the slot for a while: what would wait there goes to others, as long as there are any."""
        for copies in self._sockets.values():
            if slot < len(copies) and _open_beside(copies, slot):
                for each in copies[slot]:
                    each.close()

    def wake(self, slot: int) -> None:
        """Opens again what rests. Raises OSError."""
        for copies in self._sockets.values():
            if slot < len(copies) and any(each.fileno() < 0 for each in copies[slot]):
                copies[slot] = [shared_copy(each) for each in _open_beside(copies, slot)]

    def close(self, kept: Listening | None = None) -> None:
        """Closes what is not ``kept`` by another one, and removes the files of Unix sockets."""
        staying = set() if kept is None else set(kept._every())
        for each in self._every():
            if each not in staying:
                name = each.getsockname() if each.family == socket.AF_UNIX and each.fileno() >= 0 else None
                each.close()
                if name:
                    with contextlib.suppress(OSError):
                        Path(name).unlink()

    def _every(self) -> Sequence[socket.socket]:
        return [each for copies in self._sockets.values() for sockets in copies for each in sockets]


def _open_beside(copies: Sequence[Sequence[socket.socket]], slot: int) -> Sequence[socket.socket]:
    """The open sockets of another slot, which are none of this one's own."""
    for place, sockets in enumerate(copies):
        if place != slot and sockets is not copies[slot] and all(each.fileno() >= 0 for each in sockets):
            return sockets
    return ()


def _wanted(settings: Settings, count: int) -> Sequence[tuple[str, Place, Callable[[], list[list[socket.socket]]]]]:
    """Of each listener its name, what it is opened for, and how."""
    found: list[tuple[str, Place, Callable[[], list[list[socket.socket]]]]] = []

    def tcp(name: str, host: str, port: int, copies: int) -> None:
        found.append((name, (host, port), lambda: listening_sockets(host, port, copies)))

    unix = settings.unix_socket
    if unix.enabled:
        mode = int(unix.permission_mode, 8)
        # There is no sharing of its name: all accept from one queue.
        found.append(("unix", (unix.path, mode), lambda: [[bind_unix(Path(unix.path), mode)]] * count))
    else:
        tcp("main", settings.host, settings.port, count)
        if settings.ssl.enabled and settings.ssl.redirect_http:
            tcp("redirect", settings.host, settings.ssl.http_port, count)
    if settings.metrics.enabled or settings.dashboard.enabled:
        # Who logs in to the dashboard is known to one process.
        tcp(_OPERATORS, settings.metrics.host, settings.metrics.port, 1)
    return found


def warn_of_no_metrics(settings: Settings, problem: ListenError) -> None:
    """Says that metrics and dashboard are missing, and who has their port."""
    from sockudo.doctor.machine import who_has  # takes a while, and is only needed here

    wanted = (("metrics", settings.metrics.enabled), ("dashboard", settings.dashboard.enabled))
    known = who_has(problem.taken, "--metrics-port or METRICS_PORT")
    _log.warning(" and ".join(f"no {name}" for name, on in wanted if on), reason=str(problem), **known)
