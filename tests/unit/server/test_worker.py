"""How many workers there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sockudo.server import worker
from sockudo.server.worker import worker_count


@pytest.fixture
def quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cpu.max"
    monkeypatch.setattr(worker, "_QUOTA", path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    return path


def test_a_number_is_that_number(quota: Path) -> None:
    assert [worker_count(asked) for asked in (1, 2, 64)] == [1, 2, 64]


def test_without_a_number_it_is_one_for_each_core_that_may_be_used(quota: Path) -> None:
    assert worker_count(0) == 6


@pytest.mark.parametrize(("text", "count"), [("max 100000", 6), ("150000 100000", 2), ("1000 100000", 1), ("", 6)])
def test_a_container_may_be_allowed_less(quota: Path, text: str, count: int) -> None:
    quota.write_text(text)
    assert worker_count(0) == count
