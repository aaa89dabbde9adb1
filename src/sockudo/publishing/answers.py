"""The answer to a publish, at once or when its message has been stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from sockudo.errors import SockudoError
from sockudo.publishing.publisher import Pending, check_stored

__all__ = ["OK", "Answer", "Owned", "Waits", "after", "answer_to", "forget", "ok"]

OK = b'{"ok":true}'
"""The reply to a publish that asked for nothing: always this very object."""

Answer = bytes | asyncio.Future[bytes]
"""The reply's JSON text, or the future that ends with it."""

Waits = Pending | asyncio.Future[bytes]
"""A message that is being stored, or the answer to another request that publishes it."""


def ok() -> bytes:
    """The reply to a publish that asked for nothing."""
    return OK


def answer_to(waits: Waits, reply: Callable[[], bytes]) -> asyncio.Future[bytes]:
    """A future of its own, so that a caller who gives up does not cancel the wait of the others."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def end(done: Waits) -> None:
        if answer.done():
            return
        if done.cancelled():
            answer.cancel()
            return
        try:
            check_stored(done)
            answer.set_result(reply())
        except Exception as problem:  # noqa: BLE001 - raised where it is awaited, like that of a task
            answer.set_exception(problem)
            # A caller that has gone does not ask any more.
            answer.exception()

    waits.add_done_callback(end)
    return answer


async def after(pending: Sequence[Waits]) -> None:
    """Returns once all of it is stored; the first failure in order is raised after all have ended."""
    if pending:
        await asyncio.wait(pending)
    failure: SockudoError | None = None
    for waits in pending:
        try:
            check_stored(waits)
        except SockudoError as error:
            failure = failure or error
    if failure is not None:
        raise failure


def forget(pending: Sequence[Waits]) -> None:
    """Messages that are being stored although the request as a whole has failed: they have no waiter."""
    for waits in pending:
        waits.add_done_callback(lambda done: None if done.cancelled() else done.exception())


class Owned:
    """Work that goes on when its caller has gone, such as the wait for a commit."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[bytes]] = set()

    def start(self, work: Coroutine[object, object, bytes]) -> asyncio.Task[bytes]:
        """The task that does the work; what it raises is only raised where it is awaited."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[bytes]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # A caller that has gone does not ask any more.
            task.exception()
