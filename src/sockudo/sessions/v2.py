"""What a session on protocol V2 has besides: its rights, its token, its places in streams, and work that takes time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from sockudo import errors
from sockudo.auth.capabilities import NO_CAPABILITIES, Capabilities
from sockudo.errors import SockudoError
from sockudo.ids import unique_id
from sockudo.limits.windows import SocketWindow
from sockudo.streams.records import Position

if TYPE_CHECKING:
    from sockudo.auth.tokens import Token
    from sockudo.sessions.parked import Parked
    from sockudo.sessions.session import Session

__all__ = ["V2State"]

# Messages of the client that wait while one is being worked on. Nobody needs that many in the time a store takes.
_MAX_BACKLOG = 1000


class V2State:
    """The V2 side of one session."""

    __slots__ = (
        "_backlog",
        "_session",
        "_work",
        "attached",
        "capabilities",
        "client",
        "expiry_told_at",
        "history_requests",
        "last_ping",
        "parked",
        "token",
        "updates",
    )

    def __init__(self, session: Session, client: str = "") -> None:
        self._session = session
        # The `client` parameter of the connection's URL: which SDK it is.
        self.client = client
        self.capabilities: Capabilities = NO_CAPABILITIES
        self.token: Token | None = None
        # When the client was told that its token has expired; None while it has not.
        self.expiry_told_at: float | None = None
        # Where each channel was when this connection was attached to it.
        self.attached: dict[str, Position] = {}
        # Positions of channels that are not subscribed yet, until they are.
        self.parked: Parked | None = None
        self.history_requests = 0
        self.updates: dict[str, SocketWindow] | None = None
        # Payload of the native ping that has not been answered.
        self.last_ping: bytes | None = None
        self._work: asyncio.Task[None] | None = None
        self._backlog: deque[bytes] = deque()

    # ---- work that takes time ----

    @property
    def busy(self) -> bool:
        """Whether a message of the client is still being worked on; later ones wait for it (contract 30 § 4.2)."""
        return self._work is not None

    def postpone(self, payload: bytes) -> None:
        """Keeps a message until those before it have been worked on."""
        if len(self._backlog) >= _MAX_BACKLOG:
            self._backlog.clear()
            self._session.end(errors.OVER_CAPACITY("Over capacity: too many messages wait for the history store"))
            return
        self._backlog.append(payload)

    def start(self, work: Coroutine[Any, Any, None], failed: Callable[[SockudoError], None] | None = None) -> None:
        """Works on something that has to wait; a refusal goes to ``failed``, or to the client as an error frame."""
        self._work = asyncio.get_running_loop().create_task(self._carry_out(work, failed))

    async def _carry_out(self, work: Coroutine[Any, Any, None], failed: Callable[[SockudoError], None] | None) -> None:
        session = self._session
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
            session.handle(self._backlog.popleft())

    def stop(self) -> None:
        """The session has ended: nobody waits for anything any more."""
        self._backlog.clear()
        self.parked = None
        if self._work is not None:
            self._work.cancel()
            self._work = None
