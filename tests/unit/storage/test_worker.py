"""Threads whose work nobody waits for leave the loop's thread alone."""

from __future__ import annotations

import os
import threading

import pytest

from sockudo.storage.worker import background_threads

LINUX = hasattr(os, "SCHED_BATCH")


@pytest.mark.skipif(not LINUX, reason="only Linux has this policy")
def test_they_do_not_interrupt_the_loop_when_they_wake_up() -> None:
    before = os.sched_getscheduler(0)
    with background_threads(2, "some-work") as threads:
        assert threads.submit(os.sched_getscheduler, 0).result() == os.SCHED_BATCH
        assert threads.submit(lambda: threading.current_thread().name).result().startswith("some-work")
    assert os.sched_getscheduler(0) == before


@pytest.mark.parametrize("problem", [PermissionError(1, "not permitted"), OSError(38, "not implemented")])
def test_where_that_is_forbidden_they_work_all_the_same(monkeypatch: pytest.MonkeyPatch, problem: OSError) -> None:
    def refuse(*_: object) -> None:
        raise problem

    monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)
    with background_threads(1, "some-work") as threads:
        assert threads.submit(lambda: 7).result() == 7
