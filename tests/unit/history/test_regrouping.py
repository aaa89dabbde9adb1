"""When a commit waits for the publishers of the one before, and when it does not."""

from __future__ import annotations

import asyncio

import pytest

from sockudo.history.regrouping import Regrouping
from support.durable import HandTime
from support.turns import settle


class Queue:
    """Publishers that all come back so many seconds after they were answered."""

    def __init__(self) -> None:
        self.time = HandTime()
        self.regrouping = Regrouping(self.time, self.time.sleep)

    def come_back(self, publishers: int, after: float = 0.0) -> None:
        self.time.advance(after)
        for _ in range(publishers):
            self.regrouping.arrived()

    def commit(self, publishers: int, took: float) -> None:
        self.time.advance(took)
        self.regrouping.answered(publishers, took)

    async def waits(self) -> bool:
        """Whether the next commit waits now."""
        waiting = asyncio.ensure_future(self.regrouping.wait())
        await settle()
        waits = not waiting.done()
        waiting.cancel()
        return waits


@pytest.fixture
def queue() -> Queue:
    """Four publishers that come back in a tenth of the time of a commit, as has been seen once."""
    queue = Queue()
    queue.come_back(4)
    queue.commit(4, took=1.0)
    queue.come_back(4, after=0.1)
    queue.commit(4, took=1.0)
    return queue


async def test_who_comes_back_soon_is_waited_for(queue: Queue) -> None:
    waiting = asyncio.ensure_future(queue.regrouping.wait())
    queue.come_back(3)
    await settle()
    assert not waiting.done()
    queue.come_back(1)
    await asyncio.wait_for(waiting, 1)


async def test_once_all_are_back_there_is_no_wait(queue: Queue) -> None:
    queue.come_back(4)
    assert not await queue.waits()


async def test_the_first_commits_do_not_wait() -> None:
    queue = Queue()
    assert not await queue.waits()
    queue.come_back(4)
    assert not await queue.waits()
    queue.commit(4, took=1.0)
    assert not await queue.waits()


async def test_who_takes_half_the_time_of_a_commit_is_not_waited_for(queue: Queue) -> None:
    queue.come_back(4, after=0.5)
    queue.commit(4, took=1.0)
    assert not await queue.waits()


async def test_who_did_not_come_back_in_a_whole_commit_is_not_waited_for_again(queue: Queue) -> None:
    queue.come_back(3)
    queue.commit(3, took=1.0)
    assert not await queue.waits()
    queue.come_back(3, after=0.1)
    queue.commit(3, took=1.0)
    assert await queue.waits()


async def test_what_comes_after_a_pause_does_not_wait(queue: Queue) -> None:
    queue.come_back(1, after=0.3)
    assert not await queue.waits()


async def test_a_wait_in_vain_is_short(queue: Queue) -> None:
    waiting = asyncio.ensure_future(queue.regrouping.wait())
    await queue.time.elapse(0.04)
    assert not waiting.done()
    await queue.time.elapse(0.02)
    assert waiting.done()


async def test_a_wait_in_vain_takes_at_most_half_as_long_as_a_commit() -> None:
    queue = Queue()
    for _ in range(2):
        queue.come_back(4, after=0.001)
        queue.commit(4, took=0.02)
    waiting = asyncio.ensure_future(queue.regrouping.wait())
    await queue.time.elapse(0.009)
    assert not waiting.done()
    await queue.time.elapse(0.002)
    assert waiting.done()


async def test_a_single_publisher_never_waits() -> None:
    queue = Queue()
    for _ in range(5):
        queue.come_back(1, after=0.1)
        assert not await queue.waits()
        queue.commit(1, took=1.0)
