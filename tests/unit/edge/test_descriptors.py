"""Descriptors that run out: accepting fails inside the event loop, which says nothing of it."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.edge.descriptors import DescriptorWatch, reserved_descriptors


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


def _transport(descriptor: int | None) -> Any:
    found = None if descriptor is None else SimpleNamespace(fileno=lambda: descriptor)
    return SimpleNamespace(get_extra_info=lambda name: found if name == "socket" else None)


@pytest.mark.parametrize(("limit", "reserved"), [(20_000, 64), (1024, 64), (256, 64), (200, 50), (10, 2)])
def test_some_are_never_a_websocket(limit: int, reserved: int) -> None:
    assert reserved_descriptors(limit) == reserved
    watch = DescriptorWatch(limit=lambda: limit)
    watch.check_websocket(_transport(limit - reserved - 1))
    with pytest.raises(errors.SockudoError) as refused:
        watch.check_websocket(_transport(limit - reserved))
    assert refused.value.spec is errors.OVER_CAPACITY
    assert f"of {limit:,} descriptors" in (refused.value.likely_cause or "")
    assert "LimitNOFILE=" in (refused.value.likely_cause or "")


def test_without_a_limit_or_a_socket_there_is_room() -> None:
    DescriptorWatch(limit=lambda: None).check_websocket(_transport(10_000_000))
    DescriptorWatch(limit=lambda: 1024).check_websocket(_transport(None))
