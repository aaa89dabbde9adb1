"""Descriptors that run out: accepting fails inside the event loop, which says nothing of it."""

from __future__ import annotations

import errno
import os

import pytest
from structlog.testing import capture_logs

from sockudo.edge.descriptors import DescriptorWatch


def _none_left() -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_it_is_counted_each_second_and_logged_once_a_minute_with_the_remedy() -> None:
    watch = DescriptorWatch(_none_left)
    with capture_logs() as log:
        for second in range(61):
            watch.look(100.0 + second)
    assert watch.exhausted == 61
    assert [line["seconds"] for line in log] == [1, 61]
    assert log[0]["log_level"] == "error"
    assert log[0]["limit"] > 0
    assert "LimitNOFILE=" in log[0]["remedy"]


def test_with_room_nothing_is_said_or_kept_open() -> None:
    before = os.listdir("/proc/self/fd")
    watch = DescriptorWatch()
    with capture_logs() as log:
        watch.look(100.0)
    assert (watch.exhausted, log) == (0, [])
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_any_other_failure_is_a_defect() -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "input or output")

    with pytest.raises(OSError, match="input or output"):
        DescriptorWatch(fail).look(100.0)
