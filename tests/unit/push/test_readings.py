"""Depths of the queue are read seldom, however often they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Depth
from sockudo.push.queue import PUSH_QUEUE
from sockudo.push.readings import QueueReadings
from sockudo.testing import FakeClock


class Counted(MemoryJobQueue):
    """Counts how often it is read, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__(PUSH_QUEUE)
        self.reads = 0
        self.failing = False

    async def depths(self, now_ms: int) -> dict[str, Depth]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.failing:
            raise errors.SERVICE_UNAVAILABLE("gone")
        return await super().depths(now_ms)


async def test_one_reading_for_all_who_ask_within_a_quarter_of_a_second() -> None:
    queue, clock = Counted(), FakeClock()
    readings = QueueReadings(queue, clock)
    answers: list[Mapping[str, Depth]] = await asyncio.gather(*(readings.depths() for _ in range(20)))
    assert queue.reads == 1
    assert all(answer is answers[0] for answer in answers)
    clock.advance(0.24)
    await readings.depths()
    assert queue.reads == 1
    clock.advance(0.02)
    await readings.depths()
    assert queue.reads == 2


async def test_a_failure_is_told_and_not_kept() -> None:
    queue, clock = Counted(), FakeClock()
    readings = QueueReadings(queue, clock)
    queue.failing = True
    with pytest.raises(SockudoError):
        await readings.depths()
    queue.failing = False
    assert (await readings.depths())["publish_log"] == Depth()
