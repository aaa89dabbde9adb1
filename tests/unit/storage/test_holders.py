"""Whether the process that has something still runs, told only where it can be told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sockudo.storage import holders
from sockudo.storage.holders import is_gone, this_process

WAITS = "from sockudo.storage.holders import this_process; print(this_process(), flush=True); input()"


@contextmanager
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process, and its name."""
    process = subprocess.Popen([sys.executable, "-c", WAITS], stdin=-1, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def test_this_one_runs() -> None:
    assert this_process() == this_process()
    assert ":" not in this_process()
    assert not is_gone(this_process())


def test_another_one_runs_until_it_ends() -> None:
    with other() as (process, name):
        assert name != this_process()
        assert not is_gone(name)
        process.kill()
        # Also before its parent has asked what became of it.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(name)
        process.wait()
        assert is_gone(name)


def test_a_number_that_another_process_has_now() -> None:
    place, pid, began = this_process().rsplit("/", 2)
    assert is_gone(f"{place}/{pid}/{int(began) - 1}")


@pytest.mark.parametrize("name", ["", "unknown", "a/b", "boot/4026531836/1/5", "x/y/z/w"])
def test_others_may_be_anything(name: str) -> None:
    assert not is_gone(name)


def test_a_process_of_another_container_may_be_anything() -> None:
    boot, _, pid, began = this_process().split("/")
    assert not is_gone(f"{boot}/1/{pid}/{int(began) - 1}")
    assert not is_gone(f"{boot}/1/999999/5")


def test_without_the_means_nothing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = this_process()
    monkeypatch.setattr(holders, "_PROC", tmp_path)
    assert this_process() == "unknown"
    assert not is_gone(mine)
    assert not is_gone("unknown")
