"""A process that claimed a place is known again, and seen to be gone when it is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from sockudo.storage.occupants import Occupant

NOW = 1_796_221_214.5


def test_what_is_kept_is_read_again() -> None:
    mine = Occupant.current(NOW)
    assert Occupant.read(mine.text) == mine
    assert str(replace(mine, host="h", pid=7)) == "pid 7 on h, since 2026-12-02 14:20:14 UTC"


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"host":"h","pid":"x","since":1}'])
def test_anything_else_is_nobody(text: str) -> None:
    assert Occupant.read(text) is None


def test_a_process_that_runs_has_not_ended() -> None:
    mine = Occupant.current(NOW)
    assert mine.pid == os.getpid()
    assert mine.is_here
    assert not mine.has_ended


def test_a_process_that_ended_is_seen_to_be_gone_also_before_its_parent_looks() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = replace(Occupant.current(NOW), pid=child.pid, started=Occupant.current(NOW).started)
    assert known.has_ended, "the number is another process's"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert replace(known, started="1").has_ended
    child.communicate()
    assert known.has_ended


def test_a_process_of_another_machine_or_container_is_never_known_to_be_gone() -> None:
    elsewhere = replace(Occupant.current(NOW), pid=2**22, machine="another boot")
    assert not elsewhere.is_here
    assert not elsewhere.has_ended
    assert not replace(elsewhere, machine="").has_ended
