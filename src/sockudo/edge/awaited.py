"""A publish on the express lane whose answer waits for a commit: what its connection must know meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["AwaitedReply"]


class AwaitedReply:
    """Stands where uvicorn keeps its request cycle, so that requests pipelined behind this one wait for its answer.

    ``answer`` is called with the finished task while the connection is still there.
    """

    def __init__(self, task: asyncio.Task[bytes], answer: Callable[[asyncio.Task[bytes]], None]) -> None:
        self.message_event = self
        self.response_complete = False
        self.response_started = False
        self.more_body = False
        self.disconnected = False
        self.keep_alive = True
        self._answer = answer
        task.add_done_callback(self._end)

    def set(self) -> None:
        """uvicorn wakes the request cycle of a connection that was lost; nothing sleeps here."""

    def _end(self, task: asyncio.Task[bytes]) -> None:
        self.response_complete = True
        if not self.disconnected:
            self._answer(task)
