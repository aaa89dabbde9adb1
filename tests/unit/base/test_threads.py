"""Threads that are there for as long as somebody has work for them."""

from __future__ import annotations

import asyncio
import threading
from threading import Barrier, Event

import pytest

from sockudo.base.threads import PassingThreads
from support.waiting import wait_until


def passing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("passing")]


def none_left() -> bool:
    return not passing()


def test_a_thread_is_gone_when_its_work_is_done_and_the_next_gets_another() -> None:
    threads = PassingThreads()
    for number in range(3):
        assert threads.submit(divmod, 10 + number, 10).result(30) == (1, number)
        wait_until(none_left, "the thread to end")


def test_several_work_at_once_and_the_last_ends_all() -> None:
    threads = PassingThreads()
    together, go_on = Barrier(4), Event()
    first = [threads.submit(together.wait, 30) for _ in range(3)]
    last = threads.submit(lambda: (together.wait(30), go_on.wait(30)))
    for future in first:
        future.result(30)
    assert threads.submit(int, "7").result(30) == 7
    assert passing()
    go_on.set()
    last.result(30)
    wait_until(none_left, "the threads to end")


def test_what_is_raised_is_raised() -> None:
    threads = PassingThreads()
    with pytest.raises(ValueError, match="invalid literal"):
        threads.submit(int, "seven").result(30)
    wait_until(none_left, "the thread to end")


def test_a_loop_that_ends_has_waited_for_its_work() -> None:
    done: list[str] = []
    working = Event()

    def work() -> None:
        working.wait(30)
        done.append("work")

    async def ends_early() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(PassingThreads())
        loop.run_in_executor(None, work)
        loop.call_later(0.01, working.set)

    with asyncio.Runner() as runner:
        runner.run(ends_early())
        runner.get_loop().call_soon(working.set)
    assert done == ["work"]
    wait_until(none_left, "the thread to end")
