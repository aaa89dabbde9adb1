from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from sockudo.testing.loop_thread import LoopThread


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    thread = LoopThread("test-loop")
    yield thread
    thread.close()


async def _name() -> str:
    return threading.current_thread().name


def test_runs_in_its_own_thread(thread: LoopThread) -> None:
    assert thread.run(_name()) == "test-loop"
    assert thread.call(lambda: threading.current_thread().name) == "test-loop"
    assert threading.current_thread().name != "test-loop"


def test_failures_come_back(thread: LoopThread) -> None:
    def fail() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        thread.call(fail)


def test_close_cancels_what_still_runs_and_may_be_repeated() -> None:
    thread = LoopThread("test-loop")
    waiting = thread.submit(asyncio.Event().wait())
    thread.call(lambda: None)
    thread.close()
    thread.close()
    assert waiting.cancelled()
