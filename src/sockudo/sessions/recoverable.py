"""A session's places in streams, and its work that takes time: what a connection that can be recovered has besides."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.errors import SockudoError
from sockudo.hub.streams.records import Position

if TYPE_CHECKING:
    from sockudo.sessions.parked import Parked
    from sockudo.sessions.session import Session

__all__ = ["Recoverable"]

# Messages of the client that wait while one is being worked on. Nobody needs that many in the time a store takes.
_MAX_BACKLOG = 1000
_MAX_BACKLOG_BYTES = 1024 * 1024


class Recoverable:
    """The places of one session. All of protocol V2 has them, and V1 where the app lets it resume."""

    __slots__ = ("_backlog", "_backlog_bytes", "_session", "_work", "attached", "parked")

    def __init__(self, session: Session) -> None:
        # The session holds this, too: given up at its end, since nothing else would free the two of them.
        self._session: Session | None = session
        # Where each channel was when this connection was attached to it.
        self.attached: dict[str, Position] = {}
        # A resume whose answer is in the making, or the places that the last one left.
        self.parked: Parked | None = None
        self._work: asyncio.Task[None] | None = None
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0

    # ---- work that takes time ----

    @property
    def busy(self) -> bool:
        """Whether a message of the client is still being worked on; later ones wait for it (spec: history § 4.2)."""
        return self._work is not None

    def postpone(self, payload: bytes) -> None:
        """Keeps a message until those before it have been worked on."""
        self._backlog_bytes += len(payload)
        # A single message has a limit of its own.
        if self._backlog and (len(self._backlog) >= _MAX_BACKLOG or self._backlog_bytes > _MAX_BACKLOG_BYTES):
            self._backlog.clear()
            if self._session is not None:
                self._session.end(errors.OVER_CAPACITY("Over capacity: too many messages wait for the history store"))
            return
        self._backlog.append(payload)

    def start(self, work: Coroutine[Any, Any, None], failed: Callable[[SockudoError], None] | None = None) -> None:
        """Works on something that has to wait; a refusal goes to ``failed``, or to the client as an error frame."""
        self._work = asyncio.get_running_loop().create_task(self._carry_out(work, failed))
        # A task that is cancelled before its first step never gets to await its work.
        self._work.add_done_callback(lambda _: work.close())

    async def _carry_out(self, work: Coroutine[Any, Any, None], failed: Callable[[SockudoError], None] | None) -> None:
        session = self._session
        if session is None:
            return
        try:
            await work
        except SockudoError as error:
            if not session.ended:
                (failed or session.refuse)(error)
        except Exception:
            reference = unique_id()
            session.gateway.log.exception("frame failed", socket_id=session.socket_id, reference=reference)
            if not session.ended:
                session.refuse(errors.INTERNAL_ERROR(f"Internal server error {reference}"))
        self._work = None
        while self._backlog and not self.busy and not session.ended:
            payload = self._backlog.popleft()
            self._backlog_bytes -= len(payload)
            session.handle(payload)

    def stop(self) -> None:
        """The session has ended: nobody waits for anything any more."""
        self._session = None
        self._backlog.clear()
        self.parked = None
        if self._work is not None:
            self._work.cancel()
            self._work = None
