"""A publish on the express lane whose answer waits for a commit: what its connection must know meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["AwaitedReply"]


class _Nobody:
    """What uvicorn wakes when a connection is lost; nothing sleeps here."""

    def set(self) -> None:
        pass


_NOBODY = _Nobody()


class AwaitedReply:
    """Stands where uvicorn keeps its request cycle, so that requests pipelined behind this one wait for its answer.

    ``answer`` is called with the reply, which is there, while the connection is still there.
    """

    def __init__(self, reply: asyncio.Future[Any], answer: Callable[[asyncio.Future[Any]], None]) -> None:
        self.message_event = _NOBODY
        self.response_complete = False
        self.response_started = False
        self.more_body = False
        self.disconnected = False
        self.keep_alive = True
        self._answer: Callable[[asyncio.Future[Any]], None] | None = answer
        reply.add_done_callback(self._end)

    def _end(self, reply: asyncio.Future[Any]) -> None:
        self.response_complete = True
        # It leads to the connection, and that leads here: given up, or only the garbage collector would free them.
        answer, self._answer = self._answer, None
        if answer is not None and not self.disconnected:
            answer(reply)
