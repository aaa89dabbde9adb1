"""The frames of one client in the order of arrival, while the first of them waits for something."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeAlias

from sockudo import errors
from sockudo.errors import SockudoError

__all__ = ["Inbox", "OnRefusal", "Owner"]

# Messages of the client that wait while one is being worked on: more than any needs in the time that a store takes.
_MAX_FRAMES: Final = 1000
_MAX_BYTES: Final = 1024 * 1024

OnRefusal: TypeAlias = Callable[[SockudoError], None]
"""Called with the refusal that the work on a frame ended with."""


class Owner(Protocol):
    """The session whose frames these are."""

    ended: bool
    inbox: Inbox | None

    def handle(self, payload: bytes) -> None:
        """Acts on a message whose turn has come; raises nothing. It may start work once more."""
        ...

    def refuse(self, error: SockudoError) -> None:
        """Answers the client with the error."""
        ...

    def refuse_defect(self, problem: Exception) -> None:
        """Logs the exception and answers the client with an id."""
        ...

    def end(self, error: SockudoError) -> None:
        """Ends the session, which closes the inbox."""
        ...


class Inbox:
    """Keeps the order of a client's frames over work that takes time (spec: history § 4.2).

    A session of any protocol has one from the moment at which a frame cannot be finished at once until the last frame
    that waited behind it is finished; at its end the session closes it. One frame is worked on at a time. At most 1,000
    messages of together 1 MiB wait, or a single one of any size; past that the session ends with errors.OVER_CAPACITY,
    since a message that is left out would be a hole.
    """

    __slots__ = ("_frames", "_owner", "_size", "_work")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._work: asyncio.Task[None] | None = None
        self._frames: deque[bytes] = deque()
        self._size = 0

    def start(self, work: Coroutine[Any, Any, None], failed: OnRefusal | None = None) -> None:
        """Works on a frame that has to wait; a refusal goes to ``failed``, or to the client as an error frame."""
        self._work = asyncio.get_running_loop().create_task(self._carry_out(work, failed or self._owner.refuse))
        # A task that is cancelled before its first step never gets to await its work.
        self._work.add_done_callback(lambda _: work.close())

    def add(self, payload: bytes) -> None:
        """Keeps a message until those before it have been worked on."""
        self._size += len(payload)
        # A single message has a limit of its own.
        if self._frames and (len(self._frames) >= _MAX_FRAMES or self._size > _MAX_BYTES):
            self._owner.end(errors.OVER_CAPACITY("Over capacity: too many messages wait for the history store"))
            return
        self._frames.append(payload)

    def close(self) -> None:
        """Gives up the work at hand and what waits behind it."""
        self._frames.clear()
        if self._work is not None:
            self._work.cancel()
            self._work = None

    async def _carry_out(self, work: Coroutine[Any, Any, None], failed: OnRefusal) -> None:
        owner = self._owner
        try:
            await work
        except SockudoError as error:
            if not owner.ended:
                failed(error)
        except Exception as problem:  # noqa: BLE001 - logged there: a defect costs one frame, not the connection
            owner.refuse_defect(problem)
        self._work = None
        while self._frames and self._work is None:
            payload = self._frames.popleft()
            self._size -= len(payload)
            owner.handle(payload)
        if self._work is None and owner.inbox is self:
            owner.inbox = None
