"""One request that is being answered by several nodes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Iterable
from typing import Any

import structlog

__all__ = ["Asking"]

_log = structlog.get_logger("sockudo.cluster")


class Asking:
    """Which nodes are still waited for, and the answers of the others. A node counts once, with its first answer.

    ``answering`` holds what is under way in this process, which goes on when the request has ended: an order is carried
    out all the same.
    """

    def __init__(self, nodes: Iterable[str], answering: set[asyncio.Future[Any]]) -> None:
        self.left = set(nodes)
        self.values: dict[str, Any] = {}
        self.failed = False
        self._answering = answering
        self._done = asyncio.Event()

    def take(self, node_id: str, answer: Awaitable[Any] | Any) -> None:
        """Takes the answer of a node, or what becomes it."""
        if not inspect.isawaitable(answer):
            self.answered(node_id, answer)
            return
        task = asyncio.ensure_future(answer)
        self._answering.add(task)
        task.add_done_callback(lambda done: self._ended(node_id, done))

    def answered(self, node_id: str, value: Any) -> None:
        """Takes the answer of a node; one that is not waited for is dropped."""
        if node_id in self.left:
            self.values[node_id] = value
            self.forget(node_id)

    def refused(self, node_id: str) -> None:
        """The node has no answer."""
        if node_id in self.left:
            self.failed = True
            self.forget(node_id)

    def forget(self, node_id: str) -> None:
        """The node went: its answer is not waited for."""
        self.left.discard(node_id)
        if not self.left:
            self._done.set()

    async def wait(self, deadline: float) -> None:
        """Returns when all have answered, or after ``deadline`` seconds; then `failed` is set."""
        if not self.left:
            return
        try:
            await asyncio.wait_for(self._done.wait(), deadline)
        except TimeoutError:
            _log.warning("nodes did not answer in time", nodes=sorted(self.left), deadline=deadline)
            self.failed = True
            self.left.clear()

    def _ended(self, node_id: str, task: asyncio.Future[Any]) -> None:
        self._answering.discard(task)
        problem = None if task.cancelled() else task.exception()
        if task.cancelled() or problem is not None:
            # One that is too late, or of a node that went, is dropped.
            if node_id in self.left:
                _log.error("a node could not answer", node=node_id, exc_info=problem)
            self.refused(node_id)
        else:
            self.answered(node_id, task.result())
