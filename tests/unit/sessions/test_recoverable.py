"""Work of a session that takes time, when the session ends before it does."""

from __future__ import annotations

import asyncio
import inspect
from typing import cast

from sockudo.sessions.recoverable import Recoverable
from sockudo.sessions.session import Session


async def test_work_is_closed_when_the_session_ends_before_its_first_step() -> None:
    """A coroutine that is dropped without having run is a warning in the log."""
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    coroutine = work()
    recoverable = Recoverable(cast(Session, None))
    recoverable.start(coroutine)
    recoverable.stop()
    for _ in range(3):
        await asyncio.sleep(0)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    assert not done.is_set()
    assert not recoverable.busy
