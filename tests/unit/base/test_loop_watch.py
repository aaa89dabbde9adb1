"""How blocks of the event loop are measured and told."""

from __future__ import annotations

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from sockudo.base.loop_watch import LoopWatch


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_small_delays_are_measured_and_not_told() -> None:
    watch = LoopWatch(Time())
    with capture_logs() as logs:
        watch.note(0.03)
        watch.note(0.012)
    assert logs == []
    assert watch.stalls == 0
    assert watch.worst_ms == pytest.approx(30)


def test_a_block_is_a_warning_at_most_every_ten_seconds() -> None:
    time = Time()
    watch = LoopWatch(time)
    with capture_logs() as logs:
        watch.note(0.0621)
        for _ in range(3):
            time.now += 3
            watch.note(0.2)
        time.now += 1
        watch.note(0.3)
    assert [(line["log_level"], line["milliseconds"], line["times"]) for line in logs] == [
        ("warning", 62, 1),
        # The three in between are counted in.
        ("warning", 300, 4),
    ]
    assert watch.stalls == 5


def test_the_worst_since_the_last_reading_starts_again_and_the_worst_ever_stays() -> None:
    watch = LoopWatch(Time())
    watch.note(0.03)
    watch.note(0.01)
    assert watch.take_worst_ms() == pytest.approx(30)
    assert watch.take_worst_ms() == 0
    watch.note(0.02)
    assert watch.take_worst_ms() == pytest.approx(20)
    assert watch.worst_ms == pytest.approx(30)


def test_waking_early_is_no_negative_delay() -> None:
    watch = LoopWatch(Time())
    watch.note(-0.002)
    assert watch.take_worst_ms() == 0


async def test_a_blocked_loop_is_noticed() -> None:
    watch = LoopWatch()
    noticed = asyncio.Event()
    note = watch.note

    def spy(late: float, worked: float | None = None) -> None:
        note(late, worked)
        if watch.stalls:
            noticed.set()

    watch.note = spy  # type: ignore[method-assign]
    with capture_logs() as logs:
        watching = asyncio.create_task(watch.run())
        await asyncio.sleep(0)  # it is asleep now
        time.sleep(0.08)  # the block under test
        await asyncio.wait_for(noticed.wait(), 10)
        watching.cancel()
    assert logs[0]["event"] == "the event loop was blocked"
    assert watch.worst_ms > 37
    # Sleeping takes no CPU: this is what a machine does that gives the process none.
    assert logs[0]["cause"].startswith("the machine gave it no CPU")


def test_without_connections_only_a_long_block_is_told() -> None:
    there = 0
    watch = LoopWatch(Time(), waiting=lambda: there)
    with capture_logs() as logs:
        watch.note(0.06)
        assert logs == []
        watch.note(0.12)
    assert [(line["milliseconds"], line["times"]) for line in logs] == [(120, 2)]
    assert watch.stalls == 2


@pytest.mark.parametrize(
    ("worked", "cause", "remedy"),
    [(0.19, "own work", "fewer connections"), (0.02, "gave it no CPU", "a core of its own")],
)
def test_whose_fault_a_block_is_and_what_to_do(worked: float, cause: str, remedy: str) -> None:
    with capture_logs() as logs:
        LoopWatch(Time()).note(0.2, worked)
    assert cause in logs[0]["cause"]
    assert remedy in logs[0]["remedy"]
