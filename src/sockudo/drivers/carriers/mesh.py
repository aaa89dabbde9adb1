"""The carrier between the workers of one machine: a Unix socket of each, and a connection between every two.

Each worker listens on a socket of its own in the run directory, and looks once, when it starts, for those that are
there. Of two the one whose name sorts first makes the connection; the other one only knocks, so that it does. Every
worker tells every other which topics it wants, so a payload goes nowhere else, and a publish that no one else wants
leaves no trace.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Collection, Sequence
from pathlib import Path
from typing import Final

import structlog

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.carrier import CarrierObserver
from sockudo.drivers.carriers.mesh_link import MAX_PAYLOAD, Link, payload_frame

__all__ = ["MeshCarrier", "mesh_carrier"]

_ENDING: Final = ".sock"
_BACKLOG: Final = 512
# A worker that is stopped accepts nothing; the others do not wait for it longer than that when they start.
_OPENING_SECONDS: Final = 2.0
_CLOSING_SECONDS: Final = 1.0
_LONGEST_PAUSE: Final = 1.0
# A loop that stood still for so long has not read what the others want by now.
_STOOD_STILL: Final = 0.1
_TICK: Final = _STOOD_STILL / 2

_log = structlog.get_logger("sockudo.cluster")


def mesh_carrier(run_dir: Path) -> MeshCarrier:
    """A worker's part in the mesh of ``run_dir``, not opened yet."""
    return MeshCarrier(run_dir)


class MeshCarrier:
    """A `Carrier` over Unix sockets; every process that may use the run directory is trusted."""

    def __init__(self, run_dir: Path) -> None:
        self.name = f"the workers' sockets in {run_dir}"
        self.max_payload = MAX_PAYLOAD
        self.dropped = 0
        self._run_dir = run_dir
        self._own_name = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._observer: CarrierObserver | None = None
        self._server: asyncio.Server | None = None
        self._accepted: set[Link] = set()
        self._links: dict[str, Link] = {}
        # Workers that are there, without a settled link to them.
        self._missing: dict[str, asyncio.Future[None]] = {}
        self._reaching: set[asyncio.Task[None]] = set()
        self._up = asyncio.Event()
        self._wanted: dict[str, tuple[Link, ...]] = {}
        self._topics: dict[str, int] = {}
        self._names: dict[bytes, str] = {}
        self._changes: dict[str, bool] = {}
        self._number = 1
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}
        # What each worker has confirmed; 0 for one that did not answer on its link yet.
        self._in_force: dict[str, int] = {}
        # Workers whose link ended without goodbye, with the topics that they wanted.
        self._cut: dict[str, Collection[str]] = {}
        self._inbox: list[tuple[str, bytes]] = []
        self._ticked = time.monotonic()
        self._ticking: asyncio.Handle | None = None

    # ---- opening and closing ----

    async def open(self, observer: CarrierObserver) -> None:
        """Listens, and connects with every worker that is there. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._observer = observer
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        listening = self._listen()
        self._server = await loop.create_unix_server(lambda: self._make_link(dialed=False), sock=listening)
        self._tick()
        for path in self._run_dir.glob(f"*{_ENDING}"):
            if path.stem != self._own_name:
                self._reach(path.stem)
        self._check_up()
        try:
            await asyncio.wait_for(self._up.wait(), _OPENING_SECONDS)
        except TimeoutError:
            # It takes every topic for wanted until they answer or end.
            _log.warning("workers do not answer yet", workers=len(self._missing))
            self._up.set()
            observer.connected()

    def _listen(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        hidden = self._run_dir / f".{self._own_name}"
        try:
            made.setblocking(False)
            made.bind(str(hidden))
            made.listen(_BACKLOG)
            # Others see it from the moment on in which it accepts: one that does not is of a worker that ended.
            hidden.rename(self._path(self._own_name))
        except BaseException:
            made.close()
            raise
        return made

    def _path(self, name: str) -> Path:
        return self._run_dir / f"{name}{_ENDING}"

    async def close(self) -> None:
        self._observer = None
        if self._ticking is not None:
            self._ticking.cancel()
        await end_tasks(self._reaching)
        self._path(self._own_name).unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        links = self._every_link()
        for link in links:
            link.leave()
        if links:
            await asyncio.wait({link.closed for link in links}, timeout=_CLOSING_SECONDS)
        for link in links:
            link.abort()
        for confirmed in self._unconfirmed.values():
            confirmed.cancel()
        self._unconfirmed.clear()

    def _every_link(self) -> list[Link]:
        return [*self._accepted, *self._links.values()]

    # ---- the carrier's calls ----

    def publish(self, topic: str, payload: bytes) -> None:
        if self._observer is None:
            return
        if len(payload) > MAX_PAYLOAD:
            self.dropped += 1
            return
        if topic in self._topics:
            if not self._inbox:
                asyncio.get_running_loop().call_soon(self._hand_over)
            self._inbox.append((topic, payload))
        links = self._wanted.get(topic, ()) if not self._stood_still() else tuple(self._links.values())
        if links:
            frame = payload_frame(topic, payload)
            for link in links:
                link.send(frame)

    def _hand_over(self) -> None:
        inbox, self._inbox = self._inbox, []
        for topic, payload in inbox:
            if self._observer is not None and topic in self._topics:
                self._observer.arrived(topic, payload)

    def subscribe(self, topic: str) -> Awaitable[None]:
        number = self._topics.get(topic)
        if number is None:
            number = self._topics[topic] = self._change(topic, wanted=True)
            self._names[topic.encode()] = topic
        found = self._unconfirmed.get(number)
        if found is not None:
            return asyncio.shield(found)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def unsubscribe(self, topic: str) -> None:
        if self._topics.pop(topic, None) is not None:
            del self._names[topic.encode()]
            self._change(topic, wanted=False)

    def interested(self, topic: str) -> bool:
        return topic in self._wanted or bool(self._missing) or self._stood_still()

    def reconnect(self) -> None:
        if self._observer is None:
            return
        self._down("every link is made anew, as was asked")
        for link in self._every_link():
            self._lose(link)
            link.abort()
        self._check_up()

    # ---- topics ----

    def _change(self, topic: str, *, wanted: bool) -> int:
        """The number with which the change is announced at the end of this turn."""
        if not self._changes:
            loop = asyncio.get_running_loop()
            self._number += 1
            self._unconfirmed[self._number] = loop.create_future()
            loop.call_soon(self._announce)
        # What comes last of a turn holds, and is announced in the order of the last changes.
        self._changes.pop(topic, None)
        self._changes[topic] = wanted
        return self._number

    def _announce(self) -> None:
        changes, self._changes = self._changes, {}
        added = [topic for topic, wanted in changes.items() if wanted]
        ended = [topic for topic, wanted in changes.items() if not wanted]
        for link in self._links.values():
            link.announce(self._number, added, ended)
        self._confirm()

    @property
    def _announced(self) -> int:
        """The number of the last change that every link has."""
        return self._number - bool(self._changes)

    def _confirm(self) -> None:
        """Ends what waits for subscriptions that every worker has in force."""
        everywhere = min(self._in_force.values(), default=self._announced)
        while self._unconfirmed:
            number = next(iter(self._unconfirmed))
            if number > min(everywhere, self._announced):
                return
            confirmed = self._unconfirmed.pop(number)
            if not confirmed.done():
                confirmed.set_result(None)

    def _forget_wants(self, link: Link) -> Collection[str]:
        """Which topics these were."""
        wants, link.wants = link.wants, set()
        for topic in wants:
            self._unwant(topic, link)
        return wants

    def _unwant(self, topic: str, link: Link) -> None:
        left = tuple(each for each in self._wanted.get(topic, ()) if each is not link)
        if left:
            self._wanted[topic] = left
        else:
            self._wanted.pop(topic, None)

    # ---- whether the loop stood still ----

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        if self._stood_still():
            # Two turns on, every link was read once.
            self._ticking = loop.call_soon(self._read_once)
        else:
            self._ticked = time.monotonic()
            self._ticking = loop.call_later(_TICK, self._tick)

    def _read_once(self) -> None:
        self._ticking = asyncio.get_running_loop().call_soon(self._caught_up)

    def _caught_up(self) -> None:
        self._ticked = time.monotonic()
        self._tick()

    def _stood_still(self) -> bool:
        return time.monotonic() - self._ticked > _STOOD_STILL

    # ---- links ----

    def _make_link(self, *, dialed: bool) -> Link:
        link = Link(self, self._own_name, dialed=dialed)
        self._accepted.add(link)
        return link

    def _reach(self, peer: str) -> None:
        """Makes a link to a worker, or finds that it is gone."""
        if self._observer is None or peer in self._missing:
            return
        self._in_force[peer] = 0
        self._missing[peer] = asyncio.get_running_loop().create_future()
        [task] = start_tasks(self._dial(peer, self._missing[peer]))
        self._reaching.add(task)
        task.add_done_callback(self._reaching.discard)

    async def _dial(self, peer: str, settled: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        pause = _TICK
        while not settled.done():
            made = socket.socket(socket.AF_UNIX)
            made.setblocking(False)
            try:
                made.connect(str(self._path(peer)))
            except (FileNotFoundError, ConnectionRefusedError):
                made.close()
                self._path(peer).unlink(missing_ok=True)
                self._gone(peer)
                return
            except OSError:
                # More wait for it than its backlog holds.
                made.close()
            else:
                _, link = await loop.create_unix_connection(lambda: self._make_link(dialed=True), sock=made)
                await asyncio.wait({settled, link.closed}, return_when=asyncio.FIRST_COMPLETED)
            if not settled.done():
                # It was a knock, and the other side is about to come; else this goes on from the start.
                await asyncio.wait({settled}, timeout=pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def greeted(self, link: Link, peer: str) -> None:
        if self._observer is None or (peer < self._own_name) == link.dialed:
            # Of two links between two workers one would be too many: the first of them by name dials.
            if peer not in self._links:
                self._reach(peer)
            link.abort()
            return
        before = self._links.get(peer)
        if before is not None:
            # Its end has not been noticed yet.
            self._cut[peer] = self._forget_wants(before)
            before.abort()
        link.peer = peer
        self._accepted.discard(link)
        self._links[peer] = link
        self._in_force[peer] = 0
        self._missing.setdefault(peer, asyncio.get_running_loop().create_future())
        if not link.dialed:
            link.hello()
        link.announce(self._announced, [topic for topic in self._topics if topic not in self._changes])

    def announced(self, link: Link, number: int, added: Sequence[str], ended: Sequence[str]) -> None:
        if self._links.get(link.peer or "") is not link:
            return
        for topic in added:
            if topic not in link.wants:
                link.wants.add(topic)
                self._wanted[topic] = (*self._wanted.get(topic, ()), link)
        for topic in ended:
            if topic in link.wants:
                link.wants.discard(topic)
                self._unwant(topic, link)
        if number:
            link.confirm(number)
            link.known = True
            self._check_settled(link)

    def confirmed(self, link: Link, number: int) -> None:
        if link.peer is not None and self._links.get(link.peer) is link:
            link.in_force = True
            self._in_force[link.peer] = number
            self._confirm()
            self._check_settled(link)

    def arrived(self, topic: bytes, payload: bytes) -> None:
        name = self._names.get(topic)
        if name is not None and self._observer is not None:
            self._observer.arrived(name, payload)

    def lossy(self, link: Link) -> None:
        _log.warning("a worker did not keep up: payloads for it were dropped", worker=link.peer)
        if self._observer is not None:
            self._observer.lost(None)

    def ended(self, link: Link) -> None:
        self._accepted.discard(link)
        peer = link.peer
        if not link.left:
            self._lose(link)
        elif peer is not None and self._links.get(peer) is link:
            del self._links[peer]
            self._forget_wants(link)
            self._gone(peer, cleanly=True)

    def _lose(self, link: Link) -> None:
        """A link ended, and its worker perhaps did not: then it is cut, and made anew."""
        peer = link.peer
        if peer is None or self._links.get(peer) is not link:
            return
        del self._links[peer]
        self._found(peer)
        self._cut[peer] = self._forget_wants(link) or self._cut.get(peer, ())
        self._reach(peer)

    # ---- who is there ----

    def _check_settled(self, link: Link) -> None:
        peer = link.peer
        if peer is None or not link.settled or not self._found(peer):
            return
        if peer in self._cut:
            del self._cut[peer]
            self._down("the connection with a worker was cut")
        self._check_up()

    def _found(self, peer: str) -> bool:
        """A worker is not missing any more; False if it was not."""
        waited = self._missing.pop(peer, None)
        if waited is not None and not waited.done():
            waited.set_result(None)
        return waited is not None

    def _gone(self, peer: str, *, cleanly: bool = False) -> None:
        self._found(peer)
        wanted = self._cut.pop(peer, ())
        self._in_force.pop(peer, None)
        self._confirm()
        if not cleanly and self._up.is_set() and self._observer is not None:
            self._observer.gone(wanted)
            # What it had not written yet is lost.
            self._observer.lost(None)
        self._check_up()

    def _down(self, reason: str) -> None:
        if self._up.is_set() and self._observer is not None:
            self._up.clear()
            self._observer.disconnected(reason)

    def _check_up(self) -> None:
        if not self._missing and not self._up.is_set() and self._observer is not None:
            self._up.set()
            self._observer.connected()
